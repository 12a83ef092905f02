"""A server under four times the load that it can bear: ``python -m lilliput.benchmarks.serving.overload BUNDLE``.

A server is started; a client in a process of its own sends texts, each on its own schedule whether or not others were
answered (Poisson arrivals): first at a tenth of what the server can do, then at four times that, then at a tenth again.
What the server can do is measured before, by clients that wait for their answers. Every reply is compared with the
answer that its text must get.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lilliput import runtime
from lilliput.benchmarks import pieces
from lilliput.errors import LilliputError

CLIENTS, CAPACITY_S, IDLE_S, OVERLOAD = 4, 5.0, 10.0, 4.0
CONNECTIONS = 500
"""Open at a time; what would need more is not sent, and counted."""
RECOVERED_S = 5.0
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
TEXTS = (
    "a joy from start to finish",
    "awful",
    "it is not one of the films that stay with you for long",
    "good, not great",
)


@dataclass
class Seen:
    """Replies of one phase: seconds of those that were answered and of those that were refused, and what went wrong."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    unsent: int = 0
    wrong: int = 0
    lost: int = 0

    def facts(self) -> dict[str, Any]:
        """As JSON has it: percentiles in milliseconds."""
        return {
            "accepted": len(self.accepted),
            "refused": len(self.refused),
            "unsent": self.unsent,
            "wrong": self.wrong,
            "lost": self.lost,
            "accepted_p50_ms": percentile(self.accepted, 50),
            "accepted_p99_ms": percentile(self.accepted, 99),
            "refused_p99_ms": percentile(self.refused, 99),
        }


def percentile(seconds: Sequence[float], which: float) -> float | None:
    """In milliseconds; None of nothing."""
    return 1000 * float(np.percentile(seconds, which)) if seconds else None


@dataclass(frozen=True)
class Asked:
    """A request under way: its text, when it was due, and where its reply is told."""

    text: str
    due: float
    seen: Seen
    done: asyncio.Future[None] | None = None


class Connection(asyncio.Protocol):
    """One kept connection, which carries one request at a time.

    A client of streams and tasks takes as long for a request as the server does: what would be measured is the client.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.asked = client, None
        self.transport: asyncio.Transport | None = None
        self.received = b""

    asked: Asked | None

    def connection_made(self, transport: Any) -> None:
        """Asyncio has opened it."""
        self.transport = transport

    def ask(self, asked: Asked) -> None:
        """Send a request."""
        assert self.transport is not None
        self.asked, self.received = asked, b""
        self.transport.write(self.client.requests[asked.text])

    def data_received(self, data: bytes) -> None:
        """A part of a reply, or all of it."""
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        length = LENGTH.search(head)
        if length is None or len(body) > int(length[1]):
            self.end(None, b"")
        elif len(body) == int(length[1]):
            self.end(int(head.split(b" ", 2)[1]), body)

    def connection_lost(self, error: Exception | None) -> None:
        """The server has closed it."""
        self.transport = None
        if self in self.client.free:  # it was idle for longer than the server keeps connections
            self.client.free.remove(self)
            self.client.open -= 1
        self.end(None, b"")

    def end(self, status: int | None, body: bytes) -> None:
        """Note a reply, or that there is none, and be free."""
        asked, self.asked = self.asked, None
        if asked is None:
            return
        self.client.note(asked, status, body)
        if status is not None and self.transport is not None:
            self.client.free.append(self)
        else:
            self.client.open -= 1
        if asked.done is not None:
            asked.done.set_result(None)


class Client:
    """Sends texts over a pool of kept connections."""

    def __init__(self, port: int, expected: dict[str, Any]) -> None:
        self.port, self.expected = port, expected
        self.free: list[Connection] = []
        self.open = 0
        self.requests = {text: _request(text) for text in expected}

    async def connect(self, count: int) -> None:
        """Have at least ``count`` connections."""
        loop = asyncio.get_running_loop()
        while self.open < count:
            _, made = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
            self.open += 1
            self.free.append(made)

    def note(self, asked: Asked, status: int | None, body: bytes) -> None:
        """Count what became of a request; its time counts from when it was due."""
        taken, seen = time.perf_counter() - asked.due, asked.seen
        if status == 200:
            seen.accepted.append(taken)
            seen.wrong += json.loads(body)["answers"] != self.expected[asked.text]
        elif status in (429, 504):
            seen.refused.append(taken)
        else:
            seen.lost += 1

    async def capacity(self, seconds: float) -> float:
        """Answers a second to clients that wait for them."""
        seen, loop = Seen(), asyncio.get_running_loop()
        await self.connect(CLIENTS)
        end = time.perf_counter() + seconds

        async def one() -> None:
            while time.perf_counter() < end:
                done = loop.create_future()
                self.free.pop().ask(Asked(random.choice(TEXTS), time.perf_counter(), seen, done))
                await done

        await asyncio.gather(*(one() for _ in range(CLIENTS)))
        return len(seen.accepted) / seconds

    async def arrivals(self, rate: float, seconds: float, seed: int) -> Seen:
        """Texts that come at random times, ``rate`` a second in the mean."""
        draw, seen = random.Random(seed), Seen()
        await self.connect(CONNECTIONS)
        start, due = time.perf_counter(), 0.0
        while due < seconds:
            due += draw.expovariate(rate)
            pause = start + due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            if not self.free and self.open < CONNECTIONS:
                await self.connect(self.open + 1)
            if self.free:
                self.free.pop().ask(Asked(draw.choice(TEXTS), start + due, seen))
            else:
                seen.unsent += 1
                await asyncio.sleep(0)  # replies must be read even where this is late
        while len(self.free) < self.open:
            await asyncio.sleep(0.01)
        return seen


def _request(text: str) -> bytes:
    body = json.dumps({"inputs": text}).encode()
    return f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def phases(port: int, expected: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Capacity, idle, overload, and idle again."""
    client = Client(port, expected)
    rate = await client.capacity(CAPACITY_S)
    idle = await client.arrivals(rate / 10, IDLE_S, 1)
    over = await client.arrivals(OVERLOAD * rate, seconds, 2)
    begun = time.perf_counter()
    after = Seen()
    while time.perf_counter() - begun < RECOVERED_S:
        after = await client.arrivals(rate / 10, 1.0, 3)
        if not after.refused and (percentile(after.accepted, 50) or 1e9) < 2 * (percentile(idle.accepted, 50) or 0):
            break
    return {
        "capacity_per_s": rate,
        "idle": idle.facts(),
        "overload": over.facts(),
        "after": after.facts(),
        "recovery_s": time.perf_counter() - begun,
    }


def _run(phases: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """On the fastest event loop that is installed: the client must not be what is measured."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(phases)
    return uvloop.run(phases)


def main(
    bundle: Annotated[Path, typer.Argument(help="A bundle for classification.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the figure goes.")],
    seconds: Annotated[float, typer.Option(help="Of overload.")] = 120.0,
) -> None:
    """Serve, overload, and write the piece."""
    command = [sys.executable, "-m", "lilliput", "serve", str(bundle), "--port", "0"]
    try:
        model = runtime.load(bundle)
        expected = {text: model(text)[0] for text in TEXTS}
    except LilliputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rpartition(":")[2])
            found = _run(phases(port, expected, seconds))
        finally:
            server.terminate()
    if any(found[phase]["lost"] or found[phase]["wrong"] for phase in ("idle", "overload", "after")):
        typer.echo(f"error: replies were lost or wrong: {json.dumps(found)}", err=True)
        raise typer.Exit(2)
    ratio = found["overload"]["accepted_p99_ms"] / found["idle"]["accepted_p99_ms"]
    figure = pieces.Figure("export.serve_p99_ratio", ratio, "times", None, found["overload"]["accepted"])
    pieces.write(out, [figure], bundle=model.manifest.name, seconds=seconds, **found)
    typer.echo(json.dumps(found, indent=1))
    typer.echo(f"accepted p99 under overload over idle: {ratio:.2f}")


if __name__ == "__main__":
    typer.run(main)
