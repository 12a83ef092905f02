"""Files that are not where, or not what, a bundle's files are."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lilliput.benchmarks.hostile.forge import Case, Forge, entry
from lilliput.benchmarks.hostile.victim import GRAPH
from lilliput.bundle import MANIFEST

ZEROS = 1 << 30
TOKENIZER = "tokenizer.json"


def _listed(forge: Forge, name: str) -> None:
    """The manifest lists the canary under a name that leads to it, or that means something else elsewhere."""
    forge.seal({name: entry(forge.canary)})


def _copies(forge: Forge, names: tuple[str, ...]) -> None:
    """Names that are distinct here and one file on other systems, or that other systems keep for themselves."""
    for name in names:
        forge.write(name, "{}")
    forge.seal()


def _shipped(forge: Forge, name: str, data: bytes) -> None:
    forge.write(name, data)
    forge.seal()


def _link_outside(forge: Forge, name: str) -> None:
    """The listed contents, but behind a link that leads out of the bundle."""
    path = forge.folder / name
    target = forge.canary.parent / "moved"
    forge.seal()
    shutil.move(path, target)
    path.symlink_to(target, target_is_directory=target.is_dir())


def _link_endless(forge: Forge) -> None:
    forge.seal()
    (forge.folder / TOKENIZER).unlink()
    (forge.folder / TOKENIZER).symlink_to("/dev/zero")


def _hard_link(forge: Forge) -> None:
    """The graph can be changed from elsewhere, after it was checked."""
    forge.seal()
    os.link(forge.folder / GRAPH, forge.canary.parent / "other name")


def _special(forge: Forge, name: str, make: Callable[[Path], object]) -> None:
    forge.seal()
    (forge.folder / name).unlink()
    make(forge.folder / name)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has a hundred bytes at most
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


def _swallowed(forge: Forge) -> None:
    """A folder in a file's place."""
    forge.seal()
    (forge.folder / GRAPH).unlink()
    (forge.folder / GRAPH).mkdir()


def _stray(forge: Forge, name: str) -> None:
    """A file that other loaders would find, and that is not listed."""
    forge.seal()
    forge.write(name, "import os\n")


def _stray_link(forge: Forge) -> None:
    forge.seal()
    (forge.folder / "more.json").symlink_to(forge.canary)


def _zeros(forge: Forge) -> None:
    """A tokenizer of a gigabyte that takes no room on the disk."""
    with (forge.folder / TOKENIZER).open("wb") as file:
        file.truncate(ZEROS)
    forge.seal()


def _many(forge: Forge) -> None:
    one = entry(forge.folder / TOKENIZER)
    forge.seal({f"{number}.json": one for number in range(10_000)})


PICKLE = b"cos\nsystem\n(S'echo harmed > ../canary/secret.txt'\ntR."
CASES = (
    Case("a listed path leaves the bundle", partial(_listed, name="../canary/secret.txt")),
    Case("a listed path goes in and out", partial(_listed, name="onnx/../../canary/secret.txt")),
    Case("a listed path is absolute", lambda forge: forge.seal({str(forge.canary): entry(forge.canary)})),
    Case("a listed path has backslashes", partial(_listed, name="..\\canary\\secret.txt")),
    Case("a listed path is of a drive", partial(_listed, name="C:secret.txt")),
    Case("a listed path has an empty part", partial(_listed, name="onnx//secret.txt")),
    Case("a listed path names a stream", partial(_listed, name="config.json:secret.txt")),
    Case("a listed path steers the terminal", partial(_listed, name="\x1b[2Jsecret.txt")),
    Case("a listed path is written backwards", partial(_listed, name="\u202etxt.exe.json")),
    Case("a listed path ends in a dot", partial(_listed, name="secret.txt.")),
    Case("a listed path is a hook of git", partial(_listed, name=".git/hooks/post-checkout")),
    Case("a listed path is a thousand folders deep", partial(_listed, name="a/" * 1000 + "secret.txt")),
    Case("a listed path is the manifest", partial(_listed, name=MANIFEST)),
    Case("names that differ in case", partial(_copies, names=("more.json", "MORE.json"))),
    Case("names that differ in Unicode form", partial(_copies, names=("caf\u00e9.json", "cafe\u0301.json"))),
    Case("a name that Windows keeps", partial(_copies, names=("aux.json",))),
    Case("a pickle is listed", partial(_shipped, name="pytorch_model.bin", data=PICKLE)),
    Case("code is listed", partial(_shipped, name="modeling_mean.py", data=b"import os\n")),
    Case("a library of operators is listed", partial(_shipped, name="onnx/operators.so", data=b"\x7fELF")),
    Case("ten thousand files are listed", _many),
    Case("the tokenizer is a link", partial(_link_outside, name=TOKENIZER)),
    Case("the graphs' folder is a link", partial(_link_outside, name="onnx")),
    Case("the manifest is a link", partial(_link_outside, name=MANIFEST)),
    Case("the tokenizer is a link to endless zeros", _link_endless),
    Case("the tokenizer is a pipe", partial(_special, name=TOKENIZER, make=os.mkfifo)),
    Case("the manifest is a pipe", partial(_special, name=MANIFEST, make=os.mkfifo)),
    Case("the tokenizer is a socket", partial(_special, name=TOKENIZER, make=_socket)),
    Case("the graph is a folder", _swallowed),
    Case("the tokenizer is a gigabyte of zeros", _zeros),
    Case("the graph has a second name outside", _hard_link, opened=False),
    Case("code that is not listed", partial(_stray, name="modeling_mean.py"), opened=False),
    Case("a pickle that is not listed", partial(_stray, name="pytorch_model.bin"), opened=False),
    Case("a link that is not listed", _stray_link, opened=False),
)
