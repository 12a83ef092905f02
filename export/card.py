"""The model card of a bundle: ``README.md`` as the Hugging Face Hub reads it, and the figures as ``measurements.json``.

Both are written after measuring and lie outside the bundle's hashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lilliput.bundle import Bundle
from lilliput.errors import BundleError
from lilliput.manifest import Manifest
from lilliput.runs import write_json, write_text
from lilliput.types import ONNX_FILES

HUB_LICENCES = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc0-1.0")
PIPELINES = {"classification": "text-classification"}
"""The Hub's name of each task."""

Row = Mapping[str, Any]


def write_card(bundle: Path, report: Mapping[str, Any]) -> None:
    """Write ``README.md`` and ``measurements.json`` into a bundle, from its manifest and a benchmark report.

    Args:
        report: as in report.json; the card shows its rows whose ``model`` is the bundle's name.

    Raises:
        BundleError: the report has no row of this bundle, or the bundle can't be opened.
    """
    manifest = Bundle.open(bundle).manifest
    rows = [row for row in report["models"] if row["model"] == manifest.name and row["engine"] == "onnxruntime"]
    if not rows:
        raise BundleError(
            f"{bundle}: the report has no figures of a model {manifest.name!r}; benchmark the bundle first"
        )
    about = {key: report[key] for key in ("generated", "command", "commit", "smoke", "threads", "machine", "data")}
    write_json(bundle / "measurements.json", {**about, "models": rows}, scratch=bundle.parent)
    front = yaml.safe_dump(_front_matter(manifest, rows, report), sort_keys=False, allow_unicode=True)
    sections = (_title, _figures, _usage, _training, _limits)
    body = "\n\n".join(section(manifest, rows, report) for section in sections)
    write_text(bundle / "README.md", f"---\n{front}---\n\n{body}\n", scratch=bundle.parent)


def _front_matter(manifest: Manifest, rows: Sequence[Row], report: Mapping[str, Any]) -> dict[str, Any]:
    """What the Hub shows and searches: https://huggingface.co/docs/hub/model-cards."""
    task = PIPELINES.get(manifest.task, manifest.task)
    model = _part(manifest, "model")
    front: dict[str, Any] = _licence(model.get("licence"))
    front["library_name"] = "lilliput"
    front["pipeline_tag"] = task
    front["tags"] = (
        ["lilliput", "onnx", "int8", "transformers.js", task] if len(manifest.graphs) > 1 else ["lilliput", "onnx"]
    )
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(model.get("name", ""))):
        front["base_model"] = model["name"]
    front["metrics"] = sorted({row["metric"] for row in rows})
    if not report["smoke"]:
        metrics = [
            {"type": r["metric"], "name": f"{r['metric']} ({r['precision']})", "value": round(r["score"], 4)}
            for r in rows
        ]
        dataset = {"name": report["data"]["name"], "type": "other", "split": report["data"]["split"]}
        result = {"task": {"type": task}, "dataset": dataset, "metrics": metrics}
        front["model-index"] = [{"name": manifest.name, "results": [result]}]
    return front


def _licence(words: Any) -> dict[str, Any]:
    """The Hub's identifier where the words begin with one of its licences; otherwise the words themselves."""
    said = _line(words or "not stated")
    known = re.split(r"[\s;,(]", said.lower(), maxsplit=1)[0]
    return {"license": known} if known in HUB_LICENCES else {"license": "other", "license_name": said}


def _title(manifest: Manifest, rows: Sequence[Row], report: Mapping[str, Any]) -> str:
    labels = ", ".join(_line(label) for label in manifest.labels)
    base = _part(manifest, "model").get("name")
    smoke = (
        "\n\n**From a smoke run on a subset: it shows that everything works. Do not use this model.**"
        if report["smoke"]
        else ""
    )
    origin = f" from {_line(base)}" if base else ""
    return (
        f"# {_line(manifest.name)}\n\n"
        f"A small text classifier ({manifest.architecture}, {manifest.parameters / 1e6:.1f} million parameters) with "
        f"the labels {labels}, made with Lilliput{origin}. It runs without PyTorch.{smoke}"
    )


def _figures(manifest: Manifest, rows: Sequence[Row], report: Mapping[str, Any]) -> str:
    where, data = report["machine"], report["data"]
    threads = "1 thread" if report["threads"] == 1 else f"{report['threads']} threads"
    lines = [
        "## Measured\n",
        "| precision | accuracy (95% interval) | retained of the teacher | p50 ms | p99 ms | MB to load | ECE |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_figure_line(row) for row in rows),
        "",
        f"{data['n_test']:,} test texts of {_line(data['name'])} ({_line(data['split'])}), one at a time on {threads} "
        f"of {_line(where['cpu'])}, tokenizer included, {report['generated'][:10]}.",
    ]
    for row in rows:
        for key, reference in (("int8", "plain ONNX Runtime int8"), ("eager", "eager PyTorch")):
            speed = row[f"speedup_vs_teacher_{key}"]
            if speed is not None and row["role"] == "student":
                lines.append(f"In {row['precision']} it has {speed:.2g} times the speed of its teacher on {reference}.")
    lines.append("All figures, with machine and versions, are in `measurements.json`.")
    return "\n".join(lines)


def _figure_line(row: Row) -> str:
    size = f"{row['bytes'] / 1e6:.1f}" if row["bytes"] else "not measured"
    cells = [
        row["precision"],
        _share(row["score"], row["score_ci"]),
        _share(row["retained"], row["retained_ci"]),
        f"{row['latency_ms']['p50']:.3g}",
        f"{row['latency_ms']['p99']:.3g}",
        size,
        "not measured" if row["ece"] is None else f"{row['ece']:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _share(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "not measured"
    bounds = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
    return f"{100 * value:.1f}%{bounds}"


def _usage(manifest: Manifest, rows: Sequence[Row], report: Mapping[str, Any]) -> str:
    graph = ONNX_FILES["int8"] if "int8" in manifest.graphs else ONNX_FILES["fp32"]
    quantized = ', { dtype: "q8" }' if "int8" in manifest.graphs else ', { dtype: "fp32" }'
    task = PIPELINES.get(manifest.task, manifest.task)
    folder = re.sub(r"[^\w.-]", "-", manifest.name)  # goes into program text
    feeds = "\n".join(f'    "{name}": [encoding.{FIELDS.get(name, name)}],' for name in manifest.inputs)
    return f"""## Use it

With Lilliput (numpy, tokenizers and ONNX Runtime; hashes are checked first):

```python
import lilliput

model = lilliput.load("{folder}")
model("a joy from start to finish")
```

With ONNX Runtime alone:

```python
import onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("{folder}/tokenizer.json")
session = onnxruntime.InferenceSession("{folder}/{graph}")
encoding = tokenizer.encode("a joy from start to finish")
(logits,) = session.run(None, {{
{feeds}
}})
```

With transformers (PyTorch, fp32):

```python
from transformers import pipeline

pipeline("{task}", model="{folder}")("a joy from start to finish", truncation=True)
```

With transformers.js:

```js
import {{ env, pipeline }} from "@huggingface/transformers";

env.localModelPath = ".";
env.allowRemoteModels = false;
const classify = await pipeline("{task}", "{folder}"{quantized});
await classify("a joy from start to finish");
```"""


FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
"""Inputs of the graph, and what the tokenizers library calls them."""


def _training(manifest: Manifest, rows: Sequence[Row], report: Mapping[str, Any]) -> str:
    lines = ["## Where it comes from\n", *_bullets(manifest.provenance)]
    if manifest.seeds:
        lines.append(f"- seeds: {', '.join(map(str, manifest.seeds))}")
    lines += [
        "",
        "### Recipe\n",
        "```yaml",
        yaml.safe_dump(manifest.recipe, sort_keys=False, allow_unicode=True).strip(),
        "```",
    ]
    return "\n".join(lines)


def _bullets(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _bullets(value, f"{name}, ")
        elif value not in (None, "", [], {}):
            words = "; ".join(map(_line, value)) if isinstance(value, list) else _line(value)
            yield f"- {_line(name).replace('_', ' ')}: {words}"


def _limits(manifest: Manifest, rows: Sequence[Row], report: Mapping[str, Any]) -> str:
    return "\n".join(
        [
            "## Limits\n",
            f"- Measured on {_line(report['data']['name'])} only. Other kinds of text, and other languages, were not "
            "measured: measure your own before relying on it.",
            f"- A text is cut after {manifest.max_length} tokens.",
            "- Scores are softmax probabilities; the calibration error (ECE) above says how far to trust them.",
            "- int8 answers may differ slightly between processors with and without VNNI.",
            "- Hashes in `lilliput.json` prove that the files are whole, not who made them.",
        ]
    )


def _part(manifest: Manifest, name: str) -> Mapping[str, Any]:
    """A part of the provenance; older and foreign ones hold a plain name."""
    part = manifest.provenance.get(name)
    return part if isinstance(part, Mapping) else {"name": part} if part else {}


def _line(value: Any) -> str:
    """Untrusted text on one line, without HTML."""
    return " ".join(str(value).split()).replace("<", "&lt;")
