"""Other libraries' loaders: how they are asked and compared, without their environments."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import lilliput
from lilliput.benchmarks.loaders import asking, browsing, comparing, measure, npm, roster
from lilliput.benchmarks.loaders.asking import Answers
from lilliput.benchmarks.peers.measure import environments
from lilliput.errors import FetchError, LilliputError

ROOT = Path(__file__).parents[3]
TEXTS = ["a joy from start to finish", "an awful movie", "it was not bad"]


def here(name):
    """The interpreter of these tests in place of an environment of the loader's own: it has onnxruntime too."""
    return Path(sys.executable)


def answers(scores=((0.1, 0.9), (0.6, 0.4)), tokens=((1, 2), (1, 3)), labels=("no", "yes")):
    return Answers(tuple(tokens), np.array(scores, dtype=np.float64), labels)


def test_the_lines_of_the_page_are_those_that_are_run():
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    section = page.partition("## Loaders\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```(python|js)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert blocks == [(loader.language, loader.lines) for loader in roster.LOADERS]
    example = (ROOT / "examples" / "browser" / "index.html").read_text(encoding="utf-8")
    for line in roster.BROWSER.lines.splitlines()[:-1]:
        assert line in example


def test_environments_are_pinned_and_named_by_what_they_hold():
    for loader in roster.LOADERS:
        if loader.requirements:
            pins = environments.pins_of(environments.requirements_of(loader.requirements))
            assert {name.lower() for name in loader.packages} <= pins.keys(), loader.name
    lock = json.loads((ROOT / "examples" / "browser" / "package-lock.json").read_text(encoding="utf-8"))
    for loader in (roster.NODE, roster.BROWSER):
        assert all(f"node_modules/{name}" in lock["packages"] for name in loader.packages)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (answers(), (1.0, 1.0, 0.0, True)),
        (answers(scores=((0.1009, 0.8991), (0.6, 0.4))), (1.0, 1.0, 0.0009, True)),
        (answers(scores=((0.102, 0.898), (0.6, 0.4))), (1.0, 1.0, 0.002, False)),
        (answers(scores=((0.1, 0.9), (0.4, 0.6))), (1.0, 0.5, 0.2, False)),
        (answers(tokens=((1, 2), (1, 3, 0))), (0.5, 1.0, 0.0, False)),
        (answers(labels=("LABEL_0", "LABEL_1")), (0.0, 0.0, None, False)),
        (answers(scores=((0.1, 0.9),), tokens=((1, 2),)), (0.0, 0.0, None, False)),
        (answers(scores=((0.1, np.nan), (0.6, 0.4))), (0.0, 0.0, None, False)),
    ],
)
def test_answers_are_compared_text_by_text(found, expected):
    agreement = comparing.compare(found, answers())
    tokens, labels, difference, whole = expected
    assert (agreement.texts, agreement.tokens, agreement.labels, agreement.whole) == (2, tokens, labels, whole)
    assert agreement.difference == (None if difference is None else pytest.approx(difference))


def test_vectors_are_compared_by_the_nearest_other_one():
    vectors = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    assert comparing.nearest(np.array(vectors)).tolist() == [1, 0, 1]
    tokens = ((1,), (2,), (3,))
    expected = Answers(tokens, np.array(vectors))
    assert comparing.compare(Answers(tokens, np.array(vectors)), expected).whole
    turned = comparing.compare(Answers(tokens, np.array([[0.0, 1.0], [0.8, 0.6], [1.0, 0.0]])), expected)
    assert (turned.labels, turned.difference, turned.whole) == (pytest.approx(2 / 3), 1.0, False)


def test_a_loader_answers_with_the_lines_of_the_page(tiny_bundle):
    found = asking.ask(roster.ONNXRUNTIME, tiny_bundle, TEXTS, here)
    expected = comparing.ours(tiny_bundle, TEXTS)
    assert found.labels == tuple(sorted(lilliput.load(tiny_bundle).labels))
    assert found.versions.keys() == {"onnxruntime", "tokenizers", "numpy"}
    assert comparing.compare(found, expected).whole


@pytest.fixture
def without_environments(monkeypatch):
    ask = asking.ask
    monkeypatch.setattr(asking, "ask", lambda loader, bundle, texts: ask(loader, bundle, texts, here))
    monkeypatch.setattr(measure, "MADE", ("", "it"))


def changed(lines):
    return replace(roster.ONNXRUNTIME, lines=roster.ONNXRUNTIME.lines + lines)


@pytest.mark.usefixtures("without_environments")
def test_a_loader_that_answers_otherwise_is_not_ok(tiny_bundle):
    row = measure.tried(roster.ONNXRUNTIME, tiny_bundle, TEXTS)
    assert row["ok"]
    assert "reason" not in row
    assert (row["texts"]["texts"], row["made"]["texts"], row["texts"]["labels"]) == (3, 2, 1.0)

    row = measure.tried(changed("\n\nright = logits\nlogits = lambda text: -right(text)\n"), tiny_bundle, TEXTS)
    assert (row["ok"], row["reason"]) == (False, "other labels in 100.0% of the texts")
    assert (row["texts"]["tokens"], row["texts"]["labels"]) == (1.0, 0.0)
    row = measure.tried(changed("\n\ntokenizer.enable_padding(length=24)\n"), tiny_bundle, TEXTS)
    assert (row["ok"], row["reason"]) == (False, "other tokens in 100.0% of the texts")
    row = measure.tried(changed("\n\nright = logits\nlogits = lambda text: 1.1 * right(text)\n"), tiny_bundle, TEXTS)
    assert not row["ok"]
    assert row["reason"].startswith("scores that differ by up to 0.")
    row = measure.tried(changed("\n\nlogits = lambda text: [float('nan')] * 3\n"), tiny_bundle, TEXTS)
    assert (row["ok"], row["reason"]) == (False, "other labels, or scores that are no numbers")


@pytest.mark.usefixtures("without_environments")
def test_a_loader_that_fails_says_why(tiny_bundle):
    row = measure.tried(changed("\n\nraise TypeError('no such graph')\n"), tiny_bundle, TEXTS)
    assert row == {"ok": False, "reason": "failed: TypeError: no such graph"}
    row = measure.tried(changed("\n\nimport sys\nsys.exit(0)\n"), tiny_bundle, TEXTS)
    assert not row["ok"]
    assert row["reason"].startswith("failed: it wrote no answers")


def test_an_environment_that_cannot_be_made_is_told(monkeypatch, tiny_bundle):
    def refuse(name):
        raise FetchError(f"the environment {name!r} can't be made: No matching distribution")

    ask = asking.ask
    monkeypatch.setattr(asking, "ask", lambda loader, bundle, texts: ask(loader, bundle, texts, refuse))
    row = measure.tried(roster.OPTIMUM, tiny_bundle, TEXTS)
    reason = "can't be installed: the environment 'optimum' can't be made: No matching distribution"
    assert row == {"ok": False, "reason": reason}


def test_answers_that_cannot_be_read_are_refused():
    whole = {"tokens": [[1], [2]], "scores": [{"no": 0.1, "yes": 0.9}, {"yes": 0.5, "no": 0.5}]}
    assert asking.read(whole).values.tolist() == [[0.1, 0.9], [0.5, 0.5]]
    for damage in ({"tokens": [["a"]]}, {"scores": [{"no": "much"}]}, {"scores": []}, {"scores": [1]}):
        with pytest.raises(LilliputError, match="can't be read"):
            asking.read(whole | damage)
    with pytest.raises(LilliputError, match="not every text"):
        asking.read(whole | {"scores": [{"no": 0.1, "yes": 0.9}, {"no": 0.5}]})


AGREES = {"ok": True, "texts": {"texts": 200, "tokens": 1.0, "labels": 1.0, "difference": 1e-7}, "versions": {"a": "1"}}


def test_every_loader_counts_even_one_that_was_not_tried():
    rows = {loader.name: dict(AGREES) for loader in roster.LOADERS}
    rows["optimum-onnx"] = {"ok": False, "reason": "can't be installed: no | network"}
    rows[roster.BROWSER.name] = {**AGREES, "ok": False, "reason": "other", "texts": {**AGREES["texts"], "labels": 0.99}}
    ok, share = measure.figures_of(rows)
    assert (ok.id, ok.value, ok.unit, ok.n) == ("export.loaders_ok", 4.0, "of 6", 6)
    assert (share.id, share.value, share.n) == ("export.browser_label_match", 0.99, 200)
    lines = measure.table(rows).splitlines()
    assert lines[2] == "| optimum-onnx | no: can't be installed: no \\| network |  |  |  |  |"
    assert lines[3] == "| onnxruntime | yes | 100.0% | 100.0% | 1.0e-07 | a 1 |"
    rows[roster.BROWSER.name] = {"ok": False, "reason": "can't be installed: no browser"}
    assert measure.figures_of(rows)[1].value is None


def test_the_command_writes_piece_and_page(monkeypatch, tiny_bundle, tmp_path):
    texts = [f"text {number}" for number in range(300)]
    split = SimpleNamespace(texts=texts)
    monkeypatch.setattr(measure.sources, "load", lambda config: SimpleNamespace(test=split, validation=split))
    monkeypatch.setattr(measure.embedding, "bundle_like", lambda bundle, texts, out: out)
    asked = []
    monkeypatch.setattr(measure, "tried", lambda *given: asked.append(given) or dict(AGREES))
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n<!-- table: loaders -->\n<!-- /table -->\n", encoding="utf-8")
    words = ["--bundle", tiny_bundle, "--out", tmp_path / "loaders.json", "--page", page]
    import typer

    app = typer.Typer()
    app.command()(measure.main)
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert [loader for loader, *_ in asked] == list(roster.LOADERS)
    assert all(given == texts[:200] for *_, given in asked)
    assert {bundle for _, bundle, _ in asked if bundle.name == "vectors"}
    piece = json.loads((tmp_path / "loaders.json").read_text())
    assert [figure["value"] for figure in piece["figures"]] == [6.0, 1.0]
    assert piece["loaders"].keys() == {loader.name for loader in roster.LOADERS}
    assert "| transformers.js in Node | yes |" in page.read_text(encoding="utf-8")


@pytest.fixture
def pinned(tmp_path):
    folder = tmp_path / "example"
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        (folder / name).write_text('{"packages": {"": {}, "node_modules/a": {}}}')
    return folder


def test_npm_that_fails_says_why_and_is_asked_again(monkeypatch, pinned, tmp_path):
    monkeypatch.setattr(npm.shutil, "which", lambda name: None)
    with pytest.raises(FetchError, match=r"npm is not installed.*Node"):
        npm.modules(pinned, tmp_path / "cache")
    monkeypatch.setattr(npm.shutil, "which", lambda name: "/usr/bin/npm")
    done = [(1, "npm warn old\nnpm error code ENOTFOUND\nnpm error network\n"), (0, "")]
    monkeypatch.setattr(
        npm.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, done[0][0], "", done[0][1])
    )
    with pytest.raises(FetchError, match=r"can't install what .*package-lock.json pins: code ENOTFOUND"):
        npm.modules(pinned, tmp_path / "cache")
    del done[0]
    found = npm.modules(pinned, tmp_path / "cache")
    assert json.loads((found.parent / npm.COMPLETE).read_text()) == {"packages": 1}
    monkeypatch.setattr(npm, "_install", lambda *_: pytest.fail("made again"))
    assert npm.modules(pinned, tmp_path / "cache") == found
    (pinned / "package.json").write_text("{}")
    monkeypatch.setattr(npm, "_install", lambda *_: None)
    assert npm.modules(pinned, tmp_path / "cache") != found


def test_a_page_is_served_with_its_modules_and_a_bundle_and_nothing_else(tmp_path):
    for name in ("page/index.html", "modules/a/b.mjs", "bundle/onnx/model.onnx", "secret"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    folders = (tmp_path / "page", tmp_path / "modules", tmp_path / "bundle")
    with browsing.served(*folders, {"texts": ["a"]}) as server:

        def get(path):
            with urllib.request.urlopen(f"{server.address}/{path}", timeout=10) as reply:
                assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
                return reply.headers["Content-Type"], reply.read().decode()

        assert get("index.html?dtype=fp32") == ("text/html", "page/index.html")
        assert get("node_modules/a/b.mjs") == ("text/javascript", "modules/a/b.mjs")
        assert get("bundle/onnx/model.onnx")[1] == "bundle/onnx/model.onnx"
        assert "requestSubmit" in get("drive.html")[1]
        assert json.loads(get("spec.json")[1]) == {"texts": ["a"]}
        for path in ("../secret", "bundle/../../secret", "bundle/none", "%2e%2e/secret"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(path)
        assert not server.done.is_set()
        urllib.request.urlopen(f"{server.address}/answers", data=b'{"scores": []}', timeout=10).close()
        assert server.done.wait(10)
        assert server.answers == {"scores": []}


def test_a_machine_without_a_browser_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(browsing.shutil, "which", lambda name: None)
    with pytest.raises(FetchError, match="no browser is installed: chromium"):
        browsing.ask(tmp_path, tmp_path, tmp_path, [])
