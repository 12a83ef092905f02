"""Bundles on an execution provider other than the CPU, and whether it can be had here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lilliput import runtime, sessions
from lilliput.benchmarks.peers import option
from lilliput.benchmarks.peers.bundle import BundlePeer
from lilliput.errors import ConfigError


def load(options: Mapping[str, Any], threads: int) -> BundlePeer:
    """Host a bundle on ``options["provider"]``; operators that it lacks run on the CPU, on ``threads``.

    Raises:
        ConfigError: the provider can't be had here.
    """
    folder, precision = option(options, "bundle", "bundle"), options.get("precision")
    model = runtime.load(folder, precision=precision, threads=threads, workers=1, providers=options["provider"])
    return BundlePeer(model, model)


def missing(provider: str) -> str | None:
    """Why ONNX Runtime can't have a provider here; None where it lists it (its libraries may still fail to load).

    Raises:
        ConfigError: there is no provider of that name.
    """
    if provider not in sessions.PROVIDERS:
        raise ConfigError(f"--provider {provider}: unknown; known are {', '.join(sessions.PROVIDERS)}")
    there = sessions.onnxruntime().get_available_providers()
    if sessions.PROVIDERS[provider] in there:
        return None
    names = [name for name, full in sessions.PROVIDERS.items() if full in there]
    return f"this onnxruntime has {', '.join(names)} only"
