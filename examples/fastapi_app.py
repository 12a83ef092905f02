"""A bundle inside an app of one's own: `BUNDLE=bundles/small uvicorn --app-dir examples fastapi_app:app`.

Needs the extras `[cpu,serve]`. `/sentiment/predict` is Lilliput's API with its limits and metrics, `/sentiment/` its
page; `/reviews` is the app's own, and calls the model in the event loop's threads.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

import lilliput
from lilliput.errors import InputError
from lilliput.serving import Limits
from lilliput.serving import app as serving

model = lilliput.load(os.environ["BUNDLE"])
mounted = serving(model, Limits(queue=32, timeout=2.0))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Lets requests to the mounted part finish when the app stops."""
    yield
    await mounted.state.desk.drain(10)


app = FastAPI(title="Reviews", lifespan=lifespan)
app.mount("/sentiment", mounted)


class Review(BaseModel):
    """What a visitor sends."""

    title: str = Field(max_length=200)
    text: str = Field(max_length=5000)


@app.post("/reviews")
async def review(sent: Review) -> dict[str, object]:
    """Keep a review with its label."""
    try:
        (answer,) = await model.ask(f"{sent.title}. {sent.text}")
    except InputError as error:
        raise HTTPException(422, str(error)) from None
    return {"title": sent.title, "label": answer["label"], "sure": answer["score"] > 0.9}
