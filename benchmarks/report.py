"""One run's report: ``report.json`` (checked against the schema that ships) and ``report.html``.

from lilliput.benchmarks import entries, latency, report
from lilliput.benchmarks.peers import plain_onnx_int8, tfidf

plain = plain_onnx_int8.build(bundles / "teacher", work / "plain-int8", max_length=128)
train = tfidf.write_train(data.train.texts, data.train.labels, work / "train.json")
models = [
    entries.of_torch_eager(bundles / "teacher", "teacher", max_length=128, seeds=(0,)),
    entries.of_bundle(bundles / "teacher", "teacher", "fp32", role="teacher_fp32", seeds=(0,)),
    entries.of_bundle(bundles / "teacher", "teacher", "int8", role="teacher", seeds=(0,)),
    entries.of_plain_onnx_int8(plain, "teacher", seeds=(0,)),          # the role "teacher_int8"
    entries.of_bundle(bundles / "student-l2", "student-l2", "int8", seeds=(0,)),
    entries.of_tfidf(train, data.label_names),
]
result = latency.run(models, data.test.texts, folder=work, on_progress=lambda done, total, what: ...)
rows = report.rows(result, models, data.test.labels, data.label_names, teacher="teacher fp32")
made = report.build_report(
    rows,
    result,
    title="Sentiment of film reviews",
    data={"name": "movies", "split": "test", "n_test": 3181, "fingerprint": data.fingerprint,
          "report": data.report.to_dict()},
    run=report.RunFacts(command="lilliput demo", commands=["lilliput demo --out runs/demo"], config={...},
                        minutes=17.2, peak_gb=3.1, teacher_floor=0.865, tampers_refused=200),
    gates=[dataclasses.asdict(parity) | {"name": "student-l2"} for parity in ...],
    targets=report.demo_targets(),
)
report.write_report(made, Path("runs/demo"))                          # .json, .html, .md and .csv
console.print(table.for_terminal(made))                               # lilliput.benchmarks.table
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema

from lilliput import runs
from lilliput.benchmarks import evidence, machine, page, sheets
from lilliput.benchmarks.accuracy import QUANTILE_LEVELS, rows
from lilliput.benchmarks.figures import Target, demo_targets, figures
from lilliput.benchmarks.measured import Result
from lilliput.errors import LilliputError

__all__ = ["RunFacts", "build_report", "demo_targets", "figures", "read_report", "rows", "validate", "write_report"]

SCHEMA = Path(__file__).with_name("report.schema.json")
LARGEST, LONGEST = 100_000_000, 200
"""Bytes of a report, and characters of what is said of a fault."""


@dataclass(frozen=True)
class RunFacts:
    """What the command knows about itself.

    Attributes:
        command: what was run, as a figure's origin.
        commands: how to do every step again, in order.
        config: the effective configuration.
        minutes, peak_gb: of the whole run; None where they were not measured.
        teacher_floor: accuracy below which the teacher is too weak for retained figures to count.
        tampers_refused: of 200 random changes to a bundle, how many ``verify`` refused.
        not_measured: plain sentences.
    """

    command: str
    commands: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    minutes: float | None = None
    peak_gb: float | None = None
    teacher_floor: float | None = None
    tampers_refused: int | None = None
    not_measured: Sequence[str] = ("Latency on a GPU, on a phone and in a browser.", "Energy.")


def build_report(
    rows: Sequence[Mapping[str, Any]],
    result: Result,
    *,
    title: str,
    data: Mapping[str, Any],
    run: RunFacts,
    smoke: bool = False,
    gates: Sequence[Mapping[str, Any]] = (),
    targets: Sequence[Target] = (),
    scenarios: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Put a report together and check it.

    Args:
        rows: of ``rows``.
        data: ``name``, ``split``, ``n_test``, ``fingerprint`` and optionally ``report``, the data report.
        smoke: a run on a subset, to see that everything works; its figures count for nothing, and every page says so.
        gates: parity of each bundle and precision: ``name``, ``precision``, ``texts``, ``max_difference`` (of outputs)
            and ``agreement`` with torch.
        targets: of ``demo_targets`` or a list of one's own.
        scenarios: what other scenarios than the single stream found, by name (see `lilliput.benchmarks.scenarios`).
    """
    known = {"texts_sha256": evidence.digest(result.texts)} if result.texts else {}
    report: dict[str, Any] = {
        "schema": 1,
        "title": title,
        "generated": datetime.now(UTC).isoformat(timespec="seconds"),
        "smoke": smoke,
        "command": run.command,
        "commit": machine.commit(),
        "minutes": run.minutes,
        "peak_gb": run.peak_gb,
        "tampers_refused": run.tampers_refused,
        "teacher_floor": run.teacher_floor,
        "threads": result.threads,
        "machine": machine.facts(result),
        "data": {"report": None, **known, **data},
        "recipe": {"commands": list(run.commands), "config": dict(run.config)},
        "gates": [dict(gate) for gate in gates],
        "not_measured": list(run.not_measured),
        "quantile_levels": list(QUANTILE_LEVELS),
        "models": [dict(row) for row in rows],
        "scenarios": dict(scenarios or {}),
    }
    report["figures"] = figures(report, targets)
    # Through JSON, so that what was checked is what a reader gets (tuples are lists, paths are not allowed).
    report = json.loads(json.dumps(report, allow_nan=False))
    validate(report)
    return report


def validate(report: Mapping[str, Any]) -> None:
    """Check a report against ``report.schema.json`` (JSON Schema 2020-12).

    Raises:
        LilliputError: names the first place that does not fit.
    """
    checker = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    fault = next(iter(sorted(checker.iter_errors(report), key=lambda error: list(map(str, error.path)))), None)
    if fault is not None:
        place = "/".join(map(str, fault.absolute_path)) or "the top"
        words = " ".join(fault.message.split())  # it quotes what is wrong, which may be the whole file
        short = words if len(words) <= LONGEST else f"{words[: LONGEST // 2]} … {words[-LONGEST // 2 :]}"
        raise LilliputError(f"the report does not fit its schema at {place}: {short}")


def write_report(report: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """Write ``report.json``, ``.html``, ``.md`` and ``.csv`` into a folder, each whole or not at all; return the first
    two's paths."""
    validate(report)
    paths = folder / "report.json", folder / "report.html"
    runs.write_json(paths[0], report)
    runs.write_text(paths[1], page.render(report))
    runs.write_text(folder / "report.md", sheets.markdown(report))
    runs.write_text(folder / "report.csv", sheets.csv_of(report))
    return paths


def read_report(path: Path) -> dict[str, Any]:
    """Read and check a report.

    Raises:
        LilliputError: the file is missing, too large, not JSON, or does not fit the schema; the message names it.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise LilliputError(f"{path}: larger than {LARGEST / 1e6:.0f} MB, which no report is")
        report = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise LilliputError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise LilliputError(f"{path} can't be read as a report, it is no whole JSON file: {error}") from error
    try:
        validate(report)
    except LilliputError as error:
        raise LilliputError(f"{path}: {error}") from None
    checked: dict[str, Any] = report
    return checked


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
