"""The command serve."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from lilliput.errors import MissingDependencyError
from lilliput.flags import ConfigFile, Revision
from lilliput.shell import flags_of

_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "pydantic", "yaml")


def serve(
    model: Annotated[str, typer.Argument(help="Folder of a bundle, or Hub id.")],
    revision: Revision = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, int8 or another that is shipped; int8 by default where it is.")
    ] = None,
    provider: Annotated[
        str | None, typer.Option(help="cpu, cuda, tensorrt, openvino, coreml, directml, or auto.")
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads that work on one text.")] = None,
    workers: Annotated[int | None, typer.Option(help="Requests at a time; usable cores / threads by default.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    queue: Annotated[int | None, typer.Option(help="Texts that may wait; more are refused with 429.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds that a request may take.")] = None,
    delay: Annotated[float | None, typer.Option(help="Seconds that a text may wait under lasting overload.")] = None,
    max_texts: Annotated[int | None, typer.Option(help="Texts of one request.")] = None,
    max_characters: Annotated[int | None, typer.Option(help="Characters of one text.")] = None,
    drain: Annotated[float | None, typer.Option(help="Seconds that requests get to finish at the end.")] = None,
    config: ConfigFile = None,
) -> None:
    """Serve a bundle over HTTP: JSON API, metrics, and a page to try it. Ctrl-C or SIGTERM lets requests finish.

    Example: `lilliput serve runs/demo/bundles/student-l2 --port 8000`
    """
    flags = flags_of(locals())
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise MissingDependencyError(
            f"{', '.join(missing)} not installed: pip install '.[cpu,serve]' in Lilliput's folder"
        )
    from lilliput.config import ServeConfig, build
    from lilliput.serving.server import serve as run

    run(build(ServeConfig, config, **flags), lambda address: typer.echo(f"serving on {address}"))
