"""Runs a peer where Lilliput is not installed: ``python -I launch.py LILLIPUT BENCHMARKS DO SPEC.json``.

LILLIPUT and BENCHMARKS are the folders of those packages. The peer's environment holds what the peer needs and nothing
else; the protocol, the clock and the peer's file are those of our own workers. DO is

- ``work``: answer texts, as :mod:`lilliput.benchmarks.worker` does;
- ``build``: make what the peer's ``load`` opens. The spec then has a ``folder`` too.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
from pathlib import Path


def main(package: str, benchmarks: str, do: str, spec: str) -> None:
    """Make the two packages importable, without what their ``__init__`` files import, and do what is asked."""
    for name, folder in (("lilliput", package), ("lilliput.benchmarks", benchmarks)):
        module = types.ModuleType(name)
        module.__path__ = [folder]
        sys.modules[name] = module
    worker = importlib.import_module("lilliput.benchmarks.worker")
    if do == "work":
        worker.main(spec)
        return
    asked = json.loads(Path(spec).read_text(encoding="utf-8"))
    os.environ.update(worker.environment(asked["threads"]))
    peer = importlib.import_module(f"lilliput.benchmarks.peers.{asked['peer']}")
    peer.build(asked["options"], Path(asked["folder"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
