"""From your own CSV to a small model: `python examples/distill_csv.py reviews.csv runs/reviews`.

Fine-tunes a teacher, distils a student of three layers from it, exports the student and asks it something. The CSV
has a column of texts and one of labels. Run it again and training that is finished is not done again.
"""

import argparse
from pathlib import Path

import lilliput
from lilliput import pipeline
from lilliput.compress import distill
from lilliput.config import DistillConfig, ExportConfig, FinetuneConfig
from lilliput.train import finetune


def small_model(data: Path, out: Path, model: str = "embedded", layers: int = 3) -> Path:
    """Make a bundle of a student of ``layers`` layers for the task that ``data`` shows; return its folder."""
    teacher = finetune(FinetuneConfig(data=str(data), model=model, out=out / "teacher"))
    print(f"teacher: {teacher['test']['accuracy']:.1%} of {teacher['n_test']} test texts")

    student = distill(
        DistillConfig(
            data=str(data), teacher=teacher["folder"], student=f"layers={layers}", augment=1, out=out / "student"
        )
    )
    print(f"student: {student['test']['accuracy']:.1%}; {student['shape']['layers']} layers")

    bundle = pipeline.export(ExportConfig(data=str(data), model=student["folder"], out=out / "bundle"))
    return Path(bundle["folder"])


def main() -> None:
    """Make the model that the command line asks for, and try it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="CSV with a text and a label column")
    parser.add_argument("out", type=Path, help="folder of the result")
    parser.add_argument("--model", default="embedded", help="Hugging Face folder or Hub id to start from")
    given = parser.parse_args()
    bundle = small_model(given.data, given.out, given.model)
    text = "a joy from start to finish"
    print(f"{bundle}: {text!r} is {lilliput.load(bundle)(text)}")


if __name__ == "__main__":
    main()
