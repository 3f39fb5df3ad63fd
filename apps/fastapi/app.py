"""FastAPI: path operations with typed parameters.

Idiomatic here: annotations validate, a model is the JSON, a path operation that yields is the
stream. What surprised: HEAD is 405 unless `api_route` asks for it; `data=` writes JSON, `raw_data=`
the text itself; the built-in ping waits 15 s, a private constant, so pings are yielded; the status
is sent before a stream's first line runs, so a dependency answers 204; Pydantic takes "1.0" for an
integer, so `whole_number` looks first.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

from fastapi import (
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
    Response,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import PlainTextResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, BeforeValidator

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from FastAPI, one token at a time."
NO_STORE = {"cache-control": "no-store"}

app = FastAPI()


@app.api_route("/", methods=["GET", "HEAD"], response_class=PlainTextResponse)
async def hello() -> str:
    return "Hello from FastAPI (ASGI)!"


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    if not origin_is_allowed(websocket.headers.get("origin"), websocket.headers.get("host")):
        return await websocket.close()  # closed before accepted: 403
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        while (message := await websocket.receive())["type"] == "websocket.receive":
            if message.get("text") is None:
                return await websocket.close(1003)
            await websocket.send_text(f"echo: {message['text']}")


def origin_is_allowed(origin: str | None, host: str | None) -> bool:
    own_origins = {f"http://{host}", f"https://{host}"}
    return origin is None or origin in own_origins | ALLOWED_ORIGINS


def whole_number(value: str) -> int | None:
    return int(value) if re.fullmatch("[0-9]{1,4000}", value) else None


Text = Annotated[str, Query(max_length=1000)]
Delay = Annotated[float, Query(ge=0, le=60, allow_inf_nan=False)]
After = Annotated[int, BeforeValidator(whole_number), Query()]
LastEventID = Annotated[int | None, BeforeValidator(whole_number), Header()]


def stop_at_the_end(text: Text = DEFAULT_TEXT, last_event_id: LastEventID = None) -> None:
    if last_event_id is not None and last_event_id >= len(tokenize(text)):
        raise HTTPException(204)


@app.get("/sse", response_class=EventSourceResponse, dependencies=[Depends(stop_at_the_end)])
async def sse(
    text: Text = DEFAULT_TEXT, delay: Delay = 0.05, last_event_id: LastEventID = None
) -> AsyncIterator[ServerSentEvent]:
    tokens = tokenize(text)
    sent = last_event_id or 0
    for number, token in enumerate(tokens[sent:], start=sent + 1):
        if number > 1:
            async for ping in pause(delay):
                yield ping
        yield ServerSentEvent(raw_data=token, event="token", id=str(number))
    yield ServerSentEvent(raw_data=str(len(tokens)), event="done")


async def pause(delay: float) -> AsyncIterator[ServerSentEvent]:
    while delay > PING_INTERVAL:
        await asyncio.sleep(PING_INTERVAL)
        delay -= PING_INTERVAL
        yield ServerSentEvent(comment="ping")
    await asyncio.sleep(delay)


class Token(BaseModel):
    id: int
    token: str
    done: bool


@app.get("/poll")
async def poll(
    response: Response, text: Text = DEFAULT_TEXT, after: After = 0, delay: Delay = 0.05
) -> Token:
    tokens = tokenize(text)
    if after >= len(tokens):
        raise HTTPException(204, headers=NO_STORE)
    if after > 0:
        await asyncio.sleep(delay)
    response.headers.update(NO_STORE)
    return Token(id=after + 1, token=tokens[after], done=after + 1 == len(tokens))


def tokenize(text: str) -> list[str]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.findall(r"[^ \t\n]+[ \t\n]*|[ \t\n]+", text)
