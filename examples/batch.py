"""A batch job: `python examples/batch.py BUNDLE IN.csv OUT` answers the column "text" of a CSV file of any length.

OUT is a CSV file, or Parquet if it is called so (which needs pyarrow): the columns of IN, "label" and "score".
Rows are read, answered and written as they come: memory does not grow with the file. OUT appears when it is whole.
"""

import csv
import itertools
import sys
from pathlib import Path

import lilliput
from lilliput.errors import LilliputError


def answered(model, rows):
    """The rows with their answers, in their order."""
    rows, texts = itertools.tee(rows)  # the model is never more than one piece ahead
    for row, answer in zip(rows, model.stream(row["text"] for row in texts), strict=True):
        yield {**row, "label": answer["label"], "score": answer["score"]}


def write_csv(path, columns, rows):
    """Write rows as they come."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path, columns, rows):
    """Write rows in groups of a thousand."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.float64() if name == "score" else pa.string()) for name in columns])
    with parquet.ParquetWriter(path, schema) as writer:
        while group := list(itertools.islice(rows, 1000)):
            writer.write_table(pa.Table.from_pylist(group, schema))


def main(bundle, source, out):
    """Answer a file."""
    write, part = write_parquet if out.suffix == ".parquet" else write_csv, out.with_name(f"{out.name}.part")
    with source.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if "text" not in (reader.fieldnames or ()):
            raise LilliputError(f'{source}: has no column "text"')
        write(part, [*reader.fieldnames, "label", "score"], answered(lilliput.load(bundle), reader))
    part.replace(out)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python examples/batch.py BUNDLE IN.csv OUT.csv|OUT.parquet")
    try:
        main(sys.argv[1], *map(Path, sys.argv[2:]))
    except (LilliputError, OSError) as error:
        sys.exit(f"error: {error}")
