"""What is in the wheel: everything under lilliput/, and nothing that would land in site-packages as train or export."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAPPED = ("train", "export", "compress", "benchmarks")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names in the wheel, built offline from a copy of the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("lilliput", *MAPPED):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    result = subprocess.run(
        [*command, "-w", str(out), str(source)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    assert result.returncode == 0, result.stderr
    (path,) = out.glob("lilliput-*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_only_lilliput_is_at_the_top(wheel):
    version = PROJECT["project"]["version"]
    assert {name.split("/")[0] for name in wheel} == {"lilliput", f"lilliput-{version}.dist-info"}


def test_every_module_is_in(wheel):
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lilliput").rglob("*.py")}
    for folder in MAPPED:
        expected |= {f"lilliput/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / folder).rglob("*.py")}
    assert expected == {name for name in wheel if name.endswith(".py")}


@pytest.mark.parametrize(
    "ending",
    [
        "lilliput/py.typed",
        "lilliput/benchmarks/report.schema.json",
        "lilliput/benchmarks/page.html",
        "lilliput/benchmarks/loaders/ask.mjs",
        "lilliput/benchmarks/loaders/drive.html",
        "lilliput/train/evaluation.html",
        ".dist-info/licenses/LICENSE",
        ".dist-info/licenses/NOTICE",
        ".dist-info/entry_points.txt",
    ],
)
def test_what_is_not_python_is_in_too(wheel, ending):
    assert [name for name in wheel if name.endswith(ending)]


def test_no_results_and_no_tests_are_in(wheel):
    assert not [name for name in wheel if "/results/" in name or "/tests/" in name]


def test_every_package_is_listed():
    """setuptools does not look for packages here, so a folder that is not listed would be left out silently."""
    found = set()
    for folder in ("lilliput", *MAPPED):
        for path in (ROOT / folder).rglob("__init__.py"):
            name = ".".join(path.parent.relative_to(ROOT).parts)
            found.add(name if folder == "lilliput" else f"lilliput.{name}")
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_folder_of_modules_is_a_package():
    for folder in ("lilliput", *MAPPED):
        for path in (ROOT / folder).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), f"{path.parent} has modules but no __init__.py"


def test_the_version_is_said_once():
    import lilliput

    assert lilliput.__version__ == PROJECT["project"]["version"]


def test_the_base_install_stays_small():
    names = {requirement.split(">")[0] for requirement in PROJECT["project"]["dependencies"]}
    assert names == {"numpy", "tokenizers", "huggingface-hub", "typer", "rich"}  # the Hub's comes with tokenizers
    extras = PROJECT["project"]["optional-dependencies"]
    assert [requirement.split(">")[0] for requirement in extras["cpu"]] == ["onnxruntime"]
    assert [requirement.split(">")[0] for requirement in extras["gpu"]] == ["onnxruntime-gpu"]


def test_every_requirement_is_pinned():
    """constraints.txt names an exact version of everything that set-up installs by name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(name for extra in ("cpu", "toolkit", "serve", "sign", "dev") for name in extras[extra]),
    ]
    assert {requirement.split(">")[0].split("[")[0].lower() for requirement in wanted} <= pinned
