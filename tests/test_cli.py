"""The command line: every error is one line and exit code 2, and a model made elsewhere goes all the way."""

import errno
import io
import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification

import lilliput
from lilliput import cli

pytestmark = pytest.mark.usefixtures("quick_training")

COMMANDS = ["demo", "finetune", "distill", "prune", "export", "quantize", "benchmark", "compare", "compress", "serve"]
COMMANDS += ["predict", "verify", "sign", "doctor", "data fetch", "data check", "tokenizer train", "pretrain"]


@pytest.fixture(autouse=True)
def _root_logger():
    """A command sets up logging for its process; here it must not do so for the tests that follow."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command line in this process; gives exit code, output and error output."""

    def run(*arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", ["lilliput", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capfd.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as ending:
            code = ending.code or 0
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def refused(run):
    """Run a command line that must fail with one line; gives that line."""

    def refused(*arguments, stdin=""):
        code, out, err = run(*arguments, stdin=stdin)
        lines = [line for line in err.splitlines() if line.strip()]
        assert code == 2, err
        assert out == ""
        assert len(lines) == 1, err
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")

    return refused


@pytest.fixture
def data(encoders, tmp_path):
    return encoders.data_set(tmp_path / "data")


@pytest.fixture
def training(data, tmp_path):
    """Flags of a quick training on the tiny data set."""
    flags = {"--data": data, "--out": tmp_path / "out", "--epochs": 1, "--max-length": 16, "--device": "cpu"}
    return [str(part) for pair in flags.items() for part in pair]


# --- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_and_gives_an_example(run, command):
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    assert f"lilliput {command}" in out.split("Example:")[1]
    assert run(*command.split(), "-h")[0] == 0


def test_every_command_is_in_the_list():
    import typer

    group = typer.main.get_command(cli.app)
    groups = [name for name, command in group.commands.items() if hasattr(command, "commands")]
    found = [name for name in group.commands if name not in groups]
    found += [f"{name} {inner}" for name in groups for inner in group.commands[name].commands]
    assert sorted(found) == sorted(COMMANDS)


def test_the_version(run):
    assert run("--version") == (0, f"lilliput {lilliput.__version__}\n", "")


def test_python_m_lilliput():
    found = subprocess.run([sys.executable, "-m", "lilliput", "--version"], capture_output=True, text=True, check=True)
    assert found.stdout == f"lilliput {lilliput.__version__}\n"
    wrong = subprocess.run(
        [sys.executable, "-m", "lilliput", "verify", "/nowhere"], capture_output=True, text=True, check=False
    )
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", "error: /nowhere: no such folder\n")


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["finetune", "--nonsense"],
        ["finetune", "--epochs", "many"],
        ["finetune", "--epochs"],
        ["verify"],
        ["verify", "a", "b"],
        ["data", "nonsense"],
    ],
)
def test_wrong_usage_is_exit_code_2_without_a_traceback(run, arguments):
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert "Error" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("finetune --model m", "--out is missing"),
        ("finetune --out OUT --epochs 0", "--epochs: input should be greater than or equal to 1 (got 0)"),
        ("finetune --out OUT --device tpu", "--device: input should be 'auto', 'cpu' or 'cuda' (got 'tpu')"),
        ("finetune --out OUT --task poetry --data DATA", "--task poetry: unknown; known are classification"),
        ("finetune --out OUT --config nowhere.yaml", "--config nowhere.yaml: No such file or directory"),
        ("finetune --out OUT --data nowhere.csv", "nowhere.csv does not exist"),
        ("finetune --out OUT --data DATA --model ./nowhere", "./nowhere: no such folder"),
        ("distill --out OUT --data DATA", "--teacher is missing"),
        ("distill --out OUT --data DATA --teacher ./nowhere", "./nowhere: no such folder"),
        ("distill --out OUT --data DATA --teacher MODEL --student wide", "--student wide: unknown kind; give layers=N"),
        ("distill --out OUT --data DATA --teacher MODEL --objective mse", "--objective mse: unknown; known are"),
        ("distill --out OUT --data DATA --teacher MODEL --initial-layers 1,x", "--initial-layers: input should be"),
        ("export --out OUT --data DATA --model ./nowhere", "./nowhere: no such folder"),
        ("export --out OUT --data DATA --model MODEL --max-length 41", "--max-length 41: this model reads at most 40"),
        ("export --out OUT --data DATA --model MODEL --precisions int8", "--precisions: must include fp32"),
        ("benchmark --out OUT --data DATA", "BUNDLES is missing"),
        ("benchmark DATA --out OUT --data DATA", "lilliput.json: missing"),
        ("predict ./nowhere text", "nowhere: no such folder"),
        ("predict DATA text", "holds neither lilliput.json, as a bundle does, nor config.json"),
        ("predict MODEL text --precision int8", "is a Hugging Face model, which does not take it"),
        ("predict BUNDLE text --question other", "--question: "),
        ("predict BUNDLE text --precision fp8", "no fp8 graph"),
        ("predict BUNDLE text --threads 1025", "--threads: expected a whole number from 1 to 1024, got 1025"),
        ("verify ./nowhere", "nowhere: no such folder"),
        ("data check nowhere.csv", "nowhere.csv does not exist"),
        (
            "finetune --out OUT --model MODEL --data DATA --text-column poem",
            "there is no column 'poem'; there are 'text', 'label'",
        ),
        ("demo --out OUT --seed -1", "--seed: input should be greater than or equal to 0 (got -1)"),
    ],
)
def test_errors_are_one_line(refused, checkpoint, tiny_bundle, data, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    places = {"OUT": tmp_path / "out", "DATA": data, "MODEL": checkpoint("bert"), "BUNDLE": tiny_bundle}
    assert message in refused(*(places.get(word, word) for word in arguments.split()))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_cuda_device(refused, checkpoint, training):
    message = refused("finetune", "--model", checkpoint("bert"), *training, "--device", "cuda")
    assert message.startswith("--device cuda: PyTorch sees no CUDA device here; use --device cpu")


def test_a_model_that_is_not_supported_or_not_fine_tuned(refused, checkpoint, encoders, training, tmp_path, tiny):
    other = shutil.copytree(checkpoint("bert"), tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    message = refused("finetune", "--model", other, *training)
    assert "architecture 'gpt2' is not supported; supported are bert, roberta, distilbert, electra" in message

    from transformers import AutoModel

    AutoModel.from_config(encoders.config("bert")).save_pretrained(tmp_path / "bare")
    tiny.tokenizer().save_pretrained(tmp_path / "bare")
    message = refused("distill", "--teacher", tmp_path / "bare", *training, "--out", tmp_path / "other-out")
    assert "made for BertModel, not for sequence classification" in message


def test_pickled_weights_are_an_error_and_are_not_read(refused, checkpoint, training, tmp_path):
    source = shutil.copytree(checkpoint("bert"), tmp_path / "pickled")
    model = AutoModelForSequenceClassification.from_pretrained(source)
    (source / "model.safetensors").unlink()
    torch.save(model.state_dict(), source / "pytorch_model.bin")
    for command in (["finetune", "--model", source], ["distill", "--teacher", source]):
        message = refused(*command, *training, "--out", tmp_path / command[0])
        assert "pickled: can't load its weights (model.safetensors)" in message


def test_a_bad_data_file_is_named_with_its_line(run, refused, tmp_path):
    (tmp_path / "bad.csv").write_text("words,kind\na,b\n")
    assert f"{tmp_path / 'bad.csv'}:1: no text column" in refused("data", "check", tmp_path / "bad.csv")
    (tmp_path / "empty.csv").write_text("")
    assert "empty.csv: the file is empty" in refused("data", "check", tmp_path / "empty.csv")
    (tmp_path / "one.csv").write_text("text,label\n" + "".join(f"text {i},same\n" for i in range(50)))
    code, out, err = run("data", "check", tmp_path / "one.csv")
    assert code == 2
    assert "50 rows in = 50 used" in out
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_a_folder_that_can_t_be_written(refused, checkpoint, training, tmp_path):
    (tmp_path / "file").write_text("")
    source = checkpoint("bert")
    message = refused("finetune", "--model", source, *training, "--out", tmp_path / "file")
    assert "file is a file; --out must name a folder" in message
    message = refused("finetune", "--model", source, *training, "--out", tmp_path / "file" / "below")
    assert "can't make the run folder" in message
    message = refused("finetune", "--model", source, *training, "--out", "/proc/lilliput")
    assert "can't make the run folder /proc/lilliput" in message
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    message = refused("finetune", "--model", source, *training, "--out", tmp_path / "mine")
    assert "exists and is not a Lilliput run" in message


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device", "some/file"),
        OSError(errno.ENOSPC, "No space left on device"),
        # What safetensors and torch make of it.
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ],
)
def test_a_full_disk(run, checkpoint, training, monkeypatch, fault):
    from lilliput import models

    def full(*_, **__):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(models, "save", full)
        code, out, err = run("finetune", "--model", checkpoint("bert"), *training)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert err.splitlines()[-1].endswith("the disk is full; free some space and run the command again")
    assert "Traceback" not in err
    # What was done before is not lost.
    assert run("finetune", "--model", checkpoint("bert"), *training)[0] == 0


def test_an_error_of_ours_is_not_hidden(run, checkpoint, training, monkeypatch):
    """A fault in the program keeps its traceback: only what a user can mend is told in a line."""
    from lilliput import models

    monkeypatch.setattr(models, "save", lambda *_: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        run("finetune", "--model", checkpoint("bert"), *training)


def test_json_files(run, refused, tiny_bundle, tmp_path):
    # A folder that is not there yet is made.
    assert run("verify", tiny_bundle, "--json", tmp_path / "new" / "verify.json")[0] == 0
    found = json.loads((tmp_path / "new" / "verify.json").read_text())
    assert found["bundle"] == str(tiny_bundle)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["verify.json"]

    (tmp_path / "file").write_text("")
    assert run("verify", tiny_bundle, "--json", tmp_path / "file" / "verify.json")[0] == 2
    code, _, err = run("verify", tiny_bundle, "--json", tmp_path / "file" / "verify.json")
    assert (code, len(err.splitlines())) == (2, 1)
    assert str(tmp_path / "file") in err
    (tmp_path / "folder.json").mkdir()
    code, _, err = run("verify", tiny_bundle, "--json", tmp_path / "folder.json")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "folder.json" in err
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []


def test_texts_that_are_no_utf_8(tiny_bundle, monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["lilliput", "predict", str(tiny_bundle)])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"good\n\xff\xfe\n"), encoding="utf-8"))
    with pytest.raises(SystemExit) as ending:
        cli.main()
    assert ending.value.code == 2
    assert capfd.readouterr().err.strip() == "error: standard input:2: not UTF-8 text"


# --- interruption ----------------------------------------------------------------------------------------------------


def test_an_interruption_is_exit_code_130_and_says_how_to_go_on(run, checkpoint, training, monkeypatch, tmp_path):
    from lilliput.train import loop

    def interrupted(self, *_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingLoop, "compute_loss", interrupted)
        code, _, err = run("finetune", "--model", checkpoint("bert"), *training)
    assert code == 130
    assert "interrupted; run the same command again to go on" in err
    assert "Traceback" not in err
    assert run("finetune", "--model", checkpoint("bert"), *training)[0] == 0


def test_a_real_interruption_of_a_process(tiny_bundle):
    process = subprocess.Popen(
        [sys.executable, "-m", "lilliput", "predict", str(tiny_bundle)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not _reads_its_input(process.pid):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err


def _reads_its_input(pid):
    """Whether a process sleeps in reading its standard input; True after five seconds where that can't be seen."""
    try:
        call = Path(f"/proc/{pid}/syscall").read_text().split()
    except OSError:
        time.sleep(5)
        return True
    return call[:2] == ["0", "0x0"]


# --- the whole way ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [("negative", "positive"), ("a", "b", "c")], ids=["its own head", "another head"])
def test_a_model_made_elsewhere_goes_all_the_way(run, encoders, tiny, data, tmp_path, labels):
    source = encoders.save(tmp_path / "theirs", "bert", tiny.tokenizer, labels=labels)
    common = ["--data", data, "--max-length", 16]
    training = [*common, "--device", "cpu", "--epochs", 1, "--batch-size", 8]

    code, out, err = run(
        "finetune", "--model", source, *training, "--out", tmp_path / "teacher", "--json", tmp_path / "t.json"
    )
    assert code == 0, err
    assert "validation: accuracy 0." in out
    teacher = tmp_path / "teacher" / "teacher"
    assert json.loads((tmp_path / "t.json").read_text())["folder"] == str(teacher)

    code, out, err = run(
        "distill", "--teacher", teacher, "--student", "layers=1", *training, "--out", tmp_path / "small"
    )
    assert code == 0, err
    assert "the teacher's" in out
    student = tmp_path / "small" / "student"

    bundle = tmp_path / "bundles" / "small"
    code, out, err = run("export", "--model", student, *common, "--min-agreement", 0.5, "--out", bundle)
    assert (code, out) == (0, f"bundle written to {bundle}\n"), err

    code, out, err = run("verify", bundle)
    assert code == 0, err
    assert "sizes and SHA-256 correct" in out

    texts = ["the film is great", "漢字 film 😀 was awful", "مرحبا שלום", "👩‍👧 naïve café", ""]
    code, out, err = run("predict", bundle, *texts, "--json", tmp_path / "answers.json")
    assert code == 0, err
    model = lilliput.load(bundle)
    assert model.labels == ("negative", "positive")
    answers = model(texts)
    assert out.splitlines() == [f"{a['label']}\t{a['score']:.4f}\t{t}" for t, a in zip(texts, answers, strict=True)]
    assert json.loads((tmp_path / "answers.json").read_text()) == answers
    assert run("predict", bundle, stdin="".join(f"{text}\n" for text in texts)) == (0, out, "")


def test_data_check_and_doctor(run, data, tmp_path):
    code, out, _ = run("data", "check", data, "--json", tmp_path / "report.json")
    assert code == 0
    assert json.loads((tmp_path / "report.json").read_text())["rows_used"] == 50
    assert "50" in out
    code, out, _ = run("doctor", "--json", tmp_path / "doctor.json")
    assert code in (0, 1)
    assert json.loads((tmp_path / "doctor.json").read_text())["problems"] == [] or code == 1
