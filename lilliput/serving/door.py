"""What every POST request passes first: those that can't be answered are sent away, bodies are read within bounds.

Plain ASGI: under overload most requests come no further, and each must cost the event loop next to nothing.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lilliput.serving.desk import DELAY, Desk, Refused
from lilliput.serving.forms import fault_of
from lilliput.serving.metrics import Metrics

ANSWERS, BUSY = "/predict", "too many requests at the moment"

OVERHEAD = 2_000
"""Bytes of a request beside its texts."""

LARGE = 1 << 18
"""Bytes of a body that is parsed beside the event loop."""

SENT_AWAY = json.dumps({"detail": BUSY}).encode()
PLAIN = [(b"content-type", b"application/json"), (b"content-length", str(len(SENT_AWAY)).encode())]


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        texts: inputs of one request.
        characters: of each text of an input.
        queue: inputs that may wait or be worked on.
        timeout: seconds from arrival to answer.
        delay: seconds that an input may wait where more have come for some time than can be answered.
        drain: seconds that requests get to finish when the server is stopped.
    """

    texts: int = 64
    characters: int = 20_000
    queue: int = 64
    timeout: float = 5.0
    delay: float = DELAY
    drain: float = 10.0

    def bytes(self, parts: int) -> int:
        """Bytes that a request with ``parts`` texts an input may have: a character is up to 6 of them, escaped."""
        return OVERHEAD + self.texts * (parts * (6 * self.characters + 64))


class Door:
    """In front of an application.

    Args:
        parts: texts of an input.
    """

    def __init__(self, application: ASGIApp, desk: Desk, limits: Limits, parts: int, metrics: Metrics) -> None:
        self.application, self.desk, self.limits, self.metrics = application, desk, limits, metrics
        self.parts, self.most = parts, limits.bytes(parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self.application(scope, receive, send)
            return
        # Perhaps it is mounted in another application.
        if self.desk.closed or scope["path"].removeprefix(scope.get("root_path", "")) != ANSWERS:
            await self._counted(scope, receive, send)
            return
        try:
            self.desk.enter()
        except Refused as refused:
            self.metrics.requests.labels("429").inc()
            headers = [*PLAIN, (b"retry-after", refused.headers["Retry-After"].encode())]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            await send({"type": "http.response.body", "body": SENT_AWAY})
            return
        try:
            await self._counted(scope, receive, send)
        finally:
            self.desk.leave()

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what becomes of a request, and how long that takes."""
        start, status = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._bounded(scope, receive, noting)
        finally:
            self.metrics.requests.labels(str(status)).inc()
            if status == 200:
                self.metrics.seconds.observe(time.perf_counter() - start)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read a body of bounded length in bounded time, and look at its form before it is described part by part."""
        said = dict(scope["headers"]).get(b"content-length", b"")
        if said.isdigit() and int(said) > self.most:
            reply = error(413, f"the request has {int(said):,} bytes, at most {self.most:,} are taken")
            await reply(scope, receive, send)
            return
        found = await self._body(receive)
        if isinstance(found, JSONResponse):
            await found(scope, receive, send)
            return
        others = [header for header in scope["headers"] if header[0] != b"content-type"]
        scope["headers"] = [*others, (b"content-type", b"application/json")]  # it is, whatever was said
        again = iter([{"type": "http.request", "body": found, "more_body": False}])

        async def replay() -> Message:
            return next(again, None) or await receive()

        await self.application(scope, replay, send)

    async def _body(self, receive: Receive) -> bytes | JSONResponse:
        """The body of a request; a reply where it can't be one that is answered."""
        body, more = bytearray(), True
        try:
            async with asyncio.timeout(self.limits.timeout):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return error(400, "the request ended early")
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self.most:
                        return error(413, f"the request has more than {self.most:,} bytes")
            parse = functools.partial(json.loads, body.decode("utf-8"))
            content = await asyncio.to_thread(parse) if len(body) > LARGE else parse()
        except TimeoutError:
            said = f"the request was not there within {self.limits.timeout:g} seconds"
            return error(408, said, Connection="close")
        except UnicodeDecodeError:
            return error(400, "the request is not UTF-8 text")
        except (ValueError, RecursionError):
            return error(400, "the request is not JSON")
        if fault := fault_of(content, self.limits.texts, self.parts):
            return error(422, fault)
        return bytes(body)


def error(status: int, message: Any, **headers: str) -> JSONResponse:
    """A reply that says what is wrong."""
    return JSONResponse({"detail": message}, status, headers)
