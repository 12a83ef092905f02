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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lilliput import runtime
from lilliput.benchmarks import pieces
from lilliput.errors import LilliputError

CLIENTS, CAPACITY_S, IDLE_S, OVERLOAD = 8, 5.0, 10.0, 4.0
CONNECTIONS = 500
"""Open at a time; what would need more is not sent, and counted."""
RECOVERED_S = 5.0
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


class Client:
    """Sends texts over a pool of kept connections."""

    def __init__(self, port: int, expected: dict[str, Any]) -> None:
        self.port, self.expected = port, expected
        self.free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, text: str, seen: Seen, due: float | None = None) -> None:
        """One request, and what became of it; its time counts from when it was due."""
        body = json.dumps({"inputs": text}).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        start = time.perf_counter() if due is None else due
        try:
            reader, writer = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(head + body)
            status, answer = await _reply(reader)
            self.free.append((reader, writer))
        except (OSError, ValueError, asyncio.IncompleteReadError):
            seen.lost += 1
            return
        taken = time.perf_counter() - start
        if status == 200:
            seen.accepted.append(taken)
            seen.wrong += answer["answers"] != self.expected[text]
        elif status in (429, 504):
            seen.refused.append(taken)
        else:
            seen.lost += 1

    async def capacity(self, seconds: float) -> float:
        """Answers a second to clients that wait for them."""
        seen, end = Seen(), time.perf_counter() + seconds

        async def one() -> None:
            while time.perf_counter() < end:
                await self.ask(random.choice(TEXTS), seen)

        await asyncio.gather(*(one() for _ in range(CLIENTS)))
        return len(seen.accepted) / seconds

    async def arrivals(self, rate: float, seconds: float, seed: int) -> Seen:
        """Texts that come at random times, ``rate`` a second in the mean."""
        draw, seen = random.Random(seed), Seen()
        asked: set[asyncio.Task[None]] = set()
        start, due = time.perf_counter(), 0.0
        while due < seconds:
            due += draw.expovariate(rate)
            pause = start + due - time.perf_counter()
            if pause > 0:
                await asyncio.sleep(pause)
            if len(asked) >= CONNECTIONS:
                seen.unsent += 1
                continue
            task = asyncio.create_task(self.ask(draw.choice(TEXTS), seen, start + due))
            asked.add(task)
            task.add_done_callback(asked.discard)
        await asyncio.gather(*asked)
        return seen


async def _reply(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
    if length is None:
        raise ValueError("no length")
    return int(head.split(" ", 2)[1]), json.loads(await reader.readexactly(int(length[1])))


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
            found = asyncio.run(phases(port, expected, seconds))
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
