"""The application: what is asked, what is refused, what is answered."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model
from starlette.requests import ClientDisconnect

from lilliput import __version__
from lilliput.errors import BundleError, ConfigError, InputError
from lilliput.runtime import RESERVED, Model
from lilliput.serving.desk import Closed, Desk, Late, Refused
from lilliput.serving.forms import fault_of
from lilliput.serving.metrics import Metrics

OVERHEAD = 2_000
"""Bytes of a request beside its texts."""

LARGE = 1 << 18
"""Bytes of a body that is parsed beside the event loop."""

FAULTS, WORDS = 5, 200
"""Faults of a request that are told, and characters of each."""

Next = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        texts: inputs of one request.
        characters: of each text of an input.
        queue: inputs that may wait or be worked on.
        timeout: seconds from arrival to answer.
        drain: seconds that requests get to finish when the server is stopped.
    """

    texts: int = 64
    characters: int = 20_000
    queue: int = 64
    timeout: float = 5.0
    drain: float = 10.0

    def bytes(self, parts: int) -> int:
        """Bytes that a request with ``parts`` texts an input may have: a character is up to 6 of them, escaped."""
        return OVERHEAD + self.texts * (parts * (6 * self.characters + 64))


def app(model: Model, limits: Limits | None = None) -> FastAPI:
    """The application that serves ``model``.

    POST /predict answers inputs, GET /model says what is served, /health/live and /health/ready are for whoever
    watches it, /metrics is for Prometheus, / is a page to try it, /docs the API.

    Mounted in another application, it needs nothing; to let requests finish when that one stops, have its lifespan
    await ``application.state.desk.drain(seconds)``.
    """
    limits = limits or Limits()
    desk = Desk(
        functools.partial(_answers, model),
        workers=model.workers,
        queue=limits.queue,
        timeout=limits.timeout,
    )
    metrics = Metrics(desk, model.manifest.name, model.task.name, model.precision)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        # Where the server closed the desk, it has waited for those under way already.
        await desk.drain(0.0 if desk.closed else limits.drain)

    application = FastAPI(
        title=f"{model.manifest.name}: {model.task.name}",
        version=__version__,
        description="Served by Lilliput.",
        lifespan=lifespan,
    )
    application.state.desk = desk
    application.add_exception_handler(RequestValidationError, _wrong)
    application.middleware("http")(_guard(limits, len(model.task.inputs), metrics))
    _add_answers(application, model, desk, limits, metrics)
    _add_facts(application, model, desk, limits, metrics)
    return application


def _answers(model: Model, inputs: Sequence[Any], options: dict[str, Any], go_on: Callable[[], bool]) -> list[Any]:
    """The answers to a request's inputs, one by one in this thread: others work on other requests."""
    if wrong := sorted(options.keys() & RESERVED):
        raise ConfigError(f"{wrong[0]}: not an option of {model.task.name}")
    items, _ = model.task.asked(list(inputs))
    found = []
    for number, item in enumerate(items):
        if not go_on():
            raise Late
        try:
            found += model.answers([item], model.predictions([item]), **options)
        except InputError as error:
            raise InputError(str(error).replace("item 0", f"item {number}", 1)) from None
    return found


def _guard(limits: Limits, parts: int, metrics: Metrics) -> Callable[[Request, Next], Awaitable[Response]]:
    """Refuses bodies that are too long, before they are read to the end, and counts what became of requests."""

    async def guard(request: Request, call: Next) -> Response:
        if request.method != "POST":
            return await call(request)
        start = time.perf_counter()
        response = await _bounded(request, call, limits, parts)
        metrics.requests.labels(str(response.status_code)).inc()
        if response.status_code == 200:
            metrics.seconds.observe(time.perf_counter() - start)
        return response

    return guard


async def _bounded(request: Request, call: Next, limits: Limits, parts: int) -> Response:
    """Reads a body of bounded length in bounded time, and looks at its form before it is described part by part."""
    most, body = limits.bytes(parts), bytearray()
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > most:
        return _error(413, f"the request has {int(said):,} bytes, at most {most:,} are taken")
    try:
        async with asyncio.timeout(limits.timeout):
            async for piece in request.stream():
                body += piece
                if len(body) > most:
                    return _error(413, f"the request has more than {most:,} bytes")
        parse = functools.partial(json.loads, body.decode("utf-8"))
        content = await asyncio.to_thread(parse) if len(body) > LARGE else parse()
    except TimeoutError:
        return _error(408, f"the request was not there within {limits.timeout:g} seconds", Connection="close")
    except ClientDisconnect:
        return _error(400, "the request ended early")
    except UnicodeDecodeError:
        return _error(400, "the request is not UTF-8 text")
    except (ValueError, RecursionError):
        return _error(400, "the request is not JSON")
    if fault := fault_of(content, limits.texts, parts):
        return _error(422, fault)
    request._body = bytes(body)  # Starlette's own place for a body that was read
    others = [header for header in request.scope["headers"] if header[0] != b"content-type"]
    request.scope["headers"] = [*others, (b"content-type", b"application/json")]  # it is, whatever was said
    return await call(request)


def _error(status: int, message: str, **headers: str) -> JSONResponse:
    return JSONResponse({"detail": message}, status, headers)


async def _wrong(_: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request and where; not what was sent, which may be no text that can be written."""
    assert isinstance(error, RequestValidationError)  # it is registered for these
    faults = [{"loc": fault["loc"], "msg": fault["msg"][:WORDS]} for fault in error.errors()[:FAULTS]]
    return JSONResponse({"detail": faults}, 422)


def _schema(model: Model, limits: Limits) -> type[BaseModel]:
    """The form of a request, for this task."""
    part = Annotated[str, Field(max_length=limits.characters)]
    names = model.task.inputs
    needed = names if model.task.both else names[:1]
    fields: dict[str, Any] = {name: (part, ...) if name in needed else (part | None, None) for name in names}
    one = create_model("Input", __config__=ConfigDict(extra="forbid"), **fields)
    several: Any = Annotated[list[part | one], Field(min_length=1, max_length=limits.texts)]
    request = create_model(
        "Request",
        __config__=ConfigDict(extra="forbid"),
        inputs=(part | one | several, Field(description="an input, or a list of them")),
        options=(
            dict[str, Any],
            Field(default_factory=dict, description="of the task, such as top_k", max_length=8),
        ),
    )
    return request


def _add_answers(application: FastAPI, model: Model, desk: Desk, limits: Limits, metrics: Metrics) -> None:
    form = _schema(model, limits)

    async def predict(body: Any) -> Any:
        single = not isinstance(body.inputs, list)
        given = [body.inputs] if single else body.inputs
        inputs = [item if isinstance(item, str) else item.model_dump(exclude_none=True) for item in given]
        try:
            answers = await desk.ask(inputs, body.options)
        except Refused as refused:
            seconds = str(math.ceil(refused.retry_after))
            raise HTTPException(429, "too many requests at the moment", {"Retry-After": seconds}) from None
        except Closed:
            raise HTTPException(503, "the server is about to stop", {"Connection": "close"}) from None
        except Late:
            raise HTTPException(504, f"no answer within {limits.timeout:g} seconds") from None
        except (InputError, ConfigError) as error:
            raise HTTPException(422, ascii(str(error))[1:-1][:WORDS]) from None
        except BundleError as error:
            raise HTTPException(500, str(error)) from None
        metrics.texts.inc(len(inputs))
        return {"answers": answers[0] if single else answers, "model": model.manifest.name}

    predict.__annotations__["body"] = Annotated[form, Body()]
    responses: dict[int | str, dict[str, Any]] = {
        413: {"description": "the request is too long"},
        429: {"description": "too many requests; come again after Retry-After seconds"},
        503: {"description": "the server is about to stop"},
        504: {"description": "no answer in time"},
    }
    application.post("/predict", summary="Answer inputs", responses=responses)(predict)


def _add_facts(application: FastAPI, model: Model, desk: Desk, limits: Limits, metrics: Metrics) -> None:
    @application.get("/model", summary="What is served")
    async def facts() -> dict[str, Any]:
        manifest = model.manifest
        return {
            "name": manifest.name,
            "task": model.task.name,
            "inputs": model.task.inputs,
            "labels": model.labels,
            "precision": model.precision,
            "max_length": manifest.max_length,
            "parameters": manifest.parameters,
            "limits": {"texts": limits.texts, "characters": limits.characters, "timeout": limits.timeout},
        }

    @application.get("/health/live", summary="The process is alive")
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @application.get("/health/ready", summary="Requests are taken")
    async def ready() -> Response:
        return _error(503, "the server is about to stop") if desk.closed else JSONResponse({"status": "ready"})

    @application.get("/metrics", include_in_schema=False)
    async def numbers() -> Response:
        text, kind = metrics.text()
        return Response(text, headers={"Content-Type": kind})

    @application.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        headers = {
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src "
            "'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'"
        }
        return HTMLResponse((files("lilliput.serving") / "page.html").read_text(encoding="utf-8"), headers=headers)
