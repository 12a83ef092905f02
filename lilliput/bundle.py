"""A bundle: one folder that every loader of the ecosystem takes as it is, with a manifest that vouches for its files.

A reader opens listed files only, hashes the bytes it read, and parses those same bytes. Hashes prove integrity, not
origin: a hostile bundle has valid hashes, so every check here also holds against a manifest written by an enemy.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lilliput import folders, signatures
from lilliput.errors import BundleError, IntegrityError, MissingDependencyError
from lilliput.guards.files import check as check_contents
from lilliput.manifest import FORMAT, MANIFEST, FileEntry, Manifest, parse, serialize

__all__ = ["FORMAT", "MANIFEST", "UNLISTED", "Bundle", "FileEntry", "Manifest", "commit", "verify", "write_manifest"]

UNLISTED = frozenset({"README.md", "measurements.json", ".gitattributes", signatures.SIGNATURE})
"""Files at the top of a bundle that may lie there without being listed: written after measuring, by git, or over the
manifest."""

_MANIFEST_LIMIT = 4 << 20  # bytes; a real manifest has some 20 KB
_SMOKE_FP32 = 1e-3  # logits
_SMOKE_INT8 = 0.1  # of the range of the recorded logits


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its manifest is checked, its files are checked as they are read.

    ``manifest_size`` is the size of the manifest in bytes.
    """

    path: Path
    manifest: Manifest
    manifest_size: int

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, require_signature: str | os.PathLike[str] | None = None) -> Bundle:
        """Read and check the manifest, and nothing else.

        Args:
            path: folder of the bundle.
            require_signature: PEM file with a public key, by whose private half the manifest must be signed. That is
                checked before the manifest is parsed.

        Raises:
            BundleError: there is no bundle at ``path``, or it needs another version of Lilliput.
            IntegrityError: the manifest is missing, changed, or malformed, or not signed as required.
            ConfigError, MissingDependencyError: see `lilliput.signatures.check`.
        """
        root = Path(path)
        if not root.exists():
            aside = folders.aside_of(root)
            hint = (
                f"; a replacement was interrupted, the old bundle is {aside}: rename it back" if aside.exists() else ""
            )
            raise BundleError(f"{root}: no such folder{hint}")
        if not root.is_dir():
            raise BundleError(f"{root}: not a folder; a bundle is the folder that holds {MANIFEST}")
        if not os.path.lexists(root / MANIFEST):
            raise IntegrityError(f"{root / MANIFEST}: missing; {root} is not a bundle, or was not finished")
        raw = folders.read_plain(root, MANIFEST, limit=_MANIFEST_LIMIT)
        if require_signature is not None:
            signatures.check(root, raw, Path(require_signature))
        return cls(root, parse(raw, root / MANIFEST), len(raw))

    def read(self, name: str) -> bytes:
        """The bytes of a listed file, read once and hashed before they are returned.

        Raises:
            BundleError: the manifest does not list ``name``.
            IntegrityError: the file is missing, is not a plain file, or differs from its manifest entry.
        """
        path = self.path / name
        entry = self.manifest.files.get(name)
        if entry is None:
            raise BundleError(f"{path}: not listed in {MANIFEST}; this bundle does not ship it")
        data = folders.read_plain(self.path, name, size=entry.size)
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise IntegrityError(f"{path}: changed, its SHA-256 is not the one in {MANIFEST}; get the bundle again")
        return data


def write_manifest(staging: Path, **values: Any) -> Manifest:
    """Hash every file under ``staging`` and write its ``lilliput.json``.

    ``values`` are the fields of `Manifest` but ``format``, ``lilliput`` and ``files``. They are checked by the rules
    that a reader applies, so nothing is written that could not be opened.

    Raises:
        BundleError: a field is missing, unknown or of the wrong type.
        IntegrityError: ``staging`` holds something that is no plain file.
    """
    path = staging / MANIFEST
    temporary = staging / f".{MANIFEST}.tmp"
    temporary.unlink(missing_ok=True)
    (staging / signatures.SIGNATURE).unlink(missing_ok=True)  # of an older manifest
    files: dict[str, FileEntry] = {}
    for name, status in folders.walk(staging):
        if name != MANIFEST and name not in UNLISTED and not stat.S_ISDIR(status.st_mode):
            data = folders.read_plain(staging, name, size=status.st_size)
            files[name] = FileEntry(hashlib.sha256(data).hexdigest(), len(data))
    raw = serialize(values, files, path)
    temporary.write_bytes(raw)
    folders.fsync(temporary)
    temporary.replace(path)
    folders.fsync(staging)
    return parse(raw, path)


def commit(staging: Path, final: Path) -> None:
    """Put the finished bundle ``staging`` at ``final``, replacing a bundle that is there, in one step.

    Everything is on the disk before the rename, so a crash leaves the old bundle or the new one. On Linux the two
    folders swap names in one system call. Elsewhere the old one is first renamed to ``.NAME.replaced``; a crash at
    that very moment leaves it there, and `Bundle.open` says so.

    Raises:
        BundleError: ``final`` is something other than a bundle or an empty folder, or is on another file system.
        IntegrityError: ``staging`` has no finished manifest.
    """
    Bundle.open(staging)
    if final.is_symlink() or (final.exists() and not final.is_dir()):
        raise BundleError(f"{final}: in the way, and not a folder; remove it or choose another place")
    if final.exists() and any(final.iterdir()) and not (final / MANIFEST).is_file():
        raise BundleError(f"{final}: a folder that is not a bundle; Lilliput won't delete it, choose another place")
    folders.put_in_place(staging, final)


def verify(path: str | os.PathLike[str], *, require_signature: str | os.PathLike[str] | None = None) -> list[str]:
    """Check a whole bundle: every listed file and what it holds, no other file, no link, and its smoke predictions.

    Opset, operators, inputs and outputs are read from each graph again and compared with the manifest.

    Smoke predictions are run where onnxruntime is installed. For fp32 every logit must lie within 1e-3 of the recorded
    one. Dynamic int8 rounds differently on CPUs with and without VNNI, so there the limit is 0.1 of the range of the
    logits recorded for that precision, and the best label must be the recorded one unless the recorded margin between
    the two best labels is itself below that limit. A larger difference means that this machine computes something
    else (int8 products overflow on some CPUs without VNNI), although the file is the right one.

    Args:
        path: folder of the bundle.
        require_signature: as of `Bundle.open`.

    Returns:
        Lines that say what was checked.

    Raises:
        IntegrityError: at the first fault, naming the file.
        BundleError: there is no bundle at ``path``.
    """
    bundle = Bundle.open(path, require_signature=require_signature)
    listed = bundle.manifest.files
    _refuse_strays(bundle)
    for name in sorted(listed):
        check_contents(name, bundle.read(name), bundle.path / name)
    total = sum(entry.size for entry in listed.values())
    return [
        f"{MANIFEST}: format {bundle.manifest.format}, digest correct",
        *_signature_line(bundle, require_signature),
        f"{len(listed)} files ({total:,} bytes): sizes and SHA-256 correct",
        "no other files, no links, no code",
        *_check_graphs(bundle),
        *_check_smoke(bundle),
    ]


# --- the checks of verify --------------------------------------------------------------------------------------------


def _refuse_strays(bundle: Bundle) -> None:
    listed = bundle.manifest.files
    parents = {str(parent) for name in listed for parent in PurePosixPath(name).parents}
    for name, status in folders.walk(bundle.path):
        path = bundle.path / name
        if stat.S_ISDIR(status.st_mode):
            if name not in parents:
                raise IntegrityError(f"{path}: a folder that {MANIFEST} does not list; remove it")
        elif name not in listed and name not in UNLISTED and name != MANIFEST:
            raise IntegrityError(f"{path}: a file that {MANIFEST} does not list; remove it, or restore its name")
        elif status.st_nlink > 1:
            raise IntegrityError(
                f"{path}: a hard link, so it can change from elsewhere; copy the bundle to a new folder"
            )


def _signature_line(bundle: Bundle, key: str | os.PathLike[str] | None) -> list[str]:
    if key is not None:
        return [f"{signatures.SIGNATURE}: signed with the key of {key}"]
    there = (bundle.path / signatures.SIGNATURE).exists()
    return [f"{signatures.SIGNATURE}: not checked, --require-signature does"] if there else []


def _check_graphs(bundle: Bundle) -> list[str]:
    """Every graph against its manifest entry, and the tokenizer against every graph."""
    from lilliput.guards import model
    from lilliput.runtime import task_of

    manifest = bundle.manifest
    task, lines = task_of(manifest, bundle.path), []
    used = {graph["file"] for graph in manifest.graphs.values()}
    if unused := sorted(name for name in manifest.files if name.endswith(".onnx") and name not in used):
        raise IntegrityError(f"{bundle.path / unused[0]}: a graph that no precision of the manifest names")
    tokenizer = bundle.read(model.TOKENIZER)
    for precision, graph in sorted(manifest.graphs.items()):
        data = bundle.read(graph["file"])
        cost = model.check(bundle.path, manifest, precision, task, data, tokenizer)
        lines.append(
            f"{graph['file']}: opset {graph['opset']}, {sum(graph['operators'].values())} operators of "
            f"{len(graph['operators'])} kinds as listed, weights finite"
            + ("" if cost.rows is None else f", a row for each token of {model.TOKENIZER}")
        )
    return lines


def _check_smoke(bundle: Bundle) -> list[str]:
    import numpy as np

    from lilliput.runtime import load

    lines = []
    for precision in sorted({record["precision"] for record in bundle.manifest.smoke}):
        records = [record for record in bundle.manifest.smoke if record["precision"] == precision]
        path = bundle.path / bundle.manifest.graphs[precision]["file"]
        try:
            model = load(bundle.path, precision=precision, workers=1)
        except MissingDependencyError:
            return ["smoke predictions: not run, onnxruntime is not installed"]
        found = [model.smoke(record["text"]) for record in records]
        expected = [record["logits"] for record in records]
        if [len(row) for row in found] != [len(row) for row in expected]:
            raise IntegrityError(f"{path}: recorded predictions have another number of outputs than the graph")
        spread = float(np.ptp(np.concatenate(expected)))
        limit = _SMOKE_FP32 if precision == "fp32" else max(_SMOKE_FP32, _SMOKE_INT8 * spread)
        worst = max(float(np.abs(np.subtract(*pair)).max()) for pair in zip(found, expected, strict=True))
        one_label = model.task.dimensions == ("labels",)
        if worst > limit or (one_label and not _same_labels(found, expected, limit)):
            raise IntegrityError(
                f"{path}: predictions on this machine differ from the recorded ones by {worst:.3g} (at most "
                f"{limit:.3g} is normal): this CPU or this version of onnxruntime computes something else; "
                "try another precision"
            )
        lines.append(
            f"{len(records)} smoke predictions ({precision}): largest difference {worst:.1e}, limit {limit:.1e}"
        )
    return lines or ["smoke predictions: none recorded"]


def _same_labels(found: list[list[float]], expected: list[list[float]], limit: float) -> bool:
    """Whether both have the same best label, wherever the best of ``expected`` leads by more than ``limit``."""
    for row, reference in zip(found, expected, strict=True):
        best = reference.index(max(reference))
        lead = min((reference[best] - other for index, other in enumerate(reference) if index != best), default=0.0)
        if lead > limit and row.index(max(row)) != best:
            return False
    return True
