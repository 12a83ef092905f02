"""The process: a bundle is loaded, uvicorn runs the application, SIGTERM lets requests finish."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI

from lilliput import runtime
from lilliput.config.serving import ServeConfig
from lilliput.errors import ConfigError
from lilliput.serving.app import Limits, app
from lilliput.serving.crew import Processes

BACKLOG = 2048


def serve(config: ServeConfig, say: Callable[[str], None]) -> None:
    """Serve until the process is told to stop.

    Args:
        say: told the address when requests are taken.

    Raises:
        ConfigError: the address can't be listened on.
        BundleError, MissingDependencyError: the bundle can't be used.
    """
    settings: dict[str, Any] = {
        "bundle": config.model,
        "precision": config.precision,
        "threads": config.threads,
        "providers": config.provider.split(",") if "," in config.provider else config.provider,
        "revision": config.revision,
    }
    model = runtime.load(**settings, workers=config.workers)
    limits = Limits(config.max_texts, config.max_characters, config.queue, config.timeout, config.delay, config.drain)
    listening = _listen(config)
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    crew = Processes(settings, model.workers)
    crew.start()
    server = _Server(app(model, limits, crew), config, f"http://{shown}:{port}", say)
    # Uvicorn handles the signal, and raises it once more when it is done: there is something to do after that.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with listening:
            server.run(sockets=[listening])
    finally:
        crew.close()


class _Server(uvicorn.Server):
    """Says when it takes requests; stops taking new ones at the first signal."""

    def __init__(self, application: FastAPI, config: ServeConfig, address: str, say: Callable[[str], None]) -> None:
        super().__init__(uvicorn.Config(application, **_settings(config)))
        self._desk, self._address, self._say = application.state.desk, address, say

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._say(self._address)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._desk.closed = True
        super().handle_exit(sig, frame)


def _settings(config: ServeConfig) -> dict[str, Any]:
    return {
        "log_level": "warning",
        "access_log": False,
        "backlog": BACKLOG,
        "timeout_keep_alive": 30,
        "timeout_graceful_shutdown": max(1, round(config.drain)),
        "server_header": False,
        "h11_max_incomplete_event_size": 64 * 1024,
    }


def _listen(config: ServeConfig) -> socket.socket:
    try:
        family = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0][0]
        # The protocol is named so that asyncio turns Nagle's algorithm off: replies go out in two pieces.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((config.host, config.port))
        listening.listen(BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"--host {config.host} --port {config.port}: can't be listened on: {error.strerror or error}; choose "
            "another port, or 0 for a free one"
        ) from None
    return listening
