"""The measurements of pruning: pooled folds, paired rivals, and the rivals' own way of cutting."""

import json

import numpy as np
import pytest
import torch

from lilliput import encoder
from lilliput.benchmarks.evidence import packed, unpacked
from lilliput.benchmarks.folds import chosen
from lilliput.benchmarks.pruning import rivals, targets
from lilliput.benchmarks.pruning.family import PACKED, PRUNED
from lilliput.benchmarks.pruning.models import NAMES
from lilliput.config import PruneConfig, QuantizeConfig
from lilliput.errors import ConfigError


def piece(fold, n_test=8, **right):
    """A fold's piece: the teacher is right on all but the last text; models as flags, one a text."""
    theirs = np.array([True] * (n_test - 1) + [False])
    models = {}
    for name, flags in right.items():
        ours = np.array(flags, dtype=bool)
        cells = {"both": ours & theirs, "ours": ours & ~theirs, "theirs": ~ours & theirs, "neither": ~ours & ~theirs}
        models[name] = {
            "pairs": {cell: int(found.sum()) for cell, found in cells.items()},
            "right": packed(ours),
            "precision": "int8",
            "agreement": 0.9,
            "seconds": 60.0,
            "bytes": 100 * (fold + 1),
            "parameters": 1000,
            "blocks": [[2, 8], [1, 4]],
        }
    return {"fold": fold, "n_test": n_test, "teacher": {"bytes": 4000, "block": [2, 8]}, "models": models}


def test_folds_are_pooled_and_rivals_paired_text_by_text():
    x4 = [[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0, 1, 1]]
    drop = [[1, 1, 1, 1, 0, 1, 0, 1], [1, 1, 1, 0, 1, 0, 0, 1]]
    folds = [piece(k, x4=x4[k], **{"layer-drop": drop[k], "as-layer-drop": x4[k]}) for k in (0, 1)]
    found = targets.pooled(folds)
    assert found["x4"]["folds"] == [0, 1]
    assert found["x4"]["accuracy"]["value"] == 13 / 16
    assert found["x4"]["retained"]["value"] == pytest.approx(13 / 14)
    assert found["x4"]["drop"]["value"] == pytest.approx(100 * (14 - 13) / 16)
    assert found["x4"]["size_ratio"] == pytest.approx((4000 / 100 + 4000 / 200) / 2)
    # On 16 texts our model is right on 13 and the other on 11.
    assert found["layer-drop"]["ahead"]["value"] == pytest.approx(100 * 2 / 16)
    assert "ahead" not in found["x4"]


def test_blocks_are_those_of_the_fold_that_was_timed():
    folds = [piece(0, x4=[1] * 8, post=[1] * 8), piece(2, x4=[1] * 8)]
    folds[1]["models"]["x4"]["blocks"] = [[1, 5]]
    shown = {name: one["blocks"] for name, one in targets.pooled(folds, timed=[2]).items()}
    assert shown == {"x4": [[1, 5]], "post": [[2, 8], [1, 4]]}
    rows = targets.models_table(targets.pooled(folds, timed=[2]), {"x4": {"speedup": [4.0, 3.9, 4.1]}}).splitlines()
    assert [row.split(" | ")[2:4] for row in rows[2:]] == [["0", "2/8 1/4"], ["0, 2", "1/5"]]


def test_figures_are_those_that_are_promised_and_what_is_missing_is_not_measured():
    figures = targets.figures_of(targets.pooled([piece(2, x4=[1] * 8, post=[0, *[1] * 6, 0])]))
    assert {figure.id: figure.value for figure in figures} == {
        "prune.speedup4_retained": pytest.approx(8 / 7),
        "prune.post_training_drop": pytest.approx(100 / 8),
    }
    assert {figure.id for figure in figures} <= {target.id for target in targets.TARGETS}
    assert figures[0].seeds == [2]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1001])
def test_flags_survive_being_packed(count):
    flags = np.random.default_rng(count).random(count) < 0.5
    assert (unpacked(packed(flags), count) == flags).all()


def test_the_page_gets_both_tables(tmp_path):
    folder, page = tmp_path / "pieces", tmp_path / "page.md"
    folder.mkdir()
    described = {"figures": [], "command": "python -m a", "commit": "b"}
    (folder / "fold-0.json").write_text(json.dumps({**piece(0, x4=[1] * 8), **described}))
    machine = {"cpu": "a processor", "cores": 1}
    speed = {"fold": 0, "models": {}, "machine": machine, "noisy": False, "p50_spread": 0.1}
    (folder / "speed.json").write_text(json.dumps({**described, **speed}))
    marks = "".join(f"<!-- table: {name} -->\n<!-- /table -->\n" for name in ("prune", "prune-models"))
    page.write_text(marks)
    targets.main(folder, tmp_path / "prune.json", page)
    assert "| prune.speedup4_retained | 1.143" in page.read_text()
    assert "2/8 1/4" in page.read_text()
    assert page.read_text().count("Speeds are of fold 0, on a processor with 1 core.\n") == 1
    assert "Speeds of `python -m a` are of fold 0, on a processor with 1 core.\n" in page.read_text()
    image = (tmp_path / "prune-structure.svg").read_text()
    assert "x4: 2 and 8, 1 and 4" in image
    # Both blocks have two bars, full in the first and half in the second.
    assert [image.count(f'width="{width}"') for width in ("150", "150.0", "75.0")] == [4, 2, 2]
    judged = json.loads((tmp_path / "prune.json").read_text())["figures"]
    assert [figure["status"] for figure in judged if figure["id"] == "prune.bert_base_peak_gb"] == ["not measured"]


def test_every_member_is_a_configuration_of_the_command():
    for settings in PRUNED.values():
        assert PruneConfig(**{"model": "m", "out": "o", **settings}).command == "prune"
        assert settings.get("model", "x4") in PRUNED
    for settings in PACKED.values():
        assert QuantizeConfig(**{**settings, "out": "o"}).command == "quantize"
        assert settings["model"] in PRUNED


def test_unknown_models_are_named():
    assert chosen(None, NAMES) == list(NAMES)
    with pytest.raises(ConfigError, match="'x5' is unknown"):
        chosen("x4,x5", NAMES)


def test_torch_pruning_cuts_dimensions_heads_and_neurons_by_one_share(encoders):
    model = encoders.classifier("bert", layers=2, hidden_size=32, num_attention_heads=4, intermediate_size=64)
    smaller = rivals.torch_pruning(model, 2)
    shape = encoder.shape_of(smaller)
    assert (shape.layers, shape.hidden, shape.heads, shape.ffn) == (2, 16, 2, 32)
    ids = torch.arange(5, 12)[None]
    assert smaller.eval()(input_ids=ids).logits.shape == (1, 2)


def test_dropping_layers_keeps_those_that_are_evenly_spaced(encoders):
    model = encoders.classifier("bert", layers=3)
    smaller = rivals.layer_drop(model, 1)
    ours, theirs = encoder.blocks_of(smaller)[0], encoder.blocks_of(model)[1]
    assert torch.equal(ours.query.weight, theirs.query.weight)
