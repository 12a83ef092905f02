"""Runs a loader's lines where Lilliput is not installed, and asks: ``python -I ask.py SPEC.json``.

The spec has the ``lines``, the ``kind`` of loader, ``texts``, ``packages`` and the file ``out`` for what is found:
``tokens`` of each text, ``scores`` by label or a ``vector`` of each, ``labels`` and ``versions``.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Names = Mapping[str, Any]


def pipeline(names: Names, texts: Sequence[str]) -> dict[str, Any]:
    """Ask ``classify``, a pipeline of transformers, one text at a time."""
    classify = names["classify"]
    answers = [classify(text, top_k=None) for text in texts]
    return {
        "tokens": [classify.tokenizer(text, truncation=True)["input_ids"] for text in texts],
        "scores": [{one["label"]: one["score"] for one in answer} for answer in answers],
    }


def graph(names: Names, texts: Sequence[str]) -> dict[str, Any]:
    """Ask ``logits``, and make scores of them with the labels of config.json, as the other loaders do."""
    import numpy as np

    labels = json.loads(Path("bundle/config.json").read_text(encoding="utf-8"))["id2label"]
    scores = []
    for text in texts:
        values = np.asarray(names["logits"](text), dtype=np.float64)  # [labels]
        powers = np.exp(values - values.max())
        scores.append({labels[str(i)]: float(power / powers.sum()) for i, power in enumerate(powers)})
    return {"tokens": [names["tokenizer"].encode(text).ids for text in texts], "scores": scores}


def sentences(names: Names, texts: Sequence[str]) -> dict[str, Any]:
    """Ask ``model``, which gives a vector for a text."""
    model = names["model"]
    options = {"truncation": True, "max_length": model.max_seq_length}
    return {
        "tokens": [model.tokenizer(text, **options)["input_ids"] for text in texts],
        "vectors": [[float(number) for number in model.encode(text)] for text in texts],
    }


KINDS = {"pipeline": pipeline, "graph": graph, "sentences": sentences}


def main(spec: str) -> None:
    """Run the lines and write what they answer."""
    asked = json.loads(Path(spec).read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    exec(compile(asked["lines"], "docs/export.md", "exec"), names)
    found = KINDS[asked["kind"]](names, asked["texts"])
    found["versions"] = {name: importlib.metadata.version(name) for name in asked["packages"]}
    Path(asked["out"]).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
