"""The process: its address, its end, what keeps it from starting."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

import lilliput


@pytest.fixture
def started(tiny_bundle):
    """Starts servers on free ports; gives process and address."""
    processes = []

    def start(*flags):
        process = subprocess.Popen(
            [sys.executable, "-m", "lilliput", "serve", str(tiny_bundle), "--port", "0", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        said = re.fullmatch(r"serving on (http://127\.0\.0\.1:\d+)\n", process.stdout.readline())
        assert said, process.stderr.read()
        return process, said[1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ask(address, inputs):
    request = urllib.request.Request(f"{address}/predict", json.dumps({"inputs": inputs}).encode())
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())["answers"]


def get(address):
    with urllib.request.urlopen(address, timeout=30) as reply:
        return reply.read().decode()


def test_many_clients_get_their_own_answers(started, tiny_bundle):
    _, address = started("--delay", "60")  # eight who never pause are lasting overload for a slow machine
    model = lilliput.load(tiny_bundle)
    texts = [f"good {number} bad" for number in range(120)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda text: ask(address, text), texts)) == model(texts)


def test_the_end_lets_requests_finish_and_takes_no_others(started, tiny_bundle):
    process, address = started("--workers", "1", "--max-texts", "8000", "--queue", "8000", "--timeout", "60")
    texts, found = ["good", "bad", "a joy from start to finish"] * 2000, []
    asking = threading.Thread(target=lambda: found.append(ask(address, texts)))
    asking.start()
    while "lilliput_requests_in_flight 1.0" not in get(f"{address}/metrics"):
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    refused = None
    for _ in range(1000):  # until the signal is noticed
        try:
            ask(address, "a")
        except OSError as error:  # by the system, or with 503
            refused = error
            break
    assert refused is not None
    asking.join(60)
    assert found == [lilliput.load(tiny_bundle)(texts)]
    assert process.wait(20) in (0, -signal.SIGTERM)
    assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize("what", ["port", "bundle", "flag"])
def test_what_keeps_it_from_starting_is_one_line(tiny_bundle, tmp_path, what):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words, message = {
            "port": ([tiny_bundle, "--port", taken.getsockname()[1]], "can't be listened on: Address already in use"),
            "bundle": ([tmp_path / "missing"], "no such folder"),
            "flag": ([tiny_bundle, "--timeout", "0"], "--timeout: "),
        }[what]
        done = subprocess.run(
            [sys.executable, "-m", "lilliput", "serve", *map(str, words)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def crew_of(process):
    """The processes that have a model."""
    found = psutil.Process(process.pid).children()
    return [one for one in found if "spawn_main" in " ".join(one.cmdline())]


def refusal(request):
    """The status that a request is refused with."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        request()
    with refused.value as reply:
        return reply.code


def test_a_server_that_lost_a_process_says_so(started):
    process, address = started("--workers", "1")
    (worker,) = crew_of(process)
    assert len(ask(address, ["good"])) == 1
    worker.kill()
    worker.wait(10)
    for _ in range(2):
        assert refusal(lambda: ask(address, ["good"])) == 503
    assert refusal(lambda: get(f"{address}/health/ready")) == 503
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_no_process_outlives_a_server_that_is_killed(started):
    process, _ = started("--workers", "2")
    workers = crew_of(process)
    assert len(workers) == 2
    process.kill()
    process.wait(10)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
