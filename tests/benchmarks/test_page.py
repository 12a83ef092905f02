"""The report page: whole in one file, no request to anywhere, safe with hostile names, drawn in a real browser."""

import base64
import hashlib
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
    assert len(code) == 2


def test_plotly_is_there_once(html: str) -> None:
    assert html.count("* plotly.js v") == 1


def test_every_chart_has_a_place_a_heading_and_a_description(html: str) -> None:
    parsed = Page(html)
    (charts,) = [json.loads(text) for attributes, text in parsed.scripts if attributes.get("id") == "charts"]
    assert [chart["id"] for chart in charts] == ["frontier", "sizes", "latencies", "speedups"]
    images = {
        attributes["id"]: attributes["aria-label"]
        for attributes in parsed.all("div")
        if attributes.get("role") == "img"
    }
    assert set(images) == {chart["id"] for chart in charts}
    assert "student-l2 int8: 85.8% (84.2 to 87.3) at 1.00 ms" in (images["frontier"] or "")
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
    names = {"student-l2 int8": HOSTILE, "teacher fp32": "<b>teacher</b>"}
    made = specimen(rename=names, title=HOSTILE)
    made["data"]["report"]["notes"] = [HOSTILE]
    made["recipe"]["commands"] = [HOSTILE]
    made["recipe"]["config"] = {HOSTILE: {HOSTILE: HOSTILE}}
    made["machine"]["cpu"] = HOSTILE
    html = page.render(made)
    parsed = Page(html)
    assert len(parsed.scripts) == 3
    assert not parsed.all("img")
    assert not parsed.all("b")
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", html, re.DOTALL)[0]
    (data,) = [text for attributes, text in parsed.scripts if attributes.get("id") == "charts"]
    assert "<" not in data
    # plotly reads HTML in its texts, so it gets entities.
    assert "&lt;b>teacher" in json.dumps(json.loads(data)) or "&lt;b&gt;teacher" in json.dumps(json.loads(data))


def test_a_report_of_one_plain_model_is_a_page(specimen: Specimen) -> None:
    made = specimen(targets=(), gates=())
    made["models"] = [row for row in made["models"] if row["role"] == "floor"]
    made["data"]["report"] = None
    for key in [key for key in made["models"][0] if key.startswith("speedup")]:
        made["models"][0][key] = None
    report.validate(made)
    assert "TF-IDF + logistic regression is the fastest model measured" in page.render(made)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome is installed")
@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_draws_every_chart_without_the_network(specimen: Specimen, tmp_path: Path, width: int) -> None:
    names = {"student-l2 int8": HOSTILE}
    _, file = report.write_report(specimen(rename=names), tmp_path / "report")
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER,
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *("--enable-logging=stderr", "--v=0", f"--user-data-dir={tmp_path / 'profile'}"),
            *(f"--window-size={width},2000", "--virtual-time-budget=10000", "--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count('class="main-svg"') >= 4
    assert "Content Security Policy" not in done.stderr
    assert "Uncaught" not in done.stderr
    drawn = Page(done.stdout)
    assert not drawn.all("img")
    assert 'class="plotly-notifier"' not in done.stdout
