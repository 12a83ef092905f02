"""What an evaluation leaves on disk: every prediction, and the figures that one number hides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from lilliput import processes
from lilliput.tasks import Task
from lilliput.train.data import Split


def write(
    folder: Path,
    task: Task,
    predictions: Sequence[Any],
    split: Split,
    names: Sequence[str],
    settings: Mapping[str, Any],
    *,
    validation: tuple[Sequence[Any], Split] | None = None,
) -> dict[str, Any]:
    """Write ``predictions.parquet`` (id, gold, prediction, probabilities) and return what it shows.

    Args:
        predictions: of ``task``, on the inputs of ``split``, in their order.
        validation: predictions on the validation split, with it: what is fitted is fitted there.
    """
    records = [task.record(prediction, names, settings) for prediction in predictions]
    table = {
        "id": split.places or [str(number) for number in range(len(split))],
        "gold": [task.shown(target, names) for target in split.targets],
        "prediction": [record["prediction"] for record in records],
        "probabilities": [record["probabilities"] for record in records],
    }
    if processes.is_main():
        pyarrow.parquet.write_table(pyarrow.table(table), folder / "predictions.parquet")
    return {"rows": len(records)}
