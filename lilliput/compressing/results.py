"""What a search leaves for its user: report, model cards, the recommended bundle, and ``compress.json``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lilliput.benchmarks import report
from lilliput.benchmarks.figures import find
from lilliput.compressing.claim import Claim, claim_of
from lilliput.compressing.family import BUNDLE
from lilliput.compressing.recommendation import Wanted
from lilliput.compressing.records import Ledger
from lilliput.compressing.shipping import Family
from lilliput.compressing.situation import Situation
from lilliput.config import GOALS, CompressConfig
from lilliput.export.card import write_card
from lilliput.runs import write_json

FILE = "compress.json"
RECOMMENDED = "recommended"


def write(
    config: CompressConfig,
    made: Mapping[str, Any],
    shipped: Family,
    wanted: Wanted,
    seen: Situation,
    ledger: Ledger,
    seconds: float,
) -> dict[str, Any]:
    """Write everything to ``config.out``, and return what ``compress.json`` says.

    Args:
        made: the report of the benchmark.
        seconds: of the whole run.
    """
    out, members, choice = config.out, shipped.members, shipped.choice
    best = next(name for name, (result, _) in members.items() if result.trial == choice.recommended.trial)
    row = find(made, model=best, precision=shipped.precision, engine="onnxruntime")
    assert row is not None  # the report was made of these models
    claims = {name: claim_of(made, name, shipped.precision, wanted) for name in members}
    claim, reason = claims[best].in_words(best), _reason(config, shipped, claims[best], wanted, seen)
    against = f"Faster means here than the teacher's own {shipped.precision} bundle, above than its plain export."
    made = {**made, "recommended": row["name"], "verdict": [claim, f"Why this one: {reason}.", against]}
    report.write_report(made, out)
    for _, stage in members.values():
        write_card(stage.folder / BUNDLE, made)
    copy_bundle(members[best][1].folder / BUNDLE, out / RECOMMENDED)
    described = made["recipe"]["config"]["members"]
    result = {
        "asked": {name: getattr(config, name) for name in (*GOALS, "max_drop")},
        "recommended": best,
        "bundle": str(out / RECOMMENDED),
        "meets": choice.recommended.meets and not claims[best].missed and shipped.precision == config.precision,
        "precision": shipped.precision,
        "reason": reason,
        "claim": claim,
        "evidence": asdict(claims[best]),
        "family": [
            {
                "name": name,
                "bundle": str(stage.folder / BUNDLE),
                "claim": claims[name].in_words(name),
                **described[name],
            }
            for name, (_, stage) in members.items()
        ],
        "trials": len(ledger.proposals),
        "failures": {ledger.proposals[trial].name: why for trial, why in ledger.failures.items()},
        "seconds": round(seconds, 1),
        "folder": str(out),
    }
    write_json(out / FILE, result)
    return result


def _reason(config: CompressConfig, shipped: Family, claim: Claim, wanted: Wanted, seen: Situation) -> str:
    """Why it is this model; where something is not met, on which split, and whether any transformer could."""
    reason = shipped.choice.recommended.reason
    if shipped.precision != config.precision:
        return (
            f"{reason}; but the gates refused every {config.precision} graph, so it is shipped in {shipped.precision}"
        )
    if shipped.choice.recommended.meets:
        missed = " and ".join(claim.missed)
        return f"{reason}; on the test split it is not so that it {missed}" if missed else reason
    if wanted.speed is not None and wanted.speed > seen.fastest:
        reason += (
            f". The teacher's tokenizer, tables and head alone take 1/{seen.fastest:.3g} of its time, so no "
            "transformer that keeps them can be faster than that"
        )
    return reason


def copy_bundle(bundle: Path, to: Path) -> None:
    """A copy of a bundle, whole or not at all: links would not pass ``lilliput verify``."""
    writing = to.with_name(f".{to.name}.partial")
    shutil.rmtree(writing, ignore_errors=True)
    if _digest(bundle) is None or _digest(bundle) != _digest(to):
        shutil.copytree(bundle, writing)
        shutil.rmtree(to, ignore_errors=True)
        writing.rename(to)
        return
    for name in ("README.md", "measurements.json"):  # outside the hashes
        shutil.copy(bundle / name, to / name)


def _digest(bundle: Path) -> str | None:
    try:
        return str(json.loads((bundle / "lilliput.json").read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError):
        return None
