"""The page of examples/browser in a headless browser that reaches nothing but this process."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lilliput.errors import FetchError, LilliputError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
LIMIT_S = 600.0
LIBRARY = "node_modules/@huggingface/transformers/dist/transformers.min.js"

_POLICY = "default-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:"
"""Sent with every file: whatever the page would fetch from elsewhere fails."""


def ask(page: Path, modules: Path, bundle: Path, texts: Sequence[str]) -> dict[str, Any]:
    """What the page answers to each text: ``tokens`` and ``scores``; and ``browser``, its name.

    Args:
        page: folder of the page; ``modules`` and ``bundle`` are served as ``node_modules`` and ``bundle`` in it.

    Raises:
        FetchError: no browser is installed.
        LilliputError: the page failed, or did not answer in time.
    """
    spec = {"page": "index.html?dtype=fp32", "library": f"./{LIBRARY}", "texts": list(texts)}
    with served(page, modules, bundle, spec) as server, opened(f"{server.address}/drive.html"):
        if not server.done.wait(LIMIT_S):
            raise LilliputError(f"the page did not answer in {LIMIT_S:.0f} s")
    if server.failure is not None:
        raise LilliputError(f"the page failed: {server.failure}")
    return dict(server.answers)


class Server(ThreadingHTTPServer):
    """Files under a few names, and what the page sends back.

    Attributes:
        done: set when ``answers`` or ``failure`` is there.
    """

    daemon_threads = True

    def __init__(self, folders: Mapping[str, Path], spec: Mapping[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folders, self.spec = folders, spec
        self.done = threading.Event()
        self.answers: dict[str, Any] = {}
        self.failure: str | None = None

    @property
    def address(self) -> str:
        """Where it listens, on this machine only."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    extensions_map: dict[str, str] = {  # noqa: RUF012 - declared so in the standard library
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }
    server: Server

    def translate_path(self, path: str) -> str:
        """The file of a path: in the folder of its longest known beginning."""
        name = path.split("?")[0].lstrip("/")
        known = max((start for start in self.server.folders if name.startswith(start)), key=len)
        folder = self.server.folders[known].resolve()
        file = (folder / name.removeprefix(known).lstrip("/")).resolve() if folder.is_dir() else folder
        return str(file if file.is_relative_to(folder) else folder / "missing")

    def do_GET(self) -> None:
        """A file, or the questions."""
        if self.path == "/spec.json":
            self._reply(json.dumps(self.server.spec).encode())
        else:
            super().do_GET()

    def do_POST(self) -> None:
        """The answers, or why there are none."""
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/answers":
            self.server.answers = sent
        else:
            self.server.failure = sent
        self._reply(b"{}")
        self.server.done.set()

    def end_headers(self) -> None:
        """The policy goes with everything."""
        self.send_header("Content-Security-Policy", _POLICY)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def _reply(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def served(page: Path, modules: Path, bundle: Path, spec: Mapping[str, Any]) -> Iterator[Server]:
    """A server of the page, of its modules, of a bundle, and of the page that drives it."""
    here = Path(__file__).parent
    folders = {"": page, "node_modules/": modules, "bundle/": bundle, "drive.html": here / "drive.html"}
    with Server(folders, spec) as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.05), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def opened(address: str) -> Iterator[None]:
    """A headless browser with a fresh profile at an address; it finds no other host than this machine.

    Raises:
        FetchError: none is installed.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FetchError(f"no browser is installed: {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        flags = [
            *("--headless", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-background-networking"),
            *("--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
            *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
            f"--user-data-dir={profile}",
        ]
        process = subprocess.Popen(
            [browser, *flags, address], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)
