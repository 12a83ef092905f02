"""Attacks are refused, all of them; and the trial can tell a refusal from everything else."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import lilliput
from lilliput import bundle
from lilliput.benchmarks.hostile import bombs, mutations, trials, victim
from lilliput.benchmarks.hostile.forge import SECRET, Case, Forge, canonical
from lilliput.bundle import MANIFEST
from lilliput.errors import BundleError, MissingDependencyError


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The piece that the command writes, with fewer random changes than it makes by itself."""
    out = tmp_path_factory.mktemp("hostile") / "hostile.json"
    command = [sys.executable, "-m", "lilliput.benchmarks.hostile.measure", "--out", out, "--changes", "300"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return victim.make(tmp_path_factory.mktemp("victim") / "bundle")


@pytest.fixture
def forge(honest, tmp_path):
    """A copy of the honest bundle, and a canary."""
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary" / "secret.txt").write_bytes(SECRET)
    return Forge(Path(shutil.copytree(honest, tmp_path / "bundle")), tmp_path / "canary" / "secret.txt")


def test_every_attack_is_refused(measured):
    assert [f"{one['family']}: {one['name']}: {one}" for one in measured["attacks"] if not one["refused"]] == []
    figures = {figure["id"]: figure for figure in measured["figures"]}
    refused = figures["export.hostile_refused"]
    assert refused["value"] == refused["n"] == len(trials.cases()) >= 60


def test_every_random_change_is_refused(measured):
    found = measured["mutations"]
    assert (found["missed"], found["crashes"], found["hangs"]) == ([], 0, 0)
    assert found["n"] == sum(found["kinds"].values()) == sum(found["files"].values()) == 300
    assert set(found["kinds"]) == set(mutations.MUTATIONS)
    assert {MANIFEST, "tokenizer.json", victim.GRAPH, "model.safetensors"} <= set(found["files"])


def test_attacks_are_distinct():
    names = [case.name for _, case in trials.cases()]
    assert len(set(names)) == len(names)
    assert all(len(cases) >= 10 for cases in trials.FAMILIES.values())


def plain(case):
    """Whether the attack leaves a manifest and files that can be looked at."""
    return not case.name.startswith(("a hundred thousand", "a header of 50", "a tokenizer of", "a configuration of"))


CONTENTS = ("graphs", "bombs", "tokenizers", "weights", "configurations")
ATTACKS = [case for family in CONTENTS for case in trials.FAMILIES[family]]


@pytest.mark.parametrize("case", [case for case in ATTACKS if plain(case)], ids=lambda case: case.name)
def test_hashes_and_digest_are_right(case, honest, tmp_path):
    """So it is not they that give an attack away."""
    folder, canary = Path(shutil.copytree(honest, tmp_path / "bundle")), tmp_path / "canary" / "secret.txt"
    canary.parent.mkdir()
    canary.write_bytes(SECRET)
    case.build(Forge(folder, canary))
    content = json.loads((folder / MANIFEST).read_text())
    digest = content.pop("digest")
    assert hashlib.sha256(canonical(content)).hexdigest() == digest
    for name, entry in content["files"].items():
        data = (folder / name).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (entry["sha256"], entry["size"])
    shutil.rmtree(folder)


# --- the guards let honest bundles through ---------------------------------------------------------------------------


def test_a_copy_that_is_sealed_again_is_honest(forge):
    before = bundle.verify(forge.folder)
    forge.seal()
    assert bundle.verify(forge.folder) == before
    assert lilliput.load(forge.folder)("a joy")


def test_a_chain_without_a_bomb_is_honest(forge):
    bombs._one(forge, "Expand", ["one", "size"], {"one": np.zeros(1, np.float32), "size": np.array([100])})
    assert lilliput.load(forge.folder)("a joy")


def test_a_larger_tokenizer_is_refused_for_its_ids_alone(forge):
    forge.edit("tokenizer.json", lambda content: content["model"]["vocab"].pop("joy") and None)
    forge.seal()
    assert lilliput.load(forge.folder)("a joy")


# --- the trial tells what it should ----------------------------------------------------------------------------------


def attempt(forge, call):
    return trials.attempt(call, forge.folder, forge.canary)


def raise_error(error):
    raise error


def test_a_refusal(forge):
    found = attempt(forge, lambda folder: raise_error(BundleError(f"{folder}/x: bad")))
    assert (found.how, found.message, found.harm) == ("refused", "BundleError: BUNDLE/x: bad", ())
    assert found.is_refusal
    assert found.megabytes > 10


@pytest.mark.parametrize("error", [ValueError("x"), MemoryError(), SystemExit(2), MissingDependencyError("x")])
def test_errors_that_are_no_refusal(forge, error):
    found = attempt(forge, lambda folder: raise_error(error))
    assert found.how == "failed"
    assert not found.is_refusal


def test_acceptance_crashes_and_hangs(forge, monkeypatch):
    assert attempt(forge, lambda folder: None).how == "accepted"
    found = attempt(forge, lambda folder: os.kill(os.getpid(), signal.SIGSEGV))
    assert (found.how, found.message) == ("crashed", "SIGSEGV")
    assert attempt(forge, lambda folder: os._exit(3)).message == "exit code 3"
    monkeypatch.setattr(trials, "_DEADLINE", 1)
    assert attempt(forge, lambda folder: time.sleep(10)).how == "hung"


def test_slow_refusals_are_none(forge, monkeypatch):
    monkeypatch.setattr(trials, "SECONDS", 0.01)

    def slow(folder):
        time.sleep(0.05)
        raise BundleError("x")

    found = attempt(forge, slow)
    assert (found.how, found.is_refusal) == ("refused", False)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda forge: forge.canary.read_bytes(), "the canary was opened"),
        (lambda forge: forge.canary.write_text("harmed"), "the canary was changed"),
        (lambda forge: os.system("true"), "os.system"),
        (lambda forge: __import__("pickle").loads(b"cos\nsep\n."), "pickle.find_class"),
    ],
)
def test_harm_is_seen_even_where_a_bundle_is_refused(forge, harm, words):
    def call(folder):
        harm(forge)
        raise BundleError("x")

    found = attempt(forge, call)
    assert found.how == "refused"
    assert words in found.harm
    assert not found.is_refusal


def test_an_attack_that_gets_through_is_told(honest, tmp_path):
    trial = trials.try_case("none", Case("honest", lambda forge: forge.seal()), honest, tmp_path / "scratch")
    assert (trial.load.how, trial.verify.how, trial.is_refused) == ("accepted", "accepted", False)
    assert trial.plain()["refused"] is False
    assert not (tmp_path / "scratch").exists()


# --- random changes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", mutations.MUTATIONS)
def test_every_kind_changes_bytes(kind):
    draw, data = random.Random(0), bytes(range(256)) * 2
    made = {mutations.MUTATIONS[kind](data, draw) for _ in range(50)}
    assert len(made - {data}) > 20
    if kind in ("flip", "swap", "overwrite"):
        assert {len(one) for one in made} == {len(data)}
    if kind == "swap":
        assert all(sorted(one) == sorted(data) for one in made)
    if kind == "flip":
        assert all(sum(bin(a ^ b).count("1") for a, b in zip(one, data, strict=True)) == 1 for one in made)


def test_a_change_that_loads_is_told(honest, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "verify", lambda path: [])
    found = mutations.try_mutations(honest, 20, tmp_path / "changed")
    assert found.n == 20
    assert len([miss for miss in found.missed if miss.endswith("accepted")]) == 20
    assert found.failures == 20


def test_a_batch_that_crashes_or_hangs_is_told(honest, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "verify", lambda path: os.abort())
    assert mutations.try_mutations(honest, 5, tmp_path / "changed").crashes == 1
    monkeypatch.setattr(bundle, "verify", lambda path: time.sleep(20))
    monkeypatch.setattr(mutations, "_DEADLINE", 1)
    found = mutations.try_mutations(honest, 5, tmp_path / "changed")
    assert (found.hangs, found.failures) == (1, 1)
