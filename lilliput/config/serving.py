"""Configuration of ``lilliput serve``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from lilliput.config.base import Config


class ServeConfig(Config):
    """``lilliput serve``: a bundle behind HTTP."""

    command: ClassVar[str] = "serve"

    model: str = Field(min_length=1, description="folder of a bundle, or Hub id")
    revision: str | None = None
    precision: str | None = Field(None, description="int8 by default where it is shipped, else fp32")
    provider: str = Field("cpu", description="cpu, cuda, tensorrt, openvino, coreml, directml, or auto")
    threads: int = Field(1, ge=1, le=1024, description="threads that work on one text")
    workers: int | None = Field(None, ge=1, le=1024, description="texts at a time; usable cores // threads by default")
    host: str = Field("127.0.0.1", min_length=1)
    port: int = Field(8000, ge=0, le=65535, description="0 takes a free one")
    queue: int = Field(64, ge=1, le=100_000, description="texts that may wait; more are refused with 429")
    timeout: float = Field(5.0, gt=0, le=3600, description="seconds that a request may take")
    delay: float = Field(0.005, ge=0, le=3600, description="seconds that a text may wait under lasting overload")
    max_texts: int = Field(64, ge=1, le=10_000, description="texts of one request")
    max_characters: int = Field(20_000, ge=1, le=10_000_000, description="characters of one text")
    drain: float = Field(10.0, ge=0, le=600, description="seconds that requests get to finish when it is stopped")
