"""Two reports side by side: verdicts by hand, and what the command does with files that are no reports."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lilliput import cli
from lilliput.benchmarks import comparison, evidence, report
from lilliput.benchmarks.comparison import APART, IMPROVEMENT, OPEN, REGRESSION, SAME, Limits
from lilliput.errors import LilliputError

Specimen = Callable[..., dict[str, Any]]
SHA = "0" * 64


@pytest.fixture
def old(specimen: Specimen) -> dict[str, Any]:
    made = specimen()
    made["data"]["texts_sha256"] = SHA
    return made


def row_of(made: dict[str, Any], name: str = "student-l2 int8") -> dict[str, Any]:
    return next(row for row in made["models"] if row["name"] == name)


def rewrite_hits(row: dict[str, Any], hits: np.ndarray) -> None:
    row["hits"], row["score"] = evidence.packed(hits), float(hits.mean())


def compared(
    old: dict[str, Any], change: Callable[[dict[str, Any]], None], limits: Limits | None = None
) -> dict[str, Any]:
    new = copy.deepcopy(old)
    change(new)
    return comparison.compare(old, new, limits)


def test_a_report_against_itself_shows_no_change(old: dict[str, Any]) -> None:
    found = comparison.compare(old, copy.deepcopy(old))
    assert found["regressions"] == []
    assert found["gone"] == found["added"] == found["notes"] == []
    for one in found["models"].values():
        assert one["accuracy"] | {"old": 0, "new": 0, "ci": 0} == {
            **{"old": 0, "new": 0, "difference": 0.0, "ci": 0, "paired": True, "mcnemar_p": 1.0},
            "verdict": SAME,
        }
        assert -0.01 < one["accuracy"]["ci"][0] < 0 < one["accuracy"]["ci"][1] < 0.01  # no proof for other texts
        assert (one["latency"]["ratio"], one["latency"]["verdict"]) == (1.0, SAME)
    assert found["models"]["student-l2 int8"]["size"]["verdict"] == SAME
    assert comparison.markdown(found).startswith("**No regression**")


def test_lost_hits_are_found_text_by_text(old: dict[str, Any]) -> None:
    def change(new: dict[str, Any]) -> None:
        row = row_of(new)
        hits = evidence.unpacked(row["hits"], 2000)
        hits[np.flatnonzero(hits)[:30]] = False
        rewrite_hits(row, hits)

    one = compared(old, change)["models"]["student-l2 int8"]["accuracy"]
    assert one["difference"] == pytest.approx(-0.015)
    # 30 texts lost, none gained: the exact p-value of McNemar is 2 x 2^-30.
    assert one["mcnemar_p"] == pytest.approx(2.0**-29)
    assert (one["paired"], one["verdict"]) == (True, REGRESSION)
    allowed = compared(old, change, Limits(lost=0.013))["models"]["student-l2 int8"]["accuracy"]
    assert allowed["verdict"] == OPEN  # it is worse for sure, but perhaps by no more than is allowed
    assert compared(old, change, Limits(lost=0.03))["regressions"] == []


def test_a_difference_that_chance_makes_is_no_change(old: dict[str, Any]) -> None:
    def change(new: dict[str, Any]) -> None:
        row = row_of(new)
        hits = evidence.unpacked(row["hits"], 2000)
        lost, won = np.flatnonzero(hits)[:20], np.flatnonzero(~hits)[:15]
        hits[lost], hits[won] = False, True
        rewrite_hits(row, hits)

    one = compared(old, change)["models"]["student-l2 int8"]["accuracy"]
    assert one["difference"] == pytest.approx(-0.0025)
    assert one["ci"][0] < 0 < one["ci"][1]
    assert one["verdict"] == SAME


def test_without_hits_shares_are_compared_as_independent(old: dict[str, Any]) -> None:
    def change(new: dict[str, Any]) -> None:
        for row in new["models"]:
            del row["hits"]
        row_of(new)["score"] -= 0.06

    found = compared(old, change)
    one = found["models"]["student-l2 int8"]["accuracy"]
    assert (one["paired"], one["mcnemar_p"], one["verdict"]) == (False, None, REGRESSION)
    assert found["regressions"] == [["student-l2 int8", "accuracy"]]


def test_newcombes_own_example() -> None:
    # Newcombe 1998, table II, (a): 56/70 - 48/80 = 0.2, method 10 gives 0.0524 to 0.3339.
    found = comparison.unpaired(56 / 70, 70, 48 / 80, 80)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, REGRESSION), (1.03, SAME), (0.8, IMPROVEMENT)])
def test_latency_is_a_ratio_of_medians(old: dict[str, Any], factor: float, verdict: str) -> None:
    def change(new: dict[str, Any]) -> None:
        row = row_of(new)
        row["round_p50_ms"] = [factor * ms for ms in row["round_p50_ms"]]
        row["latency_ms"]["p50"] *= factor

    one = compared(old, change)["models"]["student-l2 int8"]["latency"]
    assert one["ratio"] == pytest.approx(factor)
    assert one["ci"][0] < factor < one["ci"][1]
    assert one["verdict"] == verdict


def test_a_noisy_run_may_be_slower_by_its_own_spread(specimen: Specimen) -> None:
    noisy = specimen(spread=0.4)

    def change(new: dict[str, Any]) -> None:
        row = row_of(new)
        row["round_p50_ms"] = [1.25 * 1.0] * 10

    found = compared(noisy, change)
    assert found["regressions"] == []
    one = found["models"]["student-l2 int8"]["latency"]
    assert one["why"] == "a run was noisy: 40.0% are allowed"
    assert any("noisy in the new run" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("machine", "cpu"), "another one", "another processor"),
        (("machine", "cores"), 99, "another number of cores"),
        (("threads",), 4, "another number of threads (1, then 4)"),
        (("data", "texts_sha256"), "1" * 64, "other test texts"),
        (("data", "fingerprint"), "other", "other test texts"),
    ],
    ids=["processor", "cores", "threads", "texts", "data"],
)
def test_latencies_of_different_situations_are_not_compared(
    old: dict[str, Any], path: tuple[str, ...], value: Any, why: str
) -> None:
    def change(new: dict[str, Any]) -> None:
        inner = new
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        row_of(new)["round_p50_ms"] = [100.0] * 10

    found = compared(old, change)
    one = found["models"]["student-l2 int8"]["latency"]
    assert one["verdict"] == APART
    assert why in one["why"]
    assert found["regressions"] == []
    assert f"not comparable: {one['why']}" in comparison.markdown(found)


def test_another_engine_is_not_compared_and_other_data_have_no_accuracy_verdict(old: dict[str, Any]) -> None:
    def change(new: dict[str, Any]) -> None:
        row_of(new)["engine"] = "openvino"
        new["data"]["fingerprint"] = "other"

    one = compared(old, change)["models"]["student-l2 int8"]
    assert one["accuracy"]["verdict"] == one["latency"]["verdict"] == APART


@pytest.mark.parametrize(("factor", "verdict"), [(1.02, REGRESSION), (1.005, SAME), (0.5, IMPROVEMENT)])
def test_size_is_counted(old: dict[str, Any], factor: float, verdict: str) -> None:
    def change(new: dict[str, Any]) -> None:
        row_of(new)["bytes"] = round(factor * row_of(new)["bytes"])

    assert compared(old, change)["models"]["student-l2 int8"]["size"]["verdict"] == verdict


def test_models_come_and_go(old: dict[str, Any]) -> None:
    def change(new: dict[str, Any]) -> None:
        row_of(new)["name"] = "a|b <script>"
        new["machine"]["versions"]["onnxruntime"] = "99"
        old["machine"]["versions"]["onnxruntime"] = "98"

    found = compared(old, change)
    assert (found["gone"], found["added"]) == (["student-l2 int8"], ["a|b <script>"])
    assert "onnxruntime 98 became 99." in found["notes"]
    assert "Only in the new report: a\\|b &lt;script>." in comparison.markdown(found)


def test_reports_without_a_common_model_are_refused(old: dict[str, Any]) -> None:
    def rename(new: dict[str, Any]) -> None:
        for row in new["models"]:
            row["name"] = f"other {row['name']}"

    with pytest.raises(LilliputError, match="no model is in both reports: "):
        compared(old, rename)


def test_what_two_searches_recommend_is_compared(old: dict[str, Any]) -> None:
    old["recommended"] = "student-l2 int8"

    def change(new: dict[str, Any]) -> None:
        row = row_of(new)
        row["name"] = new["recommended"] = "student-l3 int8 of another speed"
        row["bytes"] *= 2

    found = compared(old, change)
    assert found["models"]["recommended"]["size"]["ratio"] == pytest.approx(2.0)
    assert ["recommended", "size"] in found["regressions"]
    assert "recommended" not in comparison.compare(old, copy.deepcopy(old))["models"]


def test_two_models_of_one_name_and_damaged_hits_are_refused(old: dict[str, Any]) -> None:
    new = copy.deepcopy(old)
    new["models"][1]["name"] = new["models"][0]["name"]
    with pytest.raises(LilliputError, match="the new report has two models called 'teacher torch eager'"):
        comparison.compare(old, new)
    new = copy.deepcopy(old)
    new["models"][0]["hits"] = "AAAA"
    with pytest.raises(LilliputError, match="the hits of 'teacher torch eager' are damaged: 3 bytes"):
        comparison.compare(old, new)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line as the shell would: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(cli.app, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            assert isinstance(result.exception, LilliputError | OSError), result.exception
            return 2, result.stdout, str(result.exception)
        return result.exit_code, result.stdout, result.stderr

    return call


@pytest.fixture
def files(old: dict[str, Any], tmp_path: Path) -> tuple[Path, Path]:
    """Two reports, of which the second has a larger model."""
    new = copy.deepcopy(old)
    row_of(new)["bytes"] *= 2
    for name, made in (("old.json", old), ("new.json", new)):
        (tmp_path / name).write_text(json.dumps(made))
    return tmp_path / "old.json", tmp_path / "new.json"


def test_exit_codes_tell_whether_there_is_a_regression(run: Any, files: tuple[Path, Path], tmp_path: Path) -> None:
    code, out, _ = run("compare", *files, "--out", tmp_path / "diff.md", "--json", tmp_path / "diff.json")
    assert code == 1
    assert out.startswith("**1 regression**")
    assert "- student-l2 int8: size" in out
    assert (tmp_path / "diff.md").read_text() == out
    assert json.loads((tmp_path / "diff.json").read_text())["regressions"] == [["student-l2 int8", "size"]]
    assert run("compare", files[0], files[0])[0] == 0
    assert run("compare", *files, "--max-larger", 100)[0] == 0
    assert run("compare", files[1], files[0])[0] == 0  # smaller is no regression


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("", "no whole JSON file"),
        ('{"schema": 1, "title": "x', "no whole JSON file"),
        ("[" * 100_000, "no whole JSON file"),
        ("[]", "does not fit its schema at the top"),
        ('{"figures": []}', "does not fit its schema at the top"),
        ('{"schema": 2}', "does not fit its schema"),
        ("\udcff", "no whole JSON file"),
    ],
    ids=["missing", "empty", "truncated", "deep", "a list", "results", "a later schema", "binary"],
)
def test_what_is_no_report_is_one_line_that_names_the_file(
    run: Any, files: tuple[Path, Path], tmp_path: Path, content: str | None, message: str
) -> None:
    wrong = tmp_path / "wrong.json"
    if content is not None:
        wrong.write_bytes(content.encode("utf-8", "surrogateescape"))
    for words in ((wrong, files[1]), (files[0], wrong)):
        code, out, err = run("compare", *words)
        assert code == 2
        assert out == ""
        assert str(wrong) in err
        assert message in err
        assert len(err.strip().splitlines()) == 1
        assert len(err) < 600 + len(str(wrong))


def test_a_truncated_report_a_folder_and_numbers_that_are_none(run: Any, files: tuple[Path, Path]) -> None:
    whole = files[1].read_text()
    files[1].write_text(whole[: len(whole) // 2])
    assert "no whole JSON file" in run("compare", *files)[2]
    assert "Is a directory" in run("compare", files[0], files[0].parent)[2]
    files[1].write_text(whole.replace('"minutes": 17.0', '"minutes": NaN'))
    assert "NaN is no number" in run("compare", *files)[2]


def test_older_reports_without_details_are_compared(run: Any, files: tuple[Path, Path]) -> None:
    made = report.read_report(files[0])
    del made["scenarios"], made["data"]["texts_sha256"]
    for row in made["models"]:
        for key in ("hits", "reliability", "slices", "structure", "sensitivity", "made"):
            del row[key]
    files[0].write_text(json.dumps(made))
    code, out, _ = run("compare", files[0], files[0])
    assert code == 0
    assert "not paired" in out
