"""VADER's table: classes, scores and splits by hand, and what is written of them."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from lilliput.benchmarks.peers import vader as peer
from lilliput.benchmarks.vader import paper, reproduce, sentences, targets, trained
from lilliput.errors import ConfigError, DataError
from lilliput.train.data import bucket
from lilliput.train.sentiment import sentiment


def test_classes_begin_at_the_threshold():
    scores = [-1.0, -0.05, -0.0499, 0.0, 0.0499, 0.05, 0.9]
    assert [paper.CLASSES[index] for index in paper.classes_of(scores)] == [
        "negative",
        "negative",
        "neutral",
        "neutral",
        "neutral",
        "positive",
        "positive",
    ]


def test_f1_is_averaged_in_both_ways():
    # Positive: 2 right of 3 said and of 3 there, F1 2/3. Negative: 1 of 1 said, of 2 there, F1 2/3. Neutral: F1 2/3
    # with 1 of 2 said and 1 there.
    gold, found = [2, 2, 2, 0, 0, 1], [2, 2, 1, 0, 2, 1]
    scores = paper.f1_of(gold, found)
    assert scores["macro"] == pytest.approx(2 / 3)
    assert scores["weighted"] == pytest.approx(2 / 3)
    assert scores["weighted_precision"] == pytest.approx((3 * 2 / 3 + 2 * 1 + 1 * 1 / 2) / 6)
    # Without the neutral row, that class has F1 0 by macro average, and weighs nothing by the other.
    scores = paper.f1_of([2, 2, 0], [2, 1, 0])
    assert scores["macro"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert scores["weighted"] == pytest.approx((2 * 2 / 3 + 1) / 3)


@pytest.mark.parametrize("compound", [-1.0, -0.4588, 0.0, 0.0258, 0.9571])
@pytest.mark.parametrize("unsure", [0, 1])
def test_compound_scores_come_back_from_probabilities(compound, unsure):
    row = peer.probabilities_of(compound, unsure)
    assert sum(row) == pytest.approx(1)
    assert peer.compound_of(row) == compound
    assert int(np.argmax(row)) == (unsure if compound == 0 else int(compound > 0))


def write_domains(folder: Path, rows=40, again=0.01):
    """Four files of rated sentences; the second line of each is the first once more, in capitals."""
    for domain, name in sentences.FILES.items():
        ratings = [(-1) ** index * (0.02 if index % 5 == 0 else 1 + index / 100) for index in range(rows)]
        lines = [f"{index}\t{rating}\tsome {domain} sentence {index}" for index, rating in enumerate(ratings)]
        lines.insert(1, f"x\t{again}\tSOME {domain}  sentence 0")
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def test_duplicates_go_and_the_first_stays(tmp_path):
    rows = sentences.read(write_domains(tmp_path), "tweets")
    assert len(rows) == 41
    unique = sentences.without_duplicates(rows)
    assert len(unique) == 40
    assert unique[0].rating == 0.02


def test_splits_are_those_of_the_embedded_data(tmp_path):
    write_domains(tmp_path)
    rows = sentences.without_duplicates(sentences.read(tmp_path, "movies"))
    tests = []
    for fold in range(3):
        splits = sentences.splits_of(rows, fold)
        ours = {row.text for row in splits["test"] if abs(row.rating) > 0.5}
        assert ours == set(sentiment(tmp_path, fold).test.texts)
        assert {bucket(row.text) for row in splits["validation"]} <= {(3 * fold + 3) % 10}
        assert sum(map(len, splits.values())) == len(rows)
        tests += [row.text for row in splits["test"]]
    assert len(tests) == len(set(tests))


def test_transfer_text_is_from_other_domains_and_no_test_bucket(tmp_path):
    splits, transfer = trained.data_of(write_domains(tmp_path), "tweets", 1, smoke=False)
    assert transfer
    assert all("tweets" not in text and bucket(text) not in (3, 4, 5) for text in transfer)
    folder = sentences.write(splits, transfer, tmp_path / "data")
    rows = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    assert {row["label"] for row in rows} == set(paper.CLASSES)
    assert {path.name for path in folder.iterdir()} == {
        "train.jsonl",
        "validation.jsonl",
        "test.jsonl",
        "unlabelled.jsonl",
    }


def test_a_smoke_run_keeps_every_class(tmp_path):
    splits, _ = trained.data_of(write_domains(tmp_path, rows=400), "tweets", 0, smoke=True)
    assert len(splits["train"]) <= trained.SMOKE_ROWS["train"] + 3
    assert set(sentences.gold_of(splits["train"]).tolist()) == {0, 1, 2}


def test_what_is_no_rated_sentence_is_named(tmp_path):
    write_domains(tmp_path)
    (tmp_path / sentences.FILES["tweets"]).write_text("1\t0.5\tfine\n2\tmuch\ttoo\n")
    with pytest.raises(DataError, match=r"tweets_GroundTruth\.txt:2: expected id, rating and text"):
        sentences.read(tmp_path, "tweets")
    with pytest.raises(ConfigError, match="--domain books: unknown; known are tweets, movies"):
        sentences.read(tmp_path, "books")


def test_the_reproduced_row_counts_duplicates_once_where_it_says_so(tmp_path):
    rows = sentences.read(write_domains(tmp_path, rows=4, again=3.5), "tweets")
    # Ratings 0.02, 3.5 (its duplicate), -1.01, 1.02, -1.03: neutral, positive, negative, positive, negative.
    found = reproduce.measure(rows, [0.0, 0.9, -0.5, 0.0, 0.5], "tweets")
    assert found["classes"] == [2, 1, 2]
    assert (found["n"], found["unique"]["n"]) == (5, 4)
    # Negative: one said, right, of two: 2/3. Neutral: one of two said: 2/3. Positive: one of two said, one of two: 1/2.
    assert found["weighted"] == pytest.approx((2 * 2 / 3 + 1 * 2 / 3 + 2 * 1 / 2) / 5)
    assert found["error"] == pytest.approx(0.96 - found["weighted"])
    # Without the duplicate, positive has one said wrongly and one missed: 0.
    assert found["unique"]["weighted"] == pytest.approx((2 * 2 / 3 + 1 * 2 / 3 + 0) / 4)
    # 0.02 / 4 is neutral, and so is nothing else.
    assert found["ratings_by_4"]["weighted"] == pytest.approx(found["weighted"])


def test_the_largest_error_is_the_figure():
    domains = {name: {"error": error, "n": 10} for name, error in (("tweets", 0.01), ("movies", 0.04))}
    figure = reproduce.figure_of(domains)
    assert (figure.id, figure.value, figure.n) == ("vader.reproduced_max_error", 0.04, 20)


def folds(gold, teacher, student, lexicon):
    return [{"answers": {"gold": gold, "teacher": teacher, "student": student, "vader": lexicon}}]


def test_scores_are_over_all_folds_together():
    both = folds([2, 2, 0], [2, 2, 0], [2, 2, 0], [1, 1, 1]) + folds([0, 1, 2], [0, 0, 2], [0, 1, 2], [0, 1, 2])
    scores = trained.scores_of(both)
    assert scores["student"]["weighted"] == 1
    assert scores["student"]["n"] == 6
    # Negative: two right, three said, two there: 4/5; neutral 0; positive 1.
    assert scores["teacher"]["weighted"] == pytest.approx((2 * 4 / 5 + 0 + 3 * 1) / 6)
    assert scores["vader"]["macro"] == pytest.approx((2 / 3 + 2 / 5 + 1 / 2) / 3)
    figure = trained.figures_of(scores, "tweets", [0, 1])[0]
    assert figure.id == "vader.teacher_tweets_f1"
    assert figure.ci[0] <= figure.value <= figure.ci[1]


def test_folds_of_other_calls_are_kept(tmp_path, monkeypatch):
    said = iter([[2, 2], [0, 2], [2, 0], [0, 0]])

    def answered(run, domain, fold, smoke):
        answers = {"gold": [2, 0], "teacher": next(said), "student": [2, 0], "vader": [1, 1]}
        return {"fold": fold, "n_test": 2, "answers": answers}

    monkeypatch.setattr(trained, "fold_of", answered)
    app = typer.Typer()
    app.command()(trained.main)
    out = tmp_path / "tweets.json"

    def call(*flags, domain="tweets"):
        flags = ["--domain", domain, "--out", str(out), "--work", str(tmp_path / "runs"), *flags]
        return CliRunner().invoke(app, flags)

    assert call("--folds", "0,2").exit_code == 0
    assert [(figure["seeds"], figure["n"]) for figure in json.loads(out.read_text())["figures"]] == [([0, 2], 4)] * 2
    assert call("--folds", "1").exit_code == 0
    piece = json.loads(out.read_text())
    assert [(one["fold"], one["answers"]["teacher"]) for one in piece["folds"]] == [
        (0, [2, 2]),
        (1, [2, 0]),
        (2, [0, 2]),
    ]
    assert [figure["seeds"] for figure in piece["figures"]] == [[0, 1, 2]] * 2
    assert call("--folds", "2").exit_code == 0  # measured again
    assert json.loads(out.read_text())["folds"][2]["answers"]["teacher"] == [0, 0]

    before = out.read_bytes()
    done = call("--folds", "0", domain="movies")
    assert done.exit_code == 2
    assert f"--out {out}: measured in another domain" in " ".join(done.output.split())
    assert out.read_bytes() == before
    out.write_text("[]")
    assert "no piece of this command" in " ".join(call("--folds", "0").output.split())


@pytest.mark.parametrize("folds", ["3", "a", "0,4"])
def test_folds_that_are_none_are_named(folds):
    app = typer.Typer()
    app.command()(trained.main)
    done = CliRunner().invoke(app, ["--domain", "tweets", "--out", "x.json", "--folds", folds])
    assert done.exit_code == 2
    assert f"--folds {folds}: expected" in done.output


def test_the_table_has_the_papers_rows_and_ours(tmp_path):
    row = {"weighted": 0.945, "macro": 0.703, "error": 0.015, "n": 5, "unique": {"weighted": 0.9, "macro": 0.7}}
    whole = {"figures": [], "command": "reproduce", "commit": None, "domains": {"tweets": row}}
    scores = {
        name: {"weighted": value, "macro": 0.5} for name, value in (("teacher", 0.87), ("student", 0.8), ("vader", 0.9))
    }
    figures = [
        {
            "id": f"vader.{name}_tweets_f1",
            "value": scores[name]["weighted"],
            "unit": "F1",
            "ci": None,
            "n": 5,
            "seeds": [0],
        }
        for name in ("teacher", "student")
    ]
    part = {"figures": figures, "command": "trained", "commit": None, "domain": "tweets", "scores": scores}
    part["folds"] = [{"fold": 0}, {"fold": 2}]
    for name, piece in (("reproduce", whole), ("tweets", part)):
        (tmp_path / f"{name}.json").write_text(json.dumps(piece))
    page = tmp_path / "page.md"
    page.write_text("<!-- table: vader -->\n<!-- /table -->\n")
    app = typer.Typer()
    app.command()(targets.main)
    done = CliRunner().invoke(app, [str(tmp_path), "--out", str(tmp_path / "out" / "v.json"), "--page", str(page)])
    assert done.exit_code == 0, done.output
    assert "vader.teacher_tweets_f1: 0.87 F1, met" in done.output
    assert "vader.student_tweets_f1: 0.8 F1, short" in done.output  # the paper's learner has .84
    assert "vader.student_movies_f1: None F1, not measured" in done.output
    text = page.read_text()
    assert "| VADER, paper | 0.96 | 0.61 | 0.63 | 0.55 |" in text
    assert "| single human raters, paper | 0.84 | 0.92 | 0.85 | 0.65 |" in text
    assert "| VADER today, all texts | 0.94 (0.70) | not measured |" in text
    assert "| our student | 0.80 (0.50) | not measured |" in text
    assert "| folds of the last three rows | 0, 2 | not measured |" in text
