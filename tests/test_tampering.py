"""200 random changes to a bundle, each refused by the name of the file."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from lilliput.bundle import MANIFEST, verify
from lilliput.errors import IntegrityError


def files_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def tamper(folder, kind, dice):
    """Change a bundle in one random way; returns the names of which the error must show one."""
    names = files_of(folder)
    name = dice.choice(names)
    path = folder / name
    data = path.read_bytes()
    position = dice.randrange(len(data))
    match kind:
        case "flip":
            path.write_bytes(data[:position] + bytes([data[position] ^ 1 << dice.randrange(8)]) + data[position + 1 :])
        case "truncate":
            path.write_bytes(data[:position])
        case "append":
            path.write_bytes(data + dice.randbytes(dice.randrange(1, 9)))
        case "delete":
            path.unlink()
        case "rename":
            path.rename(folder / f"{name}.bak")
            return [name, f"{name}.bak"]
        case "swap":
            other = dice.choice([other for other in names if other != name])
            path.write_bytes((folder / other).read_bytes())
            (folder / other).write_bytes(data)
            return [name, other]
        case "stray":
            name = dice.choice(["extra.bin", "onnx/extra.py", "new/pickle.pkl", ".hidden", "Readme.md"])
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(dice.randbytes(9))
            return [name, name.split("/")[0]]
        case "link":
            target = path.rename(folder.parent / f"target-{dice.randrange(10**9)}")
            path.symlink_to(target)
        case "hard link":
            os.link(path, folder.parent / f"other-{dice.randrange(10**9)}")
        case "edit":
            content = json.loads((folder / MANIFEST).read_text())
            key = dice.choice(sorted(content))
            content[key] = dice.choice([None, 1, "x", [], {}, ["a", "b"]])
            (folder / MANIFEST).write_text(json.dumps(content, sort_keys=True, indent=1) + "\n")
            return [MANIFEST]
        case "white space":
            raw = (folder / MANIFEST).read_bytes()
            spots = [index for index, byte in enumerate(raw) if byte in b" \n"]
            spot = dice.choice(spots)
            changed = dice.choice(
                [raw[:spot] + dice.choice([b" ", b"\n", b"\t"]) + raw[spot:], raw[:spot] + raw[spot + 1 :], raw[:-1]]
            )
            (folder / MANIFEST).write_bytes(changed)
            return [MANIFEST]
    return [name]


KINDS = ("flip", "truncate", "append", "delete", "rename", "swap", "stray", "link", "hard link", "edit", "white space")


def test_200_of_200_tampers_are_refused_by_name(tiny_bundle, tmp_path):
    dice = random.Random(20)
    refused = 0
    for attempt in range(200):
        kind = KINDS[attempt % len(KINDS)]
        folder = Path(shutil.copytree(tiny_bundle, tmp_path / f"{attempt}"))
        expected = tamper(folder, kind, dice)
        with pytest.raises(IntegrityError) as caught:
            verify(folder)
        assert any(str(folder / name) in str(caught.value) for name in expected), (kind, expected, str(caught.value))
        refused += 1
        shutil.rmtree(folder)
    assert refused == 200
