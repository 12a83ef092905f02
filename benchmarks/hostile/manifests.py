"""Manifests of absurd fields, or that two parsers read in two ways."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from lilliput.benchmarks.hostile.forge import Case, Forge, canonical, signed
from lilliput.bundle import MANIFEST


def _field(forge: Forge, **changes: Any) -> None:
    forge.seal(**changes)


def _graph(forge: Forge, **changes: Any) -> None:
    """Another entry of the graph."""
    forge.content["graphs"]["fp32"] |= changes
    forge.seal()


def _size(forge: Forge, size: Any) -> None:
    forge.table["tokenizer.json"]["size"] = size
    forge.seal(rehash=False)


def _smoke(forge: Forge, **changes: Any) -> None:
    """Another first smoke prediction."""
    forge.content["smoke"][0] |= changes
    forge.seal()


def _raw(forge: Forge, change: Callable[[bytes], bytes]) -> None:
    """Other bytes of the same contents; the digest is that of the changed bytes without it, as near as can be."""
    forge.seal()
    path = forge.folder / MANIFEST
    rest = {name: value for name, value in forge.content.items() if name != "digest"}
    digest = hashlib.sha256(change(canonical(rest))).hexdigest().encode()
    old = hashlib.sha256(canonical(rest)).hexdigest().encode()
    path.write_bytes(change(path.read_bytes()).replace(old, digest))


def _depth(forge: Forge, depth: int) -> None:
    """A value so deep that few parsers get to its end."""
    forge.seal(recipe={"deep": "HERE"})
    deep = b"[" * depth + b"]" * depth
    path = forge.folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"HERE"', deep))


def _number(forge: Forge, number: bytes) -> None:
    """A number that is none, or that is read as another one."""
    forge.seal(recipe={"rate": "HERE"})
    _raw(forge, lambda raw: raw.replace(b'"HERE"', number))


def _large(forge: Forge) -> None:
    (forge.folder / MANIFEST).write_bytes(signed({**forge.content, "recipe": {"notes": "x" * (5 << 20)}}))


CASES = (
    Case("texts of 65,537 tokens", partial(_field, max_length=(1 << 16) + 1)),
    Case("texts of 10^30 tokens", partial(_field, max_length=10**30)),
    Case("texts of no tokens", partial(_field, max_length=0)),
    Case("a length that is a truth value", partial(_field, max_length=True)),
    Case("a negative size", partial(_size, size=-1)),
    Case("a size with a fraction", partial(_size, size=1.0)),
    Case("a size of 10^30 bytes", partial(_size, size=10**30)),
    Case("a smoke text of 3 MB", partial(_smoke, text="good " * 600_000)),
    Case("a smoke text with a lone surrogate", partial(_smoke, text="\ud800")),
    Case("a smoke prediction of no logits", partial(_smoke, logits=[])),
    Case("a smoke prediction of a list within a list", partial(_smoke, logits=[[0.0]])),
    Case("a smoke prediction of 10^400", partial(_smoke, logits=[10**400])),
    Case("a smoke prediction of a precision that is not there", partial(_smoke, precision="int8")),
    Case("thousands of smoke predictions", lambda f: f.seal(smoke=f.content["smoke"] * 2000)),
    Case("a hundred thousand labels", partial(_field, labels=[str(number) for number in range(100_000)])),
    Case("fewer labels than logits", partial(_field, labels=["negative", "positive"])),
    Case("two equal labels", partial(_field, labels=["good", "good", "bad"])),
    Case("labels that steer the terminal", partial(_field, labels=["\x1b[2J\x1b[31mgood", "bad", "ugly"])),
    Case("labels that set the terminal's title", partial(_field, labels=["good\x9d0;title\x9c", "bad", "ugly"])),
    Case("labels over several lines", partial(_field, labels=["good\nerror: disk full", "bad", "ugly"])),
    Case("labels with a script", partial(_field, labels=["<script>alert(1)</script>", "bad", "ugly"])),
    Case("labels with a picture that runs a script", partial(_field, labels=['<img onerror="x" src=x>', "b", "u"])),
    Case("labels that turn the line round", partial(_field, labels=["\u202edoog", "bad", "ugly"])),
    Case("a label of a megabyte", partial(_field, labels=["good" * 250_000, "bad", "ugly"])),
    Case("a name that steers the terminal", partial(_field, name="\x1b]0;harmed\x07victim")),
    Case("a task that is not known", partial(_field, task="\x1b[2Jtelepathy")),
    Case("a field of the manifest that is not known", partial(_field, hook="import os")),
    Case("an input that can't be fed", partial(_field, inputs=["input_ids", "attention_mask", "pixels"])),
    Case("settings that the task has not", partial(_field, settings={"threshold": 0.5})),
    Case("a seed of a thousand digits", partial(_field, seeds=[10**1000])),
    Case("parameters below zero", partial(_field, parameters=-1)),
    Case("a graph that is the tokenizer", partial(_graph, file="tokenizer.json")),
    Case("a graph that is not listed", partial(_graph, file="../canary/secret.txt")),
    Case("fewer operators than the graph has", partial(_graph, operators={"Gather": 1})),
    Case("operators that the graph has not", partial(_graph, operators={"Loop": 10**30})),
    Case("another opset than the graph has", partial(_graph, opset=17)),
    Case("optimizers to disable that are paths", partial(_graph, disabled_optimizers=["../../canary/secret.txt"])),
    Case(
        "a hundred thousand optimizers to disable", partial(_graph, disabled_optimizers=[f"a{n}" for n in range(10**5)])
    ),
    Case("a manifest of 5 MB", _large),
    Case("a value a thousand levels deep", partial(_depth, depth=1000)),
    Case("a value a million levels deep", partial(_depth, depth=1_000_000)),
    Case("a key twice", partial(_raw, change=lambda raw: raw.replace(b'{\n "arch', b'{\n "task": "x",\n "arch', 1))),
    Case("another order of the keys", partial(_raw, change=lambda raw: raw.replace(b"{\n", b"{\n\n", 1))),
    Case("a number that is none", partial(_number, number=b"NaN")),
    Case("a number too large for any", partial(_number, number=b"1e999")),
    Case("a number of five thousand digits", partial(_number, number=b"9" * 5000)),
    Case("a manifest in UTF-16", partial(_raw, change=lambda raw: raw.decode("ascii").encode("utf-16"))),
)
