"""Configurations: flags and files say the same, and every error names the flag or the file and key."""

import inspect
import itertools
import time
from pathlib import Path

import pytest
import typer
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lilliput import cli
from lilliput.config import (
    BenchmarkConfig,
    CompressConfig,
    Config,
    DataConfig,
    DemoConfig,
    DistillConfig,
    ExportConfig,
    FinetuneConfig,
    PretrainConfig,
    QuantizeConfig,
    ServeConfig,
    TokenizerConfig,
    build,
)
from lilliput.errors import ConfigError

CONFIGS = {
    "tokenizer train": TokenizerConfig,
    "pretrain": PretrainConfig,
    "finetune": FinetuneConfig,
    "distill": DistillConfig,
    "compress": CompressConfig,
    "export": ExportConfig,
    "quantize": QuantizeConfig,
    "benchmark": BenchmarkConfig,
    "demo": DemoConfig,
}
NEEDED = {
    TokenizerConfig: {"corpus": ("c",), "out": "o"},
    PretrainConfig: {"corpus": ("c",), "model": "m", "out": "o"},
    FinetuneConfig: {"out": "o"},
    DistillConfig: {"teacher": "t", "out": "o"},
    CompressConfig: {"teacher": "t", "out": "o"},
    ExportConfig: {"model": "m", "out": "o"},
    QuantizeConfig: {"model": "m", "out": "o"},
    BenchmarkConfig: {"bundles": ("a", "b"), "out": "o"},
    DemoConfig: {},
}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "config.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


# --- flags and fields ------------------------------------------------------------------------------------------------


def commands():
    return {name: command.callback for name, command in below(typer.main.get_command(cli.app))}


def below(group, start=""):
    """Every command of a group, by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from below(command, f"{start}{name} ")
        else:
            yield start + name, command


@pytest.mark.parametrize("name", CONFIGS)
def test_every_field_is_a_flag_and_every_flag_a_field(name):
    parameters = inspect.signature(commands()[name]).parameters
    assert set(parameters) == set(CONFIGS[name].model_fields) | {"config", "json_file"}
    # Defaults live in the configuration only: a flag that was not given must not win over the file.
    assert {key: p.default for key, p in parameters.items() if p.default is not None} == {}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_flag_is_spelt_as_its_field(name):
    command = dict(below(typer.main.get_command(cli.app)))[name]
    for parameter in command.params:
        if parameter.name in ("config", "json_file", "bundles", "help"):
            continue
        assert "--" + parameter.name.replace("_", "-") in parameter.opts


@pytest.mark.parametrize("kind", [*CONFIGS.values(), DataConfig])
def test_every_config_is_frozen_and_refuses_unknown_keys(kind):
    config = kind(**NEEDED.get(kind, {}))
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValueError, match="Extra inputs"):
        kind(**NEEDED.get(kind, {}), nonsense=1)


def test_the_command_of_a_config_is_its_name():
    assert {name: kind.command for name, kind in CONFIGS.items()} == {name: name for name in CONFIGS}


# --- YAML ------------------------------------------------------------------------------------------------------------


def test_the_file_of_the_defaults(write):
    config = build(FinetuneConfig, out="o")
    assert yaml.safe_load(config.to_yaml()) == {
        "data": "sentiment",
        "text_column": None,
        "pair_column": None,
        "label_column": None,
        "slice_column": None,
        "allow_overlap": False,
        "task": "classification",
        "seed": 0,
        "epochs": 3,
        "patience": None,
        "learning_rate": 1e-4,
        "batch_size": 32,
        "gradient_accumulation": 1,
        "warmup": 0.1,
        "weight_decay": 0.01,
        "max_length": 128,
        "save_every": 100,
        "device": "auto",
        "model": "embedded",
        "revision": None,
        "metric": None,
        "class_weights": "none",
        "consistency": 0.0,
        "layer_decay": 1.0,
        "trials": 0,
        "seeds": None,
        "out": "o",
    }
    assert build(FinetuneConfig, write(config.to_yaml())) == config


# Of control characters and rare line ends PyYAML loses some; no name of a file or a column has them.
texts = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=30)


@settings(max_examples=50, deadline=None)
@given(
    data=texts,
    teacher=texts,
    layers=st.none() | st.lists(st.integers(0, 99), max_size=4).map(tuple),
    rate=st.floats(1e-12, 1.0, exclude_min=True),
    seed=st.integers(0, 2**31 - 1),
    embeddings=st.booleans(),
)
def test_any_config_survives_the_way_through_a_file(tmp_path_factory, data, teacher, layers, rate, seed, embeddings):
    config = DistillConfig(
        data=data,
        teacher=teacher,
        initial_layers=layers,
        learning_rate=rate,
        seed=seed,
        train_embeddings=embeddings,
        out=Path("漢 字"),
    )
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert build(DistillConfig, path) == config


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(write):
    path = write("epochs: 7\nbatch-size: 8\nlearning_rate: 0.5\nout: from-file\n")
    config = build(FinetuneConfig, path, epochs=2, batch_size=None, out=None)
    assert (config.epochs, config.batch_size, config.learning_rate, config.seed) == (2, 8, 0.5, 0)
    assert config.out == Path("from-file")


def test_an_empty_file_says_nothing(write):
    assert build(DemoConfig, write("")) == DemoConfig()
    assert build(DemoConfig, write("# only a comment\n")) == DemoConfig()


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "flags", "message"),
    [
        (FinetuneConfig, {}, "--out is missing"),
        (DistillConfig, {"out": "o"}, "--teacher is missing"),
        (FinetuneConfig, {"epochs": 0}, "--epochs: input should be greater than or equal to 1 (got 0)"),
        (FinetuneConfig, {"learning_rate": -1.0}, "--learning-rate: input should be greater than 0 (got -1.0)"),
        (FinetuneConfig, {"seed": 2**31}, "--seed: input should be less than 2147483648 (got 2147483648)"),
        (FinetuneConfig, {"device": "tpu"}, "--device: input should be 'auto', 'cpu' or 'cuda' (got 'tpu')"),
        (FinetuneConfig, {"data": ""}, "--data: string should have at least 1 character (got '')"),
        (
            ExportConfig,
            {"precisions": ("int8",)},
            "--precisions: must include fp32, which every other precision is made from and checked against "
            "(got ('int8',))",
        ),
        (ExportConfig, {"precisions": ("fp32", "int4")}, "--precisions: input should be 'fp32' or 'int8' (got 'int4')"),
        (BenchmarkConfig, {}, "BUNDLES is missing; --out is missing"),
        (
            BenchmarkConfig,
            {"bundles": ()},
            "BUNDLES: list should have at least 1 item after validation, not 0 (got ())",
        ),
        (ServeConfig, {"model": ""}, "MODEL: string should have at least 1 character (got '')"),
        (DataConfig, {"data": ""}, "DATA: string should have at least 1 character (got '')"),
        (
            DistillConfig,
            {"initial_layers": ("1", "x")},
            "--initial-layers: input should be a valid integer, unable to parse string as an integer (got 'x')",
        ),
        (
            FinetuneConfig,
            {"epochs": 0, "seed": -1},
            "--seed: input should be greater than or equal to 0 (got -1); "
            "--epochs: input should be greater than or equal to 1 (got 0)",
        ),
    ],
)
def test_a_wrong_flag_is_named_with_what_it_may_be(kind, flags, message):
    needed = {} if message.endswith("missing") else NEEDED.get(kind, {})
    with pytest.raises(ConfigError) as caught:
        build(kind, **{**needed, **flags})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        (kind, name)
        for kind, needed in NEEDED.items()
        for name, field in kind.model_fields.items()
        if field.annotation is float
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number_may_be_infinite_or_none_at_all(kind, field, value):
    flag = "--" + field.replace("_", "-")
    with pytest.raises(ConfigError, match=flag):
        build(kind, **{**NEEDED[kind], field: value})


def test_a_wrong_key_is_named_with_its_file(write):
    path = write("epochs: many\nout: o\n")
    with pytest.raises(ConfigError) as caught:
        build(FinetuneConfig, path)
    assert str(caught.value) == (
        f"{path}: epochs: input should be a valid integer, unable to parse string as an integer (got 'many')"
    )
    # A flag that overrides the file is named as a flag.
    with pytest.raises(ConfigError, match=r"^--epochs: "):
        build(FinetuneConfig, path, epochs=0)


def test_an_unknown_key_is_named_with_those_there_are(write):
    path = write("epoch: 3\nout: o\n")
    with pytest.raises(ConfigError) as caught:
        build(FinetuneConfig, path)
    assert str(caught.value).startswith(
        f"{path}: epoch: unknown key of finetune; it knows allow_overlap, batch_size, class_weights,"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n- b\n", "must hold 'key: value' lines"),
        ("just a text", "must hold 'key: value' lines"),
        ("3: 4", "must hold 'key: value' lines"),
        ("null: 4", "must hold 'key: value' lines"),
        ("epochs: [1\n", ":2: not valid YAML"),
        ("a: b: c\n", ":1: not valid YAML"),
        ("epochs: 3\n\tout: x\n", ":2: not valid YAML"),
        ("epochs: 2024-13-45", "not valid YAML"),
        ("epochs: !!int abc", "not valid YAML"),
        ("? [a]\n: b\n", ":1: not valid YAML"),
        (b"data: \xff\xfe\n", "not UTF-8 text"),
        ("data: x\n".encode("utf-16"), "not UTF-8 text"),
        ("[" * 5000, "not valid YAML"),
        ("data: " + "x" * 100_000, "larger than 100,000 bytes"),
        ('out: "a\\0b"', "out: must not hold a NUL character"),
        ('data: "\\ud800"', r"data: input should be a valid string"),
        ("out: x\nepochs: 1e3", "epochs: input should be a valid integer"),  # the text '1e3' in YAML 1.1
    ],
)
def test_a_hostile_or_broken_file_is_an_error_that_names_it(write, content, message):
    path = write(content)
    with pytest.raises(ConfigError) as caught:
        build(FinetuneConfig, path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {ran}']",
        "!!python/object/new:subprocess.Popen [['touch', '{ran}']]",
        "!!python/name:os.system",
        "!!python/module:antigravity",
    ],
)
def test_a_file_can_t_make_python_objects(write, tmp_path, value):
    path = write("epochs: " + value.format(ran=tmp_path / "ran"))
    with pytest.raises(ConfigError, match=r":1: not valid YAML"):
        build(FinetuneConfig, path)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_grows_without_end_when_written_out_is_refused_at_once(write):
    names = "abcdefghij"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in itertools.pairwise(names)]
    path = write("\n".join([*lines, "epochs: *j", "initial_layers: *j", "out: o"]))
    began = time.monotonic()
    with pytest.raises(ConfigError, match="unknown key") as caught:
        build(DistillConfig, path, teacher="t")
    with pytest.raises(ConfigError, match="epochs: input should be a valid integer") as wrong:
        build(
            FinetuneConfig, write("\n".join(["epochs: &a [x]", f"epochs: [{', '.join(['[[[[x]]]]'] * 9)}]", "out: o"]))
        )
    assert time.monotonic() - began < 5
    assert len(str(caught.value)) < 20_000
    assert len(str(wrong.value)) < 300


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--config .*no\.yaml: No such file"):
        build(DemoConfig, tmp_path / "no.yaml")
    with pytest.raises(ConfigError, match=r"--config .*: Is a directory"):
        build(DemoConfig, tmp_path)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_config_or_one_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    try:
        outcome = build(DemoConfig, path)
    except ConfigError as error:
        outcome = error
    assert isinstance(outcome, Config) or str(path) in str(outcome)


# --- rules between fields --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "--model or --architecture: give one of the two"),
        ({"model": "m", "architecture": "tiny"}, "--model or --architecture: give one of the two"),
        ({"architecture": "tiny"}, "--tokenizer: a model from scratch needs one"),
    ],
)
def test_pretraining_starts_from_one_thing(values, message):
    with pytest.raises(ConfigError, match=message):
        build(PretrainConfig, corpus=("c",), out="o", **values)


@pytest.mark.parametrize("seeds", [(1, 1), (), (-1,), ("x",)])
def test_seeds_are_different_whole_numbers(seeds):
    with pytest.raises(ConfigError, match=r"^--seeds: "):
        build(FinetuneConfig, out="o", seeds=seeds)


@pytest.mark.parametrize("kind", [BenchmarkConfig, DemoConfig])
@pytest.mark.parametrize("given", [{"task": "regression"}, {"pair_column": "other"}])
def test_commands_that_read_single_texts_with_one_label_say_so(kind, given):
    with pytest.raises(ConfigError, match=r"works with .* so far"):
        build(kind, **NEEDED[kind], **given)
