"""Which provider a session runs on, and what is said where it can't be had."""

import logging

import pytest

import lilliput
from lilliput import sessions
from lilliput.errors import ConfigError


def test_a_provider_that_is_missing_or_unknown_is_an_error(tiny_bundle):
    with pytest.raises(
        ConfigError, match="provider cuda: this onnxruntime has cpu; install onnxruntime-gpu, or choose"
    ):
        lilliput.load(tiny_bundle, providers="cuda")
    with pytest.raises(ConfigError, match="provider 'tpu': unknown; known are auto, cpu, cuda, tensorrt, openvino"):
        lilliput.load(tiny_bundle, providers=["cpu", "tpu"])


def test_auto_says_that_it_runs_on_the_cpu(tiny_bundle, caplog):
    with caplog.at_level(logging.WARNING):
        model = lilliput.load(tiny_bundle, providers="auto")
    assert model("a joy") == lilliput.load(tiny_bundle)("a joy")
    assert [record.message for record in caplog.records] == [
        "provider auto: runs on the CPU (this onnxruntime has cpu only)"
    ]


class Session:
    def __init__(self, providers):
        self.providers = providers

    def get_providers(self):
        return self.providers


def test_a_provider_whose_libraries_are_missing_is_no_silent_cpu(monkeypatch, caplog):
    """ONNX Runtime goes on with the CPU where CUDA's libraries can't be loaded."""
    monkeypatch.setattr(sessions, "_available", lambda: ["cpu", "cuda"])
    monkeypatch.setattr(
        sessions.onnxruntime(), "get_available_providers", lambda: list(sessions.PROVIDERS.values())[:2]
    )
    monkeypatch.setattr(sessions, "_session", lambda *_: Session(["CPUExecutionProvider"]))
    with pytest.raises(ConfigError, match="provider cuda: onnxruntime can't load its libraries; install"):
        sessions.open_session(b"", providers="cuda")
    with caplog.at_level(logging.WARNING):
        sessions.open_session(b"", providers="auto")
    assert caplog.records[0].message == "provider auto: runs on the CPU (cuda: libraries can't be loaded)"


def test_auto_takes_what_is_there(monkeypatch, caplog):
    monkeypatch.setattr(sessions, "_available", lambda: ["cpu", "cuda"])
    monkeypatch.setattr(sessions, "_session", lambda *given: Session([given[-1][0], "CPUExecutionProvider"]))
    assert sessions.open_session(b"", providers="auto").get_providers()[0] == "CUDAExecutionProvider"
    assert not caplog.records
