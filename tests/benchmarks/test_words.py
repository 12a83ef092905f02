"""How numbers are written, the claim, the README's table, and labels that don't cover each other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lilliput.benchmarks import readme, report, table
from lilliput.benchmarks.claim import best_student, claim, not_measured
from lilliput.errors import ConfigError

Specimen = Callable[..., dict[str, Any]]
README = "# Title\n\n<!-- table: report -->\nold\n<!-- /table -->\n\nafter\n"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (table.percent(0.87654, [0.861, 0.8914]), "87.7% (86.1 to 89.1)"),
        (table.percent(1.0, [1.0, 1.0]), "100.0%"),
        (table.percent(None), "not measured"),
        (table.times(0.868), "0.87×"),
        (table.times(3.14), "3.1×"),
        (table.milliseconds(0.0634), "0.063"),
        (table.milliseconds(1.234), "1.23"),
        (table.milliseconds(16.24), "16.2"),
        (table.milliseconds(0.99999), "1.00"),
        (table.milliseconds(1234.0), "1234"),
        (table.megabytes(91_640_000), "91.6"),
        (table.megabytes(123_456), "0.12"),
        (table.whole(12345.6), "12,346"),
    ],
)
def test_numbers(written: str, expected: str) -> None:
    assert written == expected


def test_markdown_survives_hostile_names(specimen: Specimen) -> None:
    rows = specimen(rename={"student-l2 int8": "a|b\n<script>"})["models"]
    lines = table.markdown(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert lines[9].startswith(
        "| a\\|b &lt;script> | 85.8% (84.2 to 87.3) | 97.5% (96.7 to 98.2) | 1.00 | 16.0× | 4.0× | 4.0 |"
    )


def test_the_terminal_table_fits_and_takes_no_markup(specimen: Specimen) -> None:
    console = Console(width=90, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(table.for_terminal(specimen(rename={"student-l2 int8": "[red]x[/red]"}, smoke=True)))
    text = captured.get()
    assert "★ [red]x[/red]" in text
    assert "85.8% ±1.5" in text
    assert "…" not in text
    assert "SMOKE RUN" in text


def test_the_claim_is_about_the_fastest_student_that_is_good_enough(specimen: Specimen) -> None:
    made = specimen()
    best = best_student(made)
    assert best is not None
    assert best["name"] == "student-l2 int8"
    words = claim(made)
    assert "16.0× the speed of the teacher in PyTorch" in words
    assert "85.8% against 88.0%" in words
    assert "below its floor" not in words
    assert "below its floor of 90.0%" in claim({**made, "teacher_floor": 0.9})


def test_a_search_s_claim_is_about_the_model_that_it_recommends(specimen: Specimen) -> None:
    made = {**specimen(), "recommended": "student-l3 int8"}
    best = best_student(made)
    assert best is not None
    assert best["name"] == "student-l3 int8"
    assert claim(made).startswith("student-l3 int8 answers a text in")
    report.validate(made)


def test_the_claim_falls_back_to_the_most_accurate_fast_student(specimen: Specimen) -> None:
    made = specimen()
    for row in made["models"]:
        row["retained"] = row["retained"] - 0.05
    best = best_student(made)
    assert best is not None
    assert best["name"] == "student-l3 int8"  # the fp32 one is more accurate, but slower than the int8 teacher


def test_a_teacher_is_not_its_own_student(specimen: Specimen) -> None:
    made = specimen()
    made["models"] = [{**row, "role": "student"} if row["name"] == "teacher int8" else row for row in made["models"]]
    for row in made["models"]:
        row["retained"] = 0.9 if row["model"].startswith("student") else row["retained"]
    best = best_student(made)
    assert best is not None
    assert best["model"].startswith("student")


def test_gaps_are_listed(specimen: Specimen) -> None:
    made = specimen()
    made["models"][0]["peak_rss_mb"] = None
    made["figures"][0]["status"] = "not measured"
    gaps = not_measured(made)
    assert "teacher torch eager: memory." in gaps
    assert "demo.minutes." in gaps
    assert "The targets: a smoke run measures none of them." in not_measured(specimen(smoke=True))


def test_the_readme_command_writes_the_table(specimen: Specimen, tmp_path: Path) -> None:
    data, _ = report.write_report(specimen(), tmp_path)
    file = tmp_path / "README.md"
    file.write_text(README)
    typer_app = readme.typer.Typer()
    typer_app.command()(readme.main)
    done = CliRunner().invoke(typer_app, [str(data), str(file)])
    assert done.exit_code == 0, done.output
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# Title\n\n<!-- table: report -->\n| model |")
    assert text.endswith("<!-- /table -->\n\nafter\n")
    assert "old" not in text
    assert readme.updated(text, "report", report.read_report(data), file) == text  # a second time changes nothing


@pytest.mark.parametrize("text", ["no markers", README + README, "<!-- table: report -->"])
def test_missing_or_doubled_markers_are_refused(specimen: Specimen, text: str) -> None:
    with pytest.raises(ConfigError, match=r"README\.md: needs <!-- table: report --> once"):
        readme.updated(text, "report", specimen(), Path("README.md"))


def test_the_readme_command_says_what_is_wrong(tmp_path: Path) -> None:
    typer_app = readme.typer.Typer()
    typer_app.command()(readme.main)
    done = CliRunner().invoke(typer_app, [str(tmp_path / "absent.json"), str(tmp_path / "README.md")])
    assert done.exit_code == 2


def test_a_teacher_that_is_no_bundle_is_retained_of_all_the_same(specimen: Specimen) -> None:
    made = specimen()
    made["models"] = [row for row in made["models"] if row["role"] != "teacher_fp32"]
    assert "It keeps 97.5% of the teacher's accuracy" in claim(made)


def test_a_scenario_without_figures_is_a_gap(specimen: Specimen) -> None:
    made = specimen()
    names = [row["name"] for row in made["models"]]
    made["scenarios"] = {
        "energy": {"settings": {}, "models": {name: {"not_measured": "no counters"} for name in names}},
        "server": {"settings": {}, "models": {names[0]: {"not_measured": "it died"}, names[1]: {"rate_per_s": 1.0}}},
    }
    gaps = not_measured(made)
    assert "Scenario energy: no counters." in gaps
    assert f"Scenario server, {names[0]}: it died." in gaps
    assert len([gap for gap in gaps if gap.startswith("Scenario")]) == 2
