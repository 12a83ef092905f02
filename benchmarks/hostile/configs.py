"""Files that Lilliput's runtime never opens, but other loaders do: configurations that name code."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from lilliput.benchmarks.hostile.forge import Case, Forge
from lilliput.benchmarks.hostile.paths import PICKLE

CONFIG = "config.json"


def _key(forge: Forge, name: str, **keys: Any) -> None:
    """Further keys of a JSON file."""
    forge.edit(name, lambda content: {**content, **keys})
    forge.seal()


def _trusting(forge: Forge, name: str) -> None:
    """A configuration that asks for its own code to be run."""
    _key(forge, name, **{"trust_remote_code": True})


def _bytes(forge: Forge, name: str, data: bytes) -> None:
    forge.write(name, data)
    forge.seal()


def _modules(forge: Forge, kind: str) -> None:
    """What sentence-transformers imports and calls."""
    forge.write("modules.json", json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    forge.seal()


CASES = tuple(
    Case(name, build, opened=False)
    for name, build in {
        "a model whose code is elsewhere": partial(_key, name=CONFIG, auto_map={"AutoModel": "evil/repo--model.Evil"}),
        "a tokenizer whose code is beside it": partial(
            _key, name="tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]}
        ),
        "code named deep within a configuration": partial(
            _key, name=CONFIG, text_config={"parts": [{"auto_map": {"AutoConfig": "evil.Evil"}}]}
        ),
        "pipelines of its own": partial(_key, name=CONFIG, custom_pipelines={"x": {"impl": "evil.Evil"}}),
        "a configuration that trusts itself": partial(_trusting, name=CONFIG),
        "a module that is a system call": partial(_modules, kind="os.system"),
        "a module of another package": partial(_modules, kind="evil.models.Transformer"),
        "a configuration that is a pickle": partial(_bytes, name=CONFIG, data=PICKLE),
        "a configuration that is binary": partial(_bytes, name=CONFIG, data=bytes(range(256))),
        "a configuration with a key twice": partial(
            _bytes, name=CONFIG, data=b'{"model_type": "a", "model_type": "b"}'
        ),
        "a configuration a million levels deep": partial(_bytes, name=CONFIG, data=b"[" * 10**6 + b"]" * 10**6),
        "a configuration of millions of objects": partial(_bytes, name=CONFIG, data=b"[" + b"{}," * 6_000_000 + b"{}]"),
        "a vocabulary that is no text": partial(_bytes, name="vocab.txt", data=b"\xff\xfe\x00"),
    }.items()
)
