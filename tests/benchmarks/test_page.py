"""The report page: whole in one file, no request to anywhere, safe with hostile names, drawn in a real browser."""

import base64
import hashlib
import html as html_module
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lilliput.benchmarks import page, report

Specimen = Callable[..., dict[str, Any]]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7*7 }}'


class Page(HTMLParser):
    """Elements with their attributes, the visible text, and the contents of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and not self.scripts[-1][1]:
            self.scripts[-1] = (self.scripts[-1][0], data)
        elif self.elements and self.elements[-1][0] != "style":
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(specimen: Specimen) -> str:
    return page.render(specimen())


def test_nothing_is_loaded_from_anywhere(html: str) -> None:
    parsed = Page(html)
    for tag, attributes in parsed.elements:
        assert "src" not in attributes, tag
        if tag == "link":
            assert (attributes["href"] or "").startswith("data:")
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_the_policy_forbids_all_requests_and_allows_exactly_the_scripts(html: str) -> None:
    parsed = Page(html)
    (policy,) = [meta["content"] for meta in parsed.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    code = [text for attributes, text in parsed.scripts if attributes.get("type") != "application/json"]
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in code}
    assert hashes == set(re.findall(r"'sha256-[^']+'", policy))
    assert len(code) == 1


def test_the_page_is_small(html: str) -> None:
    assert len(html.encode()) < 1_000_000


def data_in(parsed: Page) -> dict[str, Any]:
    (data,) = [json.loads(text) for attributes, text in parsed.scripts if attributes.get("id") == "page-data"]
    return data


def test_every_picture_has_a_place_a_heading_and_a_description(html: str) -> None:
    parsed = Page(html)
    images = {
        attributes["id"]: attributes["aria-label"]
        for attributes in parsed.all("div")
        if attributes.get("role") == "img"
    }
    assert set(images) == {"latencies", "speedups", "sizes"}
    assert all(images.values())
    data = data_in(parsed)
    assert "student-l2 int8: 85.8% (84.2 to 87.3) at 1.00 ms" in data["description"]
    assert data["models"][data["best"]]["name"] == "student-l2 int8"
    assert data["models"][data["teacher"]]["name"] == "teacher fp32"
    labelled = {attributes["aria-labelledby"] for attributes in parsed.all("section")}
    headings = {attributes["id"] for attributes in parsed.all("h2")}
    assert labelled == headings


def test_the_page_says_what_was_found(html: str) -> None:
    text = " ".join(" ".join(Page(html).text).split())
    assert "student-l2 int8 answers a text in 1.00 ms: 4.0× the speed of its teacher on plain ONNX Runtime int8" in text
    assert "It keeps 97.5% of the teacher's accuracy" in text
    assert "3,000 read = 2,900 used + 100 duplicate" in text
    assert "lilliput demo --out runs/demo" in text
    assert "demo.l3_retained" in text
    assert "Smoke run" not in text
    assert "Noisy machine" not in text


def test_a_smoke_run_says_so_at_the_top_and_in_the_title(specimen: Specimen) -> None:
    html = page.render(specimen(smoke=True))
    assert "<title>Smoke run: Sentiment of films</title>" in html
    assert html.index('<div class="smoke"') < html.index("<h1>")
    assert ".smoke { display: table-header-group;" in html  # repeated on every printed page


def test_a_noisy_machine_is_said(specimen: Specimen) -> None:
    assert "Noisy machine" in page.render(specimen(spread=0.4))


def test_what_is_not_measured_is_said(specimen: Specimen) -> None:
    made = specimen()
    for row in made["models"]:
        row["bytes"] = row["peak_rss_mb"] = row["all_threads"] = None
    html = page.render(made)
    assert "teacher fp32: size (it has no files), speed on all cores, memory." in html
    assert 'id="sizes"' not in html


def test_hostile_names_are_text(specimen: Specimen) -> None:
    names = {"student-l2 int8": HOSTILE, "teacher fp32": "<h6>teacher</h6>"}
    made = specimen(rename=names, title=HOSTILE)
    fill(made, HOSTILE)
    made["data"]["report"]["notes"] = [HOSTILE]
    made["recipe"]["commands"] = [HOSTILE]
    made["recipe"]["config"] = {HOSTILE: {HOSTILE: HOSTILE}}
    report.validate(made)
    made["machine"]["cpu"] = HOSTILE
    html = page.render(made)
    parsed = Page(html)
    assert len(parsed.scripts) == 2
    assert not parsed.all("img")
    assert all("onerror" not in attributes for _, attributes in parsed.elements)
    assert not parsed.all("h6")
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", html, re.DOTALL)[0]
    (data,) = [text for attributes, text in parsed.scripts if attributes.get("id") == "page-data"]
    assert "<" not in data
    assert HOSTILE in [model["name"] for model in json.loads(data)["models"]]


def test_a_report_of_one_plain_model_is_a_page(specimen: Specimen) -> None:
    made = specimen(targets=(), gates=())
    made["models"] = [row for row in made["models"] if row["role"] == "floor"]
    made["data"]["report"] = None
    for key in [key for key in made["models"][0] if key.startswith("speedup")]:
        made["models"][0][key] = None
    report.validate(made)
    assert "TF-IDF + logistic regression is the fastest model measured" in page.render(made)


def fill(made: dict[str, Any], word: str) -> dict[str, Any]:
    """Give every model all that a page can show, with a word of the caller's for every name."""
    blocks = [{"heads": 3, "ffn": 40}, {"heads": 0, "ffn": 16}]
    for row in made["models"]:
        row["structure"] = {"kind": word, "hidden": 8, "vocabulary": 99, "head_size": 2, "layers": 2, "blocks": blocks}
        row["reliability"] = [{"n": 2000, "confidence": 0.9, "accuracy": 0.88}]
        row["slices"] = [{"by": word, "value": word, "n": 50, "score": 0.5, "ci": [0.4, 0.6], "below": 0.4}]
        layer = {"layer": word, "weights": 9, "sqnr_db": 20.0, "flips": 0.1}
        broken = {"layer": "other", "weights": 9, "sqnr_db": None, "flips": 1.0}
        row["sensitivity"] = {"layers": 2, "kept": ["other"], "ranking": [broken, layer]}
        row["made"] = [f"lilliput distill {word}"]
    first, *others = [row["name"] for row in made["models"]]
    cell = {"length": 8, "batch": 1, "ms": 1.0, "per_s": 1000.0, "calls": 3}
    found = {
        "sweep": {"how": word, "limit": None, "cells": [cell]},
        "memory": {"loaded_bytes": 10**8, "single_bytes": 2 * 10**8, "list_bytes": None},
        "energy": {"not_measured": word},
    }
    made["scenarios"] = {
        name: {"settings": {}, "models": {first: one, **{other: {"not_measured": word} for other in others}}}
        for name, one in found.items()
    }
    return made


def test_everything_that_is_known_of_a_model_is_shown(specimen: Specimen) -> None:
    made = fill(specimen(), "a-word")
    report.validate(made)
    html = page.render(made)
    text = " ".join(" ".join(Page(html).text).split())
    assert "2 blocks, 3 heads, 1 M parameters, width 8, 99 tokens" in text
    assert html.count('class="gone"') == 3 * len({row["model"] for row in made["models"]} - {"teacher plain"})
    assert "20.0 dB, 10.0% flip" in text
    assert "not finite, 100.0% flip" in text
    assert "ECE" in text
    assert "8 1.00 1,000/s" in text  # a cell of the sweep
    assert "not measured: a-word" in text
    assert "Scenario energy: a-word." in text
    labelled = {attributes["aria-labelledby"] for attributes in Page(html).all("section")}
    assert {
        "shapes-title",
        "calibration-title",
        "slices-title",
        "sensitivity-title",
        "scenario-sweep-title",
    } <= labelled


def test_older_reports_without_details_are_pages(specimen: Specimen) -> None:
    made = specimen()
    del made["scenarios"]
    for row in made["models"]:
        for key in ("hits", "reliability", "slices", "structure", "sensitivity", "made"):
            del row[key]
    report.validate(made)
    html = page.render(made)
    assert "shapes-title" not in html
    assert "student-l2 int8" in html


ACTIONS = """
const seen = {};
const byId = (id) => document.getElementById(id);
const points = () => [...document.querySelectorAll("#frontier .point")];
const named = (point) => point.getAttribute("aria-label").split(": ")[0];
seen.all = points().map(named);
seen.svg = document.querySelectorAll("#frontier svg").length;
seen.meets = byId("meets").textContent;
seen.detail = byId("detail").textContent;
const point = points().find((p) => named(p) === "student-l3 int8");
point.dispatchEvent(new PointerEvent("pointerenter"));
seen.tip = document.querySelector("#frontier .tip").textContent;
point.dispatchEvent(new PointerEvent("pointerleave"));
seen.tips = document.querySelectorAll("#frontier .tip").length;
point.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
seen.chosen = byId("detail").querySelector("h3").textContent;
seen.commands = [...byId("detail").querySelectorAll("pre")].map((p) => p.textContent);
const set = (id, value) => { byId(id).value = value; byId(id).dispatchEvent(new Event("input")); };
set("target-keep", "98.5");
seen.stricter = byId("meets").textContent;
set("target-most", "0.1");
seen.none = byId("meets").textContent;
const chips = () => [...document.querySelectorAll(".chip")];
const chip = (word) => chips().find((c) => c.textContent.trim().endsWith(word)).querySelector("input");
chip("fp32").click();
seen.filtered = points().map(named);
seen.rows = [...document.querySelectorAll("tr[data-model]")].filter((row) => !row.hidden).length;
byId("axis").value = "bytes"; byId("axis").dispatchEvent(new Event("change"));
byId("log").click();
seen.size = document.querySelector("#frontier svg").textContent.includes("files that loading opens, MB");
chip("int8").click(); chip("fp64").click();
seen.empty = document.querySelector("#frontier svg").textContent;
seen.overflow = document.documentElement.scrollWidth - window.innerWidth;
seen.images = document.images.length;
const out = document.createElement("pre");
out.id = "seen";
out.textContent = JSON.stringify(seen);
document.body.append(out);
"""


def browse(html: str, folder: Path, width: int, script: str = "") -> tuple[str, str]:
    """The document after its scripts, and the browser's log; ``script`` runs after the page's own, with leave of the
    policy."""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        html = html.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
        html = html.replace("</body>", f"<script>{script}</script></body>")
    file = folder / "page.html"
    file.write_text(html, encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *("--enable-logging=stderr", "--v=0", f"--user-data-dir={folder / 'profile'}"),
            *(f"--window-size={width},2000", "--virtual-time-budget=5000", "--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
@pytest.mark.parametrize("width", [1280, 500])
def test_the_frontier_answers_in_a_browser_without_the_network(specimen: Specimen, tmp_path: Path, width: int) -> None:
    made = fill(specimen(), "word")
    dom, log = browse(page.render(made), tmp_path, width, ACTIONS)
    assert "Content Security Policy" not in log
    assert "Uncaught" not in log
    seen = json.loads(html_module.unescape(dom.split('<pre id="seen">')[1].split("</pre>")[0]))
    every = [row["name"] for row in made["models"]]
    # The floor lies so far below that it is named at the edge.
    assert sorted(seen["all"]) == sorted(every[:-1])
    assert seen["meets"] == "The fastest that keeps 97% of the teacher: student-l2 int8, 1 ms."
    assert "student-l2 int8" in seen["detail"]
    assert seen["tip"].startswith("student-l3 int8")
    assert "2.5 times plain int8's speed" in seen["tip"]
    assert (seen["svg"], seen["tips"], seen["images"]) == (1, 0, 0)
    assert seen["chosen"] == "student-l3 int8"
    assert seen["commands"] == ["lilliput distill word", "lilliput demo"]
    assert seen["stricter"] == "The fastest that keeps 98.5% of the teacher: student-l3 int8, 1.6 ms."
    assert seen["none"] == "None of these keeps 98.5% of the teacher and answers in 0.1 ms."
    assert sorted(seen["filtered"]) == sorted(name for name in every[:-1] if name.endswith("int8"))
    assert seen["rows"] == len(seen["filtered"]) + 1
    assert seen["size"]
    assert "No model is selected." in seen["empty"]
    assert seen["overflow"] <= 0


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
def test_hostile_names_stay_text_in_a_browser(specimen: Specimen, tmp_path: Path) -> None:
    names = {"student-l2 int8": HOSTILE, "teacher int8": "<h6>teacher</h6>"}
    dom, log = browse(page.render(fill(specimen(rename=names, title=HOSTILE), HOSTILE)), tmp_path, 700)
    assert "Content Security Policy" not in log
    assert "Uncaught" not in log
    drawn = Page(dom)
    assert not drawn.all("img")
    assert not drawn.all("h6")
    assert all("onerror" not in attributes for _, attributes in drawn.elements)
    assert 'id="frontier"><svg' in dom
