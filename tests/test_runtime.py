"""The runtime: answers, bit-equality, bad input, threads and processes."""

import json
import resource
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lilliput
from lilliput import parallel, runtime
from lilliput.bundle import MANIFEST, write_manifest
from lilliput.errors import BundleError, ConfigError, InputError, MissingDependencyError
from lilliput.runtime import load

TEXTS = [
    "a joy from start to finish",
    "an awful movie",
    "",
    "漢字 and مرحبا",
    "good 😀👩\u200d👩\u200d👧",
    "not good, not bad! " * 30,
    "caf\u00e9 cafe\u0301",
]


@pytest.fixture(scope="module", params=["fp32", "int8"])
def model(request, tiny_bundle):
    """The tiny model in each precision, with four texts at a time."""
    return load(tiny_bundle, precision=request.param, workers=4)


@pytest.fixture(scope="module")
def fp32(tiny_bundle):
    return load(tiny_bundle, precision="fp32", workers=2)


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipeline(tiny_bundle):
    """The pipeline of transformers on the same folder."""
    import transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return transformers.pipeline("text-classification", model=str(tiny_bundle), device="cpu")


@pytest.mark.parametrize("top_k", [1, 2, None])
def test_answers_of_the_transformers_pipeline(fp32, pipeline, tiny, top_k):
    options = {"truncation": True, "max_length": tiny.MAX_LENGTH, **({} if top_k == 1 else {"top_k": top_k})}
    for texts in (TEXTS, TEXTS[0]):
        ours, theirs = fp32(texts, top_k=top_k), pipeline(texts, **options)
        assert type(ours) is type(theirs)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            flat = zip([one] if top_k == 1 else one, [other] if top_k == 1 else other, strict=True)
            if isinstance(texts, str):
                flat = [(one, other)]
            for answer, reference in flat:
                assert answer["label"] == reference["label"]
                assert answer["score"] == pytest.approx(reference["score"], abs=1e-4)


def test_logits_of_torch(fp32, tiny, pipeline):
    import torch

    network = tiny.model()
    for text in TEXTS:
        encoded = pipeline.tokenizer(text, return_tensors="pt", truncation=True, max_length=tiny.MAX_LENGTH)
        with torch.no_grad():
            expected = network(**encoded).logits.numpy()
        np.testing.assert_allclose(fp32.logits([text]), expected, atol=1e-4)


def test_what_a_model_says_of_itself(tiny, tiny_bundle):
    model = load(tiny_bundle)
    assert model.precision == "int8"
    assert model.labels == tiny.LABELS
    assert (model.threads, model.workers) == (1, runtime.usable_cores())
    files = (MANIFEST, "tokenizer.json", "onnx/model_quantized.onnx")
    assert model.opened_bytes == sum((tiny_bundle / name).stat().st_size for name in files)
    assert all(words in repr(model) for words in ("'tiny'", "classification", "int8", str(tiny_bundle)))


def test_shapes(model):
    logits = model.logits(TEXTS)
    assert logits.shape == (len(TEXTS), 3)
    assert logits.dtype == np.float32
    assert model.logits([]).shape == (0, 3)
    assert model([]) == []
    assert model((), top_k=None) == []
    assert [set(answer) for answer in model("")] == [{"label", "score"}]


def test_strings_of_numpy(model):
    assert model(np.str_("a joy")) == model("a joy")
    assert model([np.str_("a joy"), "an awful movie"]) == model(("a joy", "an awful movie"))


def test_lilliput_load_is_the_same_function():
    assert lilliput.load is load


# --- the same bits, however a text is asked --------------------------------------------------------------------------


def test_the_same_bits_from_32_threads(model):
    alone = {text: model.logits([text]).tobytes() for text in TEXTS}
    barrier = threading.Barrier(32)

    def ask(number):
        barrier.wait()
        mine = TEXTS[number % len(TEXTS) :] + TEXTS[: number % len(TEXTS)]
        return all(model.logits([text]).tobytes() == alone[text] for text in mine * 5) and all(
            row.tobytes() == alone[text] for text, row in zip(mine, model.logits(mine), strict=True)
        )

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(ask, range(32)))


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.sampled_from(TEXTS) | st.text(max_size=40), max_size=8), data=st.data())
def test_a_text_does_not_see_its_neighbours(model, texts, data):
    together = model.logits(texts)
    order = data.draw(st.permutations(range(len(texts))))
    assert model.logits([texts[index] for index in order]).tobytes() == together[list(order)].tobytes()
    for text, row in zip(texts, together, strict=True):
        assert model.logits([text])[0].tobytes() == row.tobytes()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_workers_change_no_bit(tiny_bundle, precision):
    one, many = (load(tiny_bundle, precision=precision, workers=workers).logits(TEXTS * 4) for workers in (1, 7))
    assert one.tobytes() == many.tobytes()


def test_two_threads_for_one_text(tiny_bundle):
    model = load(tiny_bundle, threads=2)
    assert model.logits(TEXTS).tobytes() == model.logits(TEXTS).tobytes()
    np.testing.assert_allclose(model.logits(TEXTS), load(tiny_bundle).logits(TEXTS), atol=1e-4)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [None, b"good", 1, 1.5, {"a"}, (text for text in ["a"]), np.array(["a", "b"]), iter("ab"), True],
    ids=lambda texts: type(texts).__name__,
)
def test_what_is_neither_string_nor_list(model, texts):
    with pytest.raises(InputError, match=rf"item 0 is {type(texts).__name__}, expected a string"):
        model(texts)
    with pytest.raises(InputError, match=rf"list or tuple of strings, got {type(texts).__name__}"):
        model.logits(texts)


@pytest.mark.parametrize("item", [None, b"good", 1, 1.5, ["a"], ("a",)], ids=repr)
def test_what_is_not_a_string_in_a_list(model, item):
    with pytest.raises(InputError, match=rf"item 2 is {type(item).__name__}, expected a string"):
        model(["a", "b", item, None])


def test_parts_by_name(model):
    assert model([{"text": "good"}]) == model(["good"]) == [model(text="good")]
    with pytest.raises(InputError, match="item 1 is int, expected a string"):
        model(["a", {"text": 1}])
    with pytest.raises(InputError, match="item 1 has the part 'film'; classification reads text, text_pair"):
        model(["a", {"film": "a"}])


def test_the_lowest_bad_item_is_named(model):
    texts = ["good"] * 50
    texts[17] = texts[23] = texts[49] = "a\ud800"
    for _ in range(20):
        with pytest.raises(InputError, match=r"item 17 has a lone surrogate \(U\+D800\) at character 1,"):
            model(texts)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, True, "1"])
def test_wrong_top_k(model, top_k):
    with pytest.raises(ConfigError, match="top_k"):
        model("good", top_k=top_k)


def test_ten_megabytes(model):
    for text in ("good movie ", "a", " ", "漢", "\u0301"):
        huge = text * (10_000_000 // len(text))
        start = time.perf_counter()
        model(huge)
        assert time.perf_counter() - start < 0.5


class FirstToken:
    """Stands for a session: the logits are the first token after [CLS], and nothing takes long."""

    def run(self, outputs, feed):
        return [feed["input_ids"][:, [1, 1, 1]].astype(np.float32)]


def test_a_hundred_thousand_texts(tiny, tiny_bundle):
    model = load(tiny_bundle, workers=2)
    model._session = FirstToken()
    texts = ["joy to start", "awful movie"] * 50_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = model.logits(texts)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB on Linux
    ids = tiny.vocabulary()
    expected = np.tile(np.array([[ids["joy"]] * 3, [ids["awful"]] * 3], dtype=np.float32), (50_000, 1))
    np.testing.assert_array_equal(rows, expected)
    assert grown < 20 * 1024


# --- options and missing parts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["threads", "workers"])
@pytest.mark.parametrize("value", [0, -1, 1025, 10**30, 1.0, "2", True])
def test_wrong_counts_name_the_option(tiny_bundle, name, value):
    with pytest.raises(ConfigError, match=f"{name}: expected a whole number from 1 to 1024"):
        load(tiny_bundle, **{name: value})


@pytest.mark.parametrize("path", [None, 3, ["a"], b"folder"], ids=repr)
def test_what_is_no_path(path):
    with pytest.raises(ConfigError, match="bundle: expected the path"):
        load(path)


def test_no_such_bundle(tmp_path):
    with pytest.raises(BundleError, match="absent: no such folder"):
        load(tmp_path / "absent")


def test_a_precision_that_is_not_shipped(tiny_bundle):
    with pytest.raises(BundleError, match="no fp16 graph; this bundle ships fp32, int8"):
        load(tiny_bundle, precision="fp16")


def test_without_int8_fp32_is_the_default(tiny, tiny_copy):
    folder = tiny_copy()
    (folder / "onnx/model_quantized.onnx").unlink()
    write_manifest(folder, **tiny.manifest_fields(folder))
    assert load(folder).precision == "fp32"


def test_without_onnxruntime(tiny_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install '\.\[cpu\]'.*overwrite each other"):
        load(tiny_bundle)


def test_session_options(tiny, tiny_copy, monkeypatch):
    folder = tiny_copy()
    fields = tiny.manifest_fields(folder)
    fields["graphs"]["int8"]["disabled_optimizers"] = ["SkipLayerNormFusion"]
    write_manifest(folder, **fields)
    seen = []
    original = onnxruntime.InferenceSession

    def spy(graph, options, **rest):
        seen.append((graph, options, rest))
        return original(graph, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    load(folder, threads=3)
    ((graph, options, rest),) = seen
    assert graph == (folder / "onnx/model_quantized.onnx").read_bytes()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert rest == {"providers": ["CPUExecutionProvider"], "disabled_optimizers": ["SkipLayerNormFusion"]}


def test_the_default_workers_share_the_cores(tiny_bundle, monkeypatch):
    monkeypatch.setattr(runtime, "usable_cores", lambda: 8)
    assert [load(tiny_bundle, threads=threads).workers for threads in (1, 3, 9)] == [8, 2, 1]


# --- threads and processes -------------------------------------------------------------------------------------------


def test_the_lowest_failure_is_raised_and_the_rest_is_not_begun():
    begun = []

    def work(index):
        begun.append(index)
        if index >= 5:
            raise ValueError(index)

    for workers in (1, 2, 8):
        begun.clear()
        with pytest.raises(ValueError, match=r"^5$"):
            parallel.for_each(10_000, workers, work)
        assert len(begun) < 5 + 2 * workers


def test_a_later_failure_that_comes_first_does_not_win():
    later = threading.Event()

    def work(index):
        if index == 0:
            assert later.wait(10)
            raise ValueError("first")
        later.set()
        raise ValueError("second")

    with pytest.raises(ValueError, match="first"):
        parallel.for_each(2, 2, work)


def test_every_index_once():
    done = []
    parallel.for_each(1000, 8, done.append)
    assert sorted(done) == list(range(1000))


def test_ctrl_c_ends_a_long_list_at_once(tiny_bundle):
    model = load(tiny_bundle, workers=3)

    def interrupt(*_):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    start = time.perf_counter()
    try:
        with pytest.raises(KeyboardInterrupt):
            model(["good movie"] * 2_000_000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert time.perf_counter() - start < 2
    assert not [thread for thread in threading.enumerate() if thread.name == "lilliput"]


APP = """
import json, sys
import lilliput
early = sorted({name.split(".")[0] for name in sys.modules})
model = lilliput.load(sys.argv[1])
answers = model(["a joy", "an awful movie"])
late = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps([early, late, answers]))
"""


def test_an_app_imports_nothing_heavy(tiny_bundle):
    done = subprocess.run([sys.executable, "-c", APP, tiny_bundle], capture_output=True, text=True, check=True)
    early, late, answers = json.loads(done.stdout)
    heavy = {"torch", "transformers", "onnx", "scipy", "sklearn", "pydantic", "yaml", "rich", "typer"}
    assert not heavy & set(late)
    assert "numpy" not in early
    assert "onnxruntime" in late
    assert answers == load(tiny_bundle)(["a joy", "an awful movie"])
    assert done.stderr == ""


def test_answers_survive_a_fork(tiny_bundle):
    """A server that loads before it forks its workers."""
    program = (
        "import os, sys, lilliput\n"
        "model = lilliput.load(sys.argv[1])\n"
        "before = model(['a joy'] * 4)\n"
        "child = os.fork()\n"
        "if not child: os._exit(model(['a joy'] * 4) != before)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    subprocess.run([sys.executable, "-c", program, tiny_bundle], check=True, timeout=60)
