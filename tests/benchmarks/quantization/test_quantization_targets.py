"""Figures of quantization, pooled by hand."""

import json

import typer
from typer.testing import CliRunner

from lilliput.benchmarks.quantization import targets


def row(drop, agreement, ratio, flips):
    int8 = {"drop_points": [drop, drop - 0.5, drop + 0.5], "agreement": agreement}
    return {"int8": int8, "int8-static": {**int8, "flips": flips}, "bytes_ratio": ratio}


def test_the_worst_model_counts(tmp_path):
    folds = [
        {"fold": 0, "n_test": 10, "models": {"teacher": row(0.1, 0.99, 0.26, 0), "x4": row(-0.2, 0.986, 0.25, 0)}},
        {"fold": 2, "n_test": 20, "models": {"teacher": row(0.25, 0.995, 0.24, 1)}},
    ]
    for fold in folds:
        piece = {"figures": [], "command": "measure", "commit": None, **fold}
        (tmp_path / f"fold-{fold['fold']}.json").write_text(json.dumps(piece))
    page = tmp_path / "page.md"
    page.write_text(
        "".join(
            f"<!-- table: {name} -->\n<!-- /table -->\n"
            for name in ("quantize", "quantize-models", "quantize-batching")
        )
    )
    app = typer.Typer()
    app.command()(targets.main)
    done = CliRunner().invoke(app, [str(tmp_path), "--out", str(tmp_path / "out" / "q.json"), "--page", str(page)])
    assert done.exit_code == 0, done.output
    assert "quantize.int8_drop_max: 0.25 points, met" in done.output
    assert "quantize.int8_agreement_min: 0.986 share" in done.output
    assert "quantize.bytes_ratio: 0.26 of fp32, met" in done.output
    assert "quantize.batch_flips: 1.0 flips, short" in done.output
    assert "quantize.openvino_ratio: None times, not measured" in done.output
    assert "| 2 | teacher | `int8` | 0.25 (-0.25 to 0.75) | 99.50% |" in page.read_text()
    figures = json.loads((tmp_path / "out" / "q.json").read_text())["figures"]
    assert [figure["seeds"] for figure in figures if figure["status"] != "not measured"] == [[0, 2]] * 4
