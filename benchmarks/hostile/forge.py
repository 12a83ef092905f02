"""What every attack needs: a copy of the honest bundle, a manifest that is right about it, and something to harm."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from lilliput.benchmarks.hostile.victim import GRAPH
from lilliput.bundle import MANIFEST, UNLISTED

SECRET = b"the canary lives\n"


@dataclass(frozen=True)
class Case:
    """An attack.

    Attributes:
        name: what it does, in words.
        build: changes the bundle and seals it.
        opened: `lilliput.load` opens what was changed; else ``lilliput verify`` alone does, for other loaders' sake.
    """

    name: str
    build: Callable[[Forge], None]
    opened: bool = True


class Forge:
    """A copy of the honest bundle in ``folder``, to be changed and sealed.

    ``canary`` is a file outside that no honest bundle reads or writes. ``content`` are the fields of the manifest.
    """

    def __init__(self, folder: Path, canary: Path) -> None:
        self.folder = folder
        self.canary = canary
        self.content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="ascii"))

    @property
    def table(self) -> dict[str, Any]:
        """The files that the manifest lists."""
        found: dict[str, Any] = self.content["files"]
        return found

    @property
    def model(self) -> onnx.ModelProto:
        """The graph as it is."""
        return onnx.load(str(self.folder / GRAPH))

    def write(self, name: str, data: bytes | str) -> None:
        """Write a file of the bundle."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)

    def edit(self, name: str, change: Callable[[Any], Any]) -> None:
        """Change a JSON file of the bundle in place; what ``change`` gives replaces the content, unless it is None."""
        content = json.loads((self.folder / name).read_text(encoding="utf-8"))
        changed = change(content)
        self.write(name, json.dumps(content if changed is None else changed))

    def graph(self, model: onnx.ModelProto | bytes, **listed: Any) -> None:
        """Replace the graph; the manifest's operators are those of the new one, so that they give nothing away."""
        if isinstance(model, bytes):
            self.write(GRAPH, model)
        else:
            self.write(GRAPH, model.SerializeToString())
            operators = dict(Counter(node.op_type for node in model.graph.node))
            listed = {"operators": operators, "opset": model.opset_import[0].version, **listed}
        self.content["graphs"]["fp32"] |= listed

    def seal(self, listed: Mapping[str, Any] | None = None, *, rehash: bool = True, **changes: Any) -> None:
        """Write the manifest: the right hashes and sizes of all files, and its own right digest.

        Args:
            listed: further entries, or other ones.
            rehash: also list and hash what is there now.
            changes: fields of the manifest.
        """
        if rehash:
            for path in sorted(self.folder.rglob("*")):
                name = path.relative_to(self.folder).as_posix()
                if path.is_file() and name not in (MANIFEST, *UNLISTED):
                    self.table[name] = entry(path)
        self.table.update(listed or {})
        self.content |= changes
        (self.folder / MANIFEST).write_bytes(signed(self.content))


def entry(path: Path) -> dict[str, Any]:
    """The manifest entry of a file."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}


def canonical(content: Any) -> bytes:
    """The bytes of a manifest's fields."""
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode("ascii")


def signed(content: Mapping[str, Any]) -> bytes:
    """The bytes of a manifest with the right digest, whatever its fields."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    return canonical({**rest, "digest": hashlib.sha256(canonical(rest)).hexdigest()})
