"""Several processes: each reads its share of the rows, all keep the same weights, and one writes and speaks."""

import importlib.util
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lilliput import processes
from lilliput.errors import PeerError, RunError

SCRIPT = Path(__file__).with_name("two_processes.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = ("-m", "accelerate.commands.accelerate_cli", "launch")
OFFLINE = {"TRANSFORMERS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def launch(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, **OFFLINE, **environment},
    )


# --- without others --------------------------------------------------------------------------------------------------


def test_alone_everything_is_at_hand_and_torch_is_not_loaded():
    code = (
        "import sys; from lilliput import processes as p; "
        "print(p.count(), p.rank(), p.local_rank(), p.is_main(), p.on_main(lambda: 7), p.gather('x'), p.in_any(True), "
        "p.tells(ValueError()), 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "0", "0", "True", "7", "['x']", "True", "True", "False"]


def test_the_environment_says_which_process_this_is(monkeypatch):
    for name, value in {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert (processes.count(), processes.rank(), processes.local_rank(), processes.is_main()) == (4, 3, 1, False)
    assert not processes.tells(PeerError("the main process failed"))
    monkeypatch.setenv("WORLD_SIZE", "1")  # a rank left over in the environment
    assert (processes.rank(), processes.local_rank(), processes.is_main()) == (0, 0, True)


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    from lilliput import runs

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    runs.write_json(tmp_path / "a.json", 1)
    runs.append_log(tmp_path / "log.jsonl", "event")
    assert list(tmp_path.iterdir()) == []


# --- two processes in one training -----------------------------------------------------------------------------------


def load_script():
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_job(checkpoint, encoders, tmp_path_factory):
    """A job for the script, in a folder of its own."""

    def make():
        folder = tmp_path_factory.mktemp("job")
        rows = encoders.rows(32)
        settings = {"epochs": 3, "batch_size": 4, "save_every": 2, "learning_rate": 1e-2, "max_length": 16}
        job = {
            "folder": str(folder),
            "model": str(checkpoint("bert")),
            "texts": [text for text, _ in rows],
            "labels": [encoders.LABELS.index(label) for _, label in rows],
            "config": {**settings, "device": "cpu"},
        }
        (folder / "job.json").write_text(json.dumps(job))
        return job

    return make


def seen_by_both(folder, result):
    assert result.returncode == 0, result.stderr
    return [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def job(make_job):
    return make_job()


@pytest.fixture(scope="module")
def seen(job):
    """What each of the two processes saw."""
    folder = Path(job["folder"])
    # In float32: in bfloat16, rounding alone would tell two processes from one.
    result = launch(*TORCHRUN, SCRIPT, folder / "job.json", cwd=folder, ACCELERATE_MIXED_PRECISION="no")
    return seen_by_both(folder, result)


@pytest.fixture
def both(seen):
    """What both saw of a training of this name."""
    return lambda name: [one["trainings"][name] for one in seen]


@pytest.fixture
def alone(make_job, monkeypatch, quick_training):
    """The same training, by this process alone, on batches twice as large."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")

    def train(name, **options):
        job = make_job()
        script = load_script()
        return script.Job(job).train(name, batch_size=8, **options), log_of(job, name)

    return train


def log_of(job, name):
    lines = [json.loads(line) for line in (Path(job["folder"]) / name / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "time"} for line in lines if line["event"] != "resumed"]


def sizes(training):
    return [len(batch) for batch in training["read"]]


@pytest.mark.parametrize(
    ("name", "rows", "steps", "expected"),
    [
        ("whole", 23, 3, ([4, 4, 4], [4, 4, 3])),  # 2 steps of 8, and 7 are left
        ("left over", 17, 2, ([4, 5], [4, 4])),  # 2 steps of 8, and 1 is left: too few for a step of their own
        ("alike", 24, 3, ([4, 4, 4], [4, 4, 4])),
    ],
)
def test_every_row_is_read_once_an_epoch_by_one_process(both, name, rows, steps, expected):
    one, other = both(name)
    epochs = len(one["read"]) // steps
    assert (sizes(one), sizes(other)) == (expected[0] * epochs, expected[1] * epochs)
    for start in range(0, epochs * steps, steps):
        read = [row for training in (one, other) for batch in training["read"][start : start + steps] for row in batch]
        assert sorted(read) == list(range(rows))


def test_the_weights_are_the_same_everywhere_and_dropout_is_not(both):
    one, other = both("whole")
    losses = [[entry.split()[0] for entry in training["validated"]] for training in (one, other)]
    assert losses[0] == losses[1]
    assert len(set(losses[0])) == 3
    assert [{entry.split()[1] for entry in training["validated"]} for training in (one, other)] == [{"0"}, {"1"}]


def test_all_processes_return_the_same(both):
    for name in ("whole", "resumed", "alike", "impatient"):
        one, other = both(name)
        assert all(one[key] == other[key] for key in ("best", "returned", "last"))


@pytest.mark.parametrize("name", ["alike", "twice"])
def test_two_processes_do_what_one_does_on_batches_twice_as_large(both, alone, job, name):
    """Without dropout they differ by rounding alone, whether a loss makes one pass over the batch or two."""
    script = load_script()
    objective = {"objective": script.twice} if name == "twice" else {}
    training, log = alone(name, rows=24, dropout=0.0, **objective)
    assert training["best"] == pytest.approx(both(name)[0]["best"], abs=2e-4)
    ours, theirs = ([line["loss"] for line in lines if line["event"] == "train"] for lines in (log, log_of(job, name)))
    assert ours == pytest.approx(theirs, abs=2e-3)
    assert len(ours) == 9


def test_a_resumed_training_ends_as_if_nothing_had_happened(both, job):
    for whole, resumed in zip(both("whole"), both("resumed"), strict=True):
        assert resumed["read"] == whole["read"][4:]  # it crashed in step 5, after the checkpoint of step 4
        assert {**resumed, "read": None, "validated": None} == {**whole, "read": None, "validated": None}
    assert both("crashed")[0] == {"error": "Crash: "}
    assert log_of(job, "cut") == log_of(job, "whole")


def test_a_checkpoint_has_the_generators_of_every_process(both):
    assert {"rng_state_0.pth", "rng_state_1.pth", "seal.json"} <= set(both("whole")[0]["files"])


def test_another_number_of_processes_can_not_resume(seen, job, tmp_path, quick_training):
    shutil.copytree(Path(job["folder"]) / "kept", tmp_path / "kept")
    resumed = load_script().Job({**job, "folder": str(tmp_path)}).train("kept")
    assert resumed["error"].startswith("TrainingError: ")
    assert (
        "checkpoint-4: 2 processes made this checkpoint, now there are 1; start as many, or delete" in resumed["error"]
    )


def test_accumulated_batches_make_fewer_steps(both):
    one, _ = both("accumulated")
    assert (len(one["read"]), one["last"]["step"]) == (9, 6)  # 3 batches an epoch in steps of 2 and 1


def test_patience_ends_all_processes_at_the_same_step(both):
    for training in both("impatient"):
        assert (training["last"]["step"], training["best"]["step"], len(training["read"])) == (9, 3, 9)


def test_a_loss_that_is_not_finite_in_one_process_stops_all_and_names_its_rows(both):
    _, other = both("whole")
    places = ", ".join(f"rows.csv:{row + 2}" for row in other["read"][2])
    expected = (
        f"TrainingError: the loss became nan at step 3 on {places}; look at those rows, or lower --learning-rate. "
        "The last good checkpoint is kept"
    )
    assert both("nan") == [{"error": expected}] * 2


def test_a_gradient_that_is_not_finite_names_the_rows_of_all(both):
    rows = ", ".join(str(row) for training in both("whole") for row in training["read"][2])
    for training in both("steep"):
        assert training["error"].startswith(
            f"TrainingError: the gradient's norm became nan at step 3 on training rows {rows}; "
        )


def test_fewer_rows_than_processes_are_an_error(both):
    assert both("few") == [{"error": "DataError: 1 training rows can't be shared by 2 processes; start fewer"}] * 2


def test_the_main_process_decides_about_stages_and_the_others_hear_of_its_errors(seen):
    main, other = (one["runs"] for one in seen)
    assert main["first"] == other["first"] == [{"rank": 0}, False, "stage"]
    assert main["again"] == other["again"] == [{"rank": 0}, True, "stage"]
    assert main["failed"] == "ZeroDivisionError: division by zero"
    assert other["failed"] == "PeerError: the main process failed: division by zero"
    assert (main["refused"], other["refused"]) == (RunError.__name__, PeerError.__name__)
    assert main["gathered"] == other["gathered"] == [0, 1]
    assert main["any"] == other["any"] == [True, False]
    assert sorted([main["tells"], other["tells"]]) == [[False, False], [True, True]]  # one does, however often


SHARDED = """
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
mixed_precision: 'no'
num_machines: 1
num_processes: 2
main_process_port: 0
fsdp_config:
  fsdp_version: 2
  fsdp_auto_wrap_policy: TRANSFORMER_BASED_WRAP
  fsdp_transformer_layer_cls_to_wrap: BertLayer
  fsdp_state_dict_type: SHARDED_STATE_DICT
"""


def test_a_model_in_shards_trains_and_resumes_like_a_whole_one(make_job, both):
    """accelerate shards between GPUs only, so the script lets the two processes pass for GPUs."""
    job = make_job()
    folder = Path(job["folder"])
    (folder / "fsdp.yaml").write_text(SHARDED)
    arguments = ("--config_file", folder / "fsdp.yaml", SCRIPT, folder / "job.json")
    result = launch(*ACCELERATE, *arguments, cwd=folder, ACCELERATE_TORCH_DEVICE="cpu")
    sharded = seen_by_both(folder, result)
    for one, whole in zip(sharded, both("whole"), strict=True):
        training = one["trainings"]["whole"]
        assert "pytorch_model_fsdp_0" in training["files"]
        assert training["read"] == whole["read"]
        assert training["best"] == pytest.approx(whole["best"], abs=1e-4)
        resumed = one["trainings"]["resumed"]
        assert all(resumed[key] == training[key] for key in ("best", "returned", "last"))
    assert log_of(job, "cut") == log_of(job, "whole")


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def easy(encoders, tiny, tmp_path_factory):
    """A folder with a model and data that it learns in a few epochs: one word of each text decides."""
    folder = tmp_path_factory.mktemp("easy")
    encoders.save(folder / "model", "bert", tiny.tokenizer, layers=1, initializer_range=0.1)
    fillers = [" ".join(words) for words in itertools.permutations(("film", "movie", "joy", "text", "start"), 4)]
    texts = [(f"{filler} {word}", label) for filler in fillers for word, label in (("good", "yes"), ("bad", "no"))]
    random.Random(0).shuffle(texts)
    for name, start, end in (("train", 0, 120), ("validation", 120, 180), ("test", 180, 240)):
        encoders.write_csv(folder / "data" / f"{name}.csv", texts[start:end])
    return folder


def settings_of(easy, **changes):
    return {
        "model": str(easy / "model"),
        "data": str(easy / "data"),
        "out": "out",
        "device": "cpu",
        "epochs": 4,
        "batch_size": 4,
        "max_length": 16,
        "learning_rate": 5e-3,
        **changes,
    }


def command(name, settings):
    return [name, *(str(word) for key, value in settings.items() for word in (f"--{key.replace('_', '-')}", value))]


def test_finetune_by_torchrun_speaks_once_and_learns_as_well_as_one_process(easy, tmp_path, quick_training):
    from lilliput.config import FinetuneConfig
    from lilliput.train import finetune

    words = command("finetune", settings_of(easy))
    result = launch(*TORCHRUN, "-m", "lilliput", *words, "--json", "result.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    assert result.stdout.count("\n") == result.stdout.count("saved in out/teacher") == 1
    found = json.loads((tmp_path / "result.json").read_text())
    expected = finetune(FinetuneConfig(**settings_of(easy, out=tmp_path / "alone", batch_size=8)))
    assert expected["test"]["accuracy"] > 0.95
    assert found["test"]["accuracy"] == pytest.approx(expected["test"]["accuracy"], abs=0.05)
    files = [sorted(path.name for path in (tmp_path / name / "teacher").iterdir()) for name in ("out", "alone")]
    assert files[0] == files[1]


def test_pretrain_by_accelerate_speaks_once_and_all_agree(easy, encoders, tmp_path):
    texts = [". ".join(text for text, _ in encoders.rows(8, 8 * number)) for number in range(20)]
    (tmp_path / "texts.txt").write_text("\n\n".join(texts), encoding="utf-8")
    settings = {"architecture": "tiny", "tokenizer": easy / "model", "corpus": "texts.txt", "held_out": 0.2}
    settings |= {"max_steps": 6, "batch_size": 4, "max_length": 16, "device": "cpu", "out": "out"}
    arguments = ("--multi_gpu", "--num_processes", "2", "--main_process_port", "0", "-m", "lilliput")
    result = launch(*ACCELERATE, *arguments, *command("pretrain", settings), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == result.stdout.count("saved in out/model") == 1
    log = [json.loads(line) for line in (tmp_path / "out" / "model" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log if line["event"] == "validation"][-1] == 6


BROKEN = """
import os
from lilliput.cli import main
from lilliput.train import loop

original = loop.TrainingLoop.compute_loss

def compute_loss(self, *arguments, **options):
    if os.environ["RANK"] == "1" and self.state.global_step == 2:
        raise ValueError("the second process broke")
    return original(self, *arguments, **options)

loop.TrainingLoop.compute_loss = compute_loss
main()
"""


def test_a_fault_in_one_process_ends_all_and_is_told_once(easy, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    arguments = ("--multi_gpu", "--num_processes", "2", "--main_process_port", "0", tmp_path / "broken.py")
    result = launch(*ACCELERATE, *arguments, *command("finetune", settings_of(easy)), cwd=tmp_path)
    assert result.returncode != 0
    assert result.stderr.count("ValueError: the second process broke") == result.stderr.count("lilliput/cli.py") == 1
    assert not (tmp_path / "out" / "teacher").exists()
