"""Sessions of ONNX Runtime: how a graph is opened, and on which device it runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lilliput.errors import ConfigError, MissingDependencyError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
}
"""ONNX Runtime's execution providers, by the names that ``--provider`` takes."""

_PACKAGES = {
    "cpu": "onnxruntime",
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu, and TensorRT's libraries",
    "openvino": "onnxruntime-openvino",
    "coreml": "onnxruntime on macOS",
    "directml": "onnxruntime-directml on Windows",
}
"""What has each of them; the packages overwrite each other, so that one of them is installed at a time."""

_AUTO = ("cuda", "directml", "coreml", "cpu")
"""What "auto" tries, in this order: providers that take any graph as it is."""

logger = logging.getLogger(__name__)


def open_session(
    graph: bytes, *, threads: int = 1, disabled_optimizers: Sequence[str] = (), providers: str | Sequence[str] = "cpu"
) -> Any:
    """A session for the serialized ``graph``.

    Args:
        threads: that work on one call.
        disabled_optimizers: ONNX Runtime's own graph optimizers that are left out, by name.
        providers: names of `PROVIDERS`, the first of which must be there and take the graph; operators that it lacks go
            to the next ones and at last to the CPU. Or "auto": the best that is there; that it is the CPU is logged as
            a warning.

    Raises:
        ConfigError: a provider is unknown, or can't be had here.
        MissingDependencyError: onnxruntime is not installed.
        Exception: ONNX Runtime can't load the graph; its errors share no base class.
    """
    if providers == "auto":
        return _best_session(graph, threads, disabled_optimizers)
    names = [providers] if isinstance(providers, str) else list(providers)
    for name in names:
        _check(name)
    wanted = [PROVIDERS[name] for name in names]
    session = _session(graph, threads, disabled_optimizers, wanted)
    if session.get_providers()[0] != wanted[0]:  # its libraries are missing: ONNX Runtime goes on without
        raise _missing(names[0], "onnxruntime can't load its libraries")
    return session


def onnxruntime() -> Any:
    """The module.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import onnxruntime as module
    except ImportError as error:
        raise MissingDependencyError(
            "onnxruntime is not installed: pip install '.[cpu]' in Lilliput's folder, or '.[gpu]' for CUDA "
            "(only one of the two: they overwrite each other)"
        ) from error
    return module


def _check(name: str) -> None:
    if name not in PROVIDERS:
        raise ConfigError(f"provider {name!r}: unknown; known are auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[name] not in onnxruntime().get_available_providers():
        raise _missing(name, f"this onnxruntime has {', '.join(_available())}")


def _available() -> list[str]:
    there = onnxruntime().get_available_providers()
    return [name for name, provider in PROVIDERS.items() if provider in there]


def _missing(name: str, why: str) -> ConfigError:
    return ConfigError(f"provider {name}: {why}; install {_PACKAGES[name]}, or choose another one")


def _best_session(graph: bytes, threads: int, disabled_optimizers: Sequence[str]) -> Any:
    there = _available()
    tried = [name for name in _AUTO if name in there]
    for name in tried:
        session = _session(graph, threads, disabled_optimizers, [PROVIDERS[name]])
        if session.get_providers()[0] == PROVIDERS[name]:
            break
    if name == "cpu":
        lost = ", ".join(tried[:-1])
        why = f"{lost}: libraries can't be loaded" if lost else f"this onnxruntime has {', '.join(there)} only"
        logger.warning("provider auto: runs on the CPU (%s)", why)
    return session


def _session(graph: bytes, threads: int, disabled_optimizers: Sequence[str], providers: list[str]) -> Any:
    module = onnxruntime()
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = module.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what fails is raised; it need not be printed too
    # Waiting threads that spin gain some 20% on an idle machine, but beside another busy process they make one
    # text in ten five times slower, and an app is such a process itself.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return module.InferenceSession(graph, options, providers=providers, disabled_optimizers=list(disabled_optimizers))
