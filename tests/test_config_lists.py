"""Settings that hold several values: one value alone is a list of one, and what is no list is told so."""

import pytest

from lilliput.config import BenchmarkConfig, DistillConfig, ExportConfig, FinetuneConfig, TokenizerConfig, build
from lilliput.errors import ConfigError


@pytest.mark.parametrize(
    ("kind", "lines", "value"),
    [
        (FinetuneConfig, "seeds: 1", (1,)),
        (FinetuneConfig, "seeds: [1, 2]", (1, 2)),
        (DistillConfig, "initial_layers: 2\nteacher: t", (2,)),
        (DistillConfig, "teacher: t", ("t",)),
        (BenchmarkConfig, "scenario: server\nbundles: [a, b]", ("server",)),
        (ExportConfig, "precisions: fp32\nmodel: m", ("fp32",)),
        (TokenizerConfig, "corpus: texts.txt", ("texts.txt",)),
    ],
)
def test_one_value_is_a_list_of_one(tmp_path, kind, lines, value):
    (tmp_path / "config.yaml").write_text(lines)
    assert getattr(build(kind, tmp_path / "config.yaml", out="o"), lines.partition(":")[0]) == value


def test_a_single_text_must_be_one_that_a_command_line_can_give():
    with pytest.raises(ConfigError, match="--corpus: must not hold a NUL character"):
        build(TokenizerConfig, corpus="a\0b", out="o")


@pytest.mark.parametrize("value", ["{a: 1}", "true", "2024-01-01"])
def test_what_is_no_list_is_told_so(tmp_path, value):
    path = tmp_path / "config.yaml"
    path.write_text(f"seeds: {value}")
    with pytest.raises(ConfigError) as caught:
        build(FinetuneConfig, path, out="o")
    assert str(caught.value).startswith(f"{path}: seeds: input should be a list (got ")
