"""A checkpoint of unequal blocks is loaded by a process that has transformers and has never seen Lilliput."""

import json
import os
import subprocess
import sys

import pytest
import torch
import transformers

from lilliput import encoder, models
from lilliput.compress.modeling_file import write_modeling_file
from lilliput.compress.surgery import prune
from lilliput.errors import ConfigError
from lilliput.types import PrunePlan

PROGRAM = """
import sys, torch, transformers
folder, head, out = sys.argv[1:]
loaded = getattr(transformers, head).from_pretrained(folder, trust_remote_code=True).eval()
torch.save(loaded(input_ids=torch.tensor([[5, 6, 7, 8]]))[0].detach(), out)
assert not [name for name in sys.modules if name.split(".")[0] == "lilliput"]
"""


def saved(encoders, architecture, head, folder):
    model = getattr(transformers, head).from_config(encoders.config(architecture)).eval()
    plan = PrunePlan(((1,), (), (0, 1)), ((0, 3, 4), (1, 2), ()), tuple(range(11)))
    smaller = prune(model, plan)
    smaller.save_pretrained(folder)
    return smaller


def test_transformers_alone_loads_it_and_answers_the_same(encoders, tmp_path):
    head = "AutoModelForSequenceClassification"
    model = saved(encoders, "bert", head, tmp_path)
    write_modeling_file(tmp_path)
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), head, str(tmp_path / "out.pt")],
        check=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_MODULES_CACHE": str(tmp_path / "modules")},
    )
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([[5, 6, 7, 8]]))[0]
    assert torch.allclose(torch.load(tmp_path / "out.pt", weights_only=True), expected, atol=1e-6)


def test_lilliput_loads_it_with_its_own_code_and_every_class_is_named(encoders, tmp_path):
    saved(encoders, "electra", "AutoModelForSequenceClassification", tmp_path)
    path = write_modeling_file(tmp_path)
    named = json.loads((tmp_path / "config.json").read_text())["auto_map"]
    assert named == {
        "AutoConfig": "modeling_lilliput.LilliputElectraConfig",
        "AutoModel": "modeling_lilliput.LilliputElectraModel",
        "AutoModelForMaskedLM": "modeling_lilliput.LilliputElectraForMaskedLM",
        "AutoModelForQuestionAnswering": "modeling_lilliput.LilliputElectraForQuestionAnswering",
        "AutoModelForSequenceClassification": "modeling_lilliput.LilliputElectraForSequenceClassification",
        "AutoModelForTokenClassification": "modeling_lilliput.LilliputElectraForTokenClassification",
    }
    path.write_text("raise SystemExit('this must not run')")
    loaded = models.load_finetuned_classifier(tmp_path)
    assert type(loaded).__module__ == "lilliput.architectures.pruned"
    plan = PrunePlan.whole(encoder.block_shapes_of(loaded))
    prune(loaded, plan).save_pretrained(tmp_path / "again")
    assert "auto_map" not in json.loads((tmp_path / "again" / "config.json").read_text())


def test_what_needs_no_such_file_is_refused(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match="a model of type 'bert' needs no code of ours"):
        write_modeling_file(checkpoint("bert"))
    with pytest.raises(ConfigError, match=r"config.json: no configuration of a model"):
        write_modeling_file(tmp_path)
