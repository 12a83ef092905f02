"""The application: what is asked, what is refused, what is answered."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from concurrent.futures import BrokenExecutor
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import Body, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, create_model

from lilliput import __version__
from lilliput.errors import BundleError, ConfigError, InputError
from lilliput.runtime import Model
from lilliput.serving.crew import Crew, Late, Threads, answers
from lilliput.serving.desk import Closed, Desk, Refused
from lilliput.serving.door import ANSWERS, BUSY, Door, Limits, error
from lilliput.serving.metrics import Metrics

FAULTS, WORDS = 5, 200
"""Faults of a request that are told, and characters of each."""


def app(model: Model, limits: Limits | None = None, crew: Crew | None = None) -> FastAPI:
    """The application that serves ``model``.

    Args:
        crew: those who answer; as many threads as the model has workers, by default.

    POST /predict answers inputs, GET /model says what is served, /health/live and /health/ready are for whoever
    watches it, /metrics is for Prometheus, / is a page to try it, /openapi.json describes the API.

    Mounted in another application, it needs nothing; to let requests finish when that one stops, have its lifespan
    await ``application.state.desk.drain(seconds)``.
    """
    limits = limits or Limits()
    crew = crew or Threads(functools.partial(answers, model), model.workers)
    desk = Desk(crew, queue=limits.queue, timeout=limits.timeout, delay=limits.delay)
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
        docs_url=None,  # FastAPI's pages load their scripts from elsewhere
        redoc_url=None,
    )
    application.state.desk = desk
    application.add_exception_handler(RequestValidationError, _wrong)
    application.add_middleware(Door, desk=desk, limits=limits, parts=len(model.task.inputs), metrics=metrics)
    _add_answers(application, model, desk, limits, metrics)
    _add_facts(application, model, desk, limits, metrics)
    return application


async def _wrong(_: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request and where; not what was sent, which may be no text that can be written."""
    assert isinstance(error, RequestValidationError)  # it is registered for these
    faults = [{"loc": fault["loc"], "msg": fault["msg"][:WORDS]} for fault in error.errors()[:FAULTS]]
    return JSONResponse({"detail": faults}, 422)


class Reply(BaseModel):
    """What POST /predict answers."""

    answers: Any = Field(description="the answer to an input, or a list of them, as the runtime gives it")
    model: str = Field(description="name of the bundle")


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
            found = await desk.ask(inputs, body.options)
        except Refused as refused:
            raise HTTPException(429, BUSY, refused.headers) from None
        except Closed:
            raise HTTPException(503, "the server is about to stop", {"Connection": "close"}) from None
        except BrokenExecutor:
            desk.closed = True  # whoever watches /health/ready starts it again
            raise HTTPException(503, "a process of the server has ended", {"Connection": "close"}) from None
        except Late:
            raise HTTPException(504, f"no answer within {limits.timeout:g} seconds") from None
        except (InputError, ConfigError) as error:
            raise HTTPException(422, ascii(str(error))[1:-1][:WORDS]) from None
        except BundleError as error:
            raise HTTPException(500, str(error)) from None
        metrics.texts.inc(len(inputs))
        return JSONResponse({"answers": found[0] if single else found, "model": model.manifest.name})

    predict.__annotations__["body"] = Annotated[form, Body()]
    responses: dict[int | str, dict[str, Any]] = {
        200: {"model": Reply},
        413: {"description": "the request is too long"},
        429: {"description": "too many requests; come again after Retry-After seconds"},
        503: {"description": "the server is about to stop"},
        504: {"description": "no answer in time"},
    }
    application.post(ANSWERS, summary="Answer inputs", responses=responses)(predict)


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
        return error(503, "the server is about to stop") if desk.closed else JSONResponse({"status": "ready"})

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
