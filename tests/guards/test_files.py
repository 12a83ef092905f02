"""Configurations that name code, and files that are not what they are called."""

import json
from pathlib import Path

import pytest

from lilliput.errors import IntegrityError
from lilliput.guards import strict_json
from lilliput.guards.files import check


def checked(name, content):
    check(name, content if isinstance(content, bytes) else json.dumps(content).encode(), Path(name))


def test_honest_files(tiny_bundle):
    for name in ("config.json", "tokenizer_config.json", "vocab.txt", "model.safetensors"):
        check(name, (tiny_bundle / name).read_bytes(), tiny_bundle / name)
    checked("modules.json", [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}])
    checked("config.json", {"auto_map": {}, "trust_remote_code": False, "text": "auto_map"})


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", {"auto_map": {"AutoModel": "a.B"}}, "'auto_map' names code"),
        ("config.json", {"a": [{"b": {"auto_map": "a.B"}}]}, "'auto_map' names code"),
        ("config.json", {"custom_pipelines": {"a": {}}}, "'custom_pipelines' names code"),
        ("modules.json", [{"type": "os.system"}], "a module of type 'os.system'"),
        ("modules.json", [{}], "a module of type 'None'|a module of type None"),
        ("config.json", b"{'a': 1}", "not what its name says"),
        ("config.json", b'{"a": 1, "a": 2}', "a key appears twice"),
        ("config.json", b"[" * 100_000, "nested too deeply"),
        ("vocab.txt", b"\xff", "not what its name says"),
        ("model.safetensors", b"\x80\x04.", "no safetensors file"),
    ],
)
def test_hostile_files(name, content, words):
    with pytest.raises(IntegrityError, match=rf"^{name}: .*({words})"):
        checked(name, content)


def test_objects_are_counted_before_they_are_made(monkeypatch):
    monkeypatch.setattr(strict_json, "PARTS", 3)
    assert strict_json.parse(b"[[], {}]") == [[], {}]
    with pytest.raises(ValueError, match="more than 3"):
        strict_json.parse(b"[[], {}, {}]")
