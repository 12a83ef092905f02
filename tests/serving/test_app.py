"""The JSON API: answers, limits, what is wrong, what is counted."""

import json
import time

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import lilliput
from lilliput.serving import Limits, app


@pytest.fixture(scope="module")
def model(tiny_bundle):
    return lilliput.load(tiny_bundle)


@pytest.fixture
def client(model):
    with TestClient(app(model, Limits(texts=3, characters=50)), raise_server_exceptions=False) as client:
        yield client


def test_answers_are_those_of_the_model(client, model):
    def ask(inputs, **options):
        reply = client.post("/predict", json={"inputs": inputs, "options": options})
        assert reply.status_code == 200, reply.text
        assert reply.json()["model"] == "tiny"
        return reply.json()["answers"]

    assert ask("a joy") == model(["a joy"])[0]
    assert ask(["bad", {"text": "good"}, {"text": "it", "text_pair": "bad"}]) == model(
        ["bad", "good", {"text": "it", "text_pair": "bad"}]
    )
    assert ask(["bad"], top_k=None) == model(["bad"], top_k=None)
    assert client.post("/predict", content=b'{"inputs": "bad"}').json()["answers"] == model(["bad"])[0]  # no type said


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"nonsense", 400, "not JSON"),
        (b'{"inputs": "\xff"}', 400, "not UTF-8"),
        (b"[" * 2000, 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b"{}", 422, "Field required"),
        (b'{"inputs": []}', 422, "at least 1"),
        (b'{"inputs": ["a", "b", "c", "d"]}', 422, "at most 3"),
        (json.dumps({"inputs": "a" * 51}).encode(), 422, "at most 50 characters"),
        (b'{"inputs": [1]}', 422, "valid string"),
        (b'{"inputs": {"film": "a"}}', 422, "Extra inputs"),
        (b'{"inputs": "a", "more": 1}', 422, "an object of inputs and"),
        (b'["a"]', 422, "an object of inputs and"),
        (b'{"inputs": [["a"]]}', 422, "each is a string"),
        (b'{"inputs": {"a": 1, "b": 2, "c": 3}}', 422, "at most 2 strings"),
        (b'{"inputs": "a", "options": {"tokenizer": 1}}', 422, "tokenizer: not an option of classification"),
        (b'{"inputs": "a", "options": {"self": 1}}', 422, "self: not an option of classification"),
        (b'{"inputs": "a", "options": {"\\ud800": 1}}', 422, "options: each has a name"),
        (b'{"inputs": "a", "options": {"top_k": {"a": 1}}}', 422, "options: each has a name"),
        (b'{"inputs": "a", "options": {"top_k": [[1]]}}', 422, "options: each has a name"),
        (b'{"inputs": "a", "options": [1]}', 422, "options: must be an object"),
        (b'{"inputs": "a", "options": {"top_k": 0}}', 422, "top_k: expected a whole number"),
        (b'{"inputs": "a", "options": {"top": 1}}', 422, ""),
        (b'{"inputs": "\\ud800"}', 422, ""),
        (json.dumps({"inputs": "a" * 5000}).encode(), 413, "at most"),
    ],
)
def test_what_is_wrong_is_said_and_is_no_fault_of_the_server(client, body, status, message):
    reply = client.post("/predict", content=body)
    assert reply.status_code == status, reply.text
    assert message in reply.text
    assert client.post("/predict", json={"inputs": "a"}).status_code == 200


def test_a_body_without_an_end_is_not_read_to_it(client):
    sent = []

    def endless():
        for _ in range(10_000):
            sent.append(1)
            yield b" " * 1000

    assert client.post("/predict", content=endless()).status_code == 413


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": [dict.fromkeys(map(str, range(11_000)), 1)] * 60},
        {"inputs": "a", "options": dict.fromkeys(map(str, range(400_000)), 1)},
        {"inputs": "a", **dict.fromkeys(map(str, range(400_000)), 1)},
        {"inputs": [1] * 1_000_000},
        {"inputs": "a", "options": {"top_k": [[]] * 1_000_000}},
    ],
    ids=["inputs", "options", "keys", "list", "value"],
)
def test_a_body_of_very_many_parts_is_refused_in_no_time(model, content):
    with TestClient(app(model, Limits()), raise_server_exceptions=False) as client:
        body = json.dumps(content).encode()
        start = time.perf_counter()
        reply = client.post("/predict", content=body)
        assert reply.status_code == 422
        assert len(reply.content) < 1000
        assert time.perf_counter() - start < 5  # describing all of it takes minutes


def test_facts_health_and_metrics(client, model):
    facts = client.get("/model").json()
    assert (facts["name"], facts["task"], facts["labels"]) == ("tiny", "classification", list(model.labels))
    assert facts["limits"] == {"texts": 3, "characters": 50, "timeout": 5.0}
    assert client.get("/health/live").json() == {"status": "alive"}
    assert client.get("/health/ready").json() == {"status": "ready"}
    for inputs in ("a", ["b", "c"], 5):
        client.post("/predict", json={"inputs": inputs})
    numbers = client.get("/metrics").text
    assert 'lilliput_requests_total{status="200"} 2.0' in numbers
    assert 'lilliput_requests_total{status="422"} 1.0' in numbers
    assert "lilliput_texts_total 3.0" in numbers
    assert "lilliput_request_seconds_count 2.0" in numbers
    assert "lilliput_texts_waiting 0.0" in numbers
    assert 'lilliput_model{name="tiny",precision="int8",task="classification"} 1.0' in numbers


def test_the_api_describes_itself(client):
    described = client.get("/openapi.json").json()
    assert described["openapi"].startswith("3.")
    assert {"413", "422", "429", "503", "504"} <= described["paths"]["/predict"]["post"]["responses"].keys()
    assert set(described["components"]["schemas"]["Input"]["properties"]) == {"text", "text_pair"}


def test_a_full_server_refuses_with_when_to_come_again(client, monkeypatch):
    desk = client.app.state.desk
    monkeypatch.setattr(desk, "waiting", 1000)
    reply = client.post("/predict", json={"inputs": "a"})
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) >= 1


def test_who_is_sent_away_is_not_read(client, monkeypatch):
    """A body that is no JSON gets 400 from a server that reads it, and 429 from one that is full."""
    assert client.post("/predict", content=b"{").status_code == 400
    monkeypatch.setattr(client.app.state.desk, "waiting", 1000)
    assert client.post("/predict", content=b"{").status_code == 429
    assert client.get("/model").status_code == 200
    assert 'lilliput_requests_total{status="429"} 1.0' in client.get("/metrics").text


def test_a_server_that_stops_says_so(client):
    client.app.state.desk.closed = True
    assert client.post("/predict", json={"inputs": "a"}).status_code == 503
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200


def test_it_can_be_mounted_in_another_app(model):
    mine = FastAPI()
    mine.mount("/sentiment", app(model))
    with TestClient(mine) as client:
        assert client.post("/sentiment/predict", json={"inputs": "a joy"}).json()["answers"] == model(["a joy"])[0]


def test_the_page_asks_nobody_else(client):
    page = client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("http-equiv", "")
    assert "innerHTML" not in page.text


def test_the_example(tiny_bundle, model, monkeypatch):
    import importlib.util
    from pathlib import Path

    monkeypatch.setenv("BUNDLE", str(tiny_bundle))
    path = Path(__file__).parents[2] / "examples" / "fastapi_app.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60
    spec = importlib.util.spec_from_file_location("fastapi_app", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with TestClient(example.app) as client:
        reply = client.post("/reviews", json={"title": "good", "text": "a joy"}).json()
        assert reply["label"] == model(["good. a joy"])[0]["label"]
        assert client.post("/sentiment/predict", json={"inputs": "bad"}).json()["answers"] == model(["bad"])[0]
    assert mounted_is_closed(example)


def mounted_is_closed(example):
    return example.mounted.state.desk.closed
