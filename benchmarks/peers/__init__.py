"""What a benchmark worker can host: one file a kind of model, found by its file name.

A peer file defines ``load(options, threads) -> Peer``. It is imported inside a fresh worker process, so it may import
whatever it measures; nothing else imports it. Adding a kind of model is adding a file.

Those that others would pick instead run in environments of their own, with pinned packages, where Lilliput is not
installed: see :mod:`lilliput.benchmarks.peers.measure`. They may define ``build(options, folder)``, which makes what
``load`` opens.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from numpy.typing import ArrayLike

from lilliput.errors import ConfigError


class Peer(Protocol):
    """A loaded model that answers texts. Probabilities are in the order of ``labels``.

    Attributes:
        labels: label names, in the order of the probabilities.
        parameters: numbers that were trained; None if that is not known.
        bytes: size of the files that loading opens; None if it opens none.
    """

    labels: Sequence[str]
    parameters: int | None
    bytes: int | None

    def one(self, text: str) -> ArrayLike:
        """Probabilities [labels] of one text: what the latency is measured on."""
        ...

    def batch(self, texts: list[str]) -> ArrayLike:
        """Probabilities [n, labels] of a list, however this kind of model does it best: for throughput."""
        ...


Loader = Callable[[Mapping[str, Any], int], Peer]


def names() -> list[str]:
    """The kinds of model there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg)


def get(name: str) -> Loader:
    """The loader of a kind of model.

    Raises:
        ConfigError: there is no such kind.
    """
    if name not in names():
        raise ConfigError(f"there is no benchmark peer {name!r}; the known ones are {', '.join(names())}")
    return cast(Loader, importlib.import_module(f"{__name__}.{name}").load)


def option(options: Mapping[str, Any], peer: str, key: str) -> Any:
    """An option that a peer can't do without.

    Raises:
        ConfigError: it is not there.
    """
    if key not in options:
        raise ConfigError(f"the benchmark peer {peer!r} needs the option {key!r}")
    return options[key]
