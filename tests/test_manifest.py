"""Manifests that are malformed, and manifests that an enemy signed."""

import hashlib
import json
import time

import pytest

from lilliput.bundle import MANIFEST, Bundle
from lilliput.errors import BundleError, IntegrityError


def dump(content):
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode("ascii")


def sign(content):
    """The bytes of a manifest whose digest is right, whatever its contents."""
    content = {key: value for key, value in content.items() if key != "digest"}
    return dump({**content, "digest": hashlib.sha256(dump(content)).hexdigest()})


def contents(folder):
    return json.loads((folder / MANIFEST).read_text())


def test_the_file_is_canonical_and_signed(small_bundle):
    folder = small_bundle("one")
    raw = (folder / MANIFEST).read_bytes()
    assert raw == sign(contents(folder))
    assert list(folder.glob(".*")) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]\n",
        b"null\n",
        b"\xff\xfe",
        b"\xc3\xa9",
        b'{"a": NaN}',
        b'{"a": 1, "a": 1}',
        b"[" * 1_000_000,
        b'{"a":' * 500_000,
        b'{"a": ' + b"9" * 100_000 + b"}",
        sign({}).replace(b"digest", b"Digest"),
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_malformed_manifests(tmp_path, raw):
    (tmp_path / MANIFEST).write_bytes(raw)
    with pytest.raises(IntegrityError, match=r"lilliput\.json: changed or malformed"):
        Bundle.open(tmp_path)


def test_a_signed_constant_or_depth_is_refused_too(small_bundle):
    folder = small_bundle("one")
    whole = contents(folder)
    for value in (float("nan"), float("inf"), -float("inf")):
        (folder / MANIFEST).write_bytes(sign({**whole, "recipe": {"a": value}}))
        with pytest.raises(IntegrityError, match=MANIFEST):
            Bundle.open(folder)
    (folder / MANIFEST).write_bytes(b'{"recipe":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001)
    with pytest.raises(IntegrityError, match="nested too deeply"):
        Bundle.open(folder)


def test_a_huge_manifest_is_refused_unread(tmp_path):
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(1 << 40)
    start = time.perf_counter()
    with pytest.raises(IntegrityError, match="more than"):
        Bundle.open(tmp_path)
    assert time.perf_counter() - start < 1


HASH = "0" * 64


def file_table(name="a", sha256=HASH, size=1):
    return {"onnx/model.onnx": {"sha256": HASH, "size": 1}, name: {"sha256": sha256, "size": size}}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("format", value) for value in (3, "2", None, 2.5)),
        *(("name", value) for value in (None, 1, "\ud800")),
        *(("labels", value) for value in (["a", "a"], "ab", [1, 2], None)),
        *(("max_length", value) for value in (0, -1, True, 12.0, "12", 10**9, None)),
        *(("seeds", value) for value in ([1.0], [True], 1)),
        *(("versions", value) for value in ({"a": 1}, [])),
        *(("inputs", value) for value in ([None], "input_ids")),
        *(("graphs", value) for value in ({}, [], {"fp32": {}}, {"fp32": "onnx/model.onnx"})),
        ("graphs", {"fp32": {"file": "absent", "opset": 18, "operators": {}, "disabled_optimizers": []}}),
        ("graphs", {"fp32": {"file": "onnx/model.onnx", "opset": 18, "operators": {}, "disabled_optimizers": [1]}}),
        *(("smoke", value) for value in ({}, [1], [{"text": "a", "precision": "fp32", "logits": ["1"]}])),
        ("smoke", [{"text": "a", "precision": "int8", "logits": [1.0]}]),
        *(("files", value) for value in ({}, [], {"onnx/model.onnx": HASH})),
        *(
            ("files", file_table(name))
            for name in ("../a", "/etc/passwd", "a/../../b", "a\\b", "C:a", "a//b", "./a", "a/", "", "a\0b", MANIFEST)
        ),
        ("files", file_table(".git/config")),
        ("files", file_table("ONNX/model.onnx")),
        *(("files", file_table(size=size)) for size in (-1, 1.0, True, "1", None)),
        *(("files", file_table(sha256=digest)) for digest in ("F" * 64, "0" * 63, 0, None)),
    ],
)
def test_a_signed_manifest_is_checked_field_by_field(small_bundle, field, value):
    folder = small_bundle("one")
    (folder / MANIFEST).write_bytes(sign({**contents(folder), field: value}))
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    assert str(folder / MANIFEST) in str(caught.value)


def test_missing_and_unknown_fields(small_bundle):
    folder = small_bundle("one")
    whole = contents(folder)
    (folder / MANIFEST).write_bytes(sign({key: value for key, value in whole.items() if key != "task"}))
    with pytest.raises(BundleError, match="'task' is missing"):
        Bundle.open(folder)
    (folder / MANIFEST).write_bytes(sign({**whole, "hook": "x"}))
    with pytest.raises(BundleError, match="'hook' is not a known field"):
        Bundle.open(folder)


def test_another_format_says_what_to_install(small_bundle):
    folder = small_bundle("one")
    (folder / MANIFEST).write_bytes(sign({**contents(folder), "format": 7, "lilliput": "9.9"}))
    with pytest.raises(BundleError, match=r"format 7, written by Lilliput '9\.9'"):
        Bundle.open(folder)
