"""Air: FastAPI's typed parameters, for pages.

Idiomatic here: `@app.get`, where a str would become a page, and a generator in an `SSEResponse`.
What surprised: Air has no WebSocket API and points to the FastAPI app inside; `SSEResponse` writes
`event: message` before each string, splits it at U+2028 and loses its last line feed, so events are
bytes; unlike in FastAPI a GET route answers HEAD, which runs the generator; Pydantic takes "1.0"
for an integer, so `whole_number` looks first.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated

import air
from air.responses import JSONResponse, PlainTextResponse, Response
from fastapi import Header, WebSocket, WebSocketDisconnect
from pydantic import BeforeValidator

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from Air, one token at a time."
NO_STORE = {"cache-control": "no-store"}
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

app = air.Air()


@app.get("/")
async def hello() -> PlainTextResponse:
    return PlainTextResponse("Hello from Air (ASGI)!")


@app.fastapi_app.websocket("/ws")
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


Text = Annotated[str, air.Query(max_length=1000)]
Delay = Annotated[float, air.Query(ge=0, le=60, allow_inf_nan=False)]
After = Annotated[int, BeforeValidator(whole_number), air.Query()]
LastEventID = Annotated[int | None, BeforeValidator(whole_number), Header()]


@app.get("/sse")
async def sse(
    request: air.Request,
    text: Text = DEFAULT_TEXT,
    delay: Delay = 0.05,
    last_event_id: LastEventID = None,
) -> Response:
    tokens = tokenize(text)
    if last_event_id is not None and last_event_id >= len(tokens):
        return Response(status_code=204)
    events = token_events(tokens, last_event_id or 0, delay)
    return air.SSEResponse([] if request.method == "HEAD" else events, headers=STREAM_HEADERS)


async def token_events(tokens: list[str], sent: int, delay: float) -> AsyncIterator[bytes]:
    for number, token in enumerate(tokens[sent:], start=sent + 1):
        if number > 1:
            async for ping in pause(delay):
                yield ping
        yield b"id: %d\n" % number + event("token", token)
    yield event("done", str(len(tokens)))


async def pause(delay: float) -> AsyncIterator[bytes]:
    while delay > PING_INTERVAL:
        await asyncio.sleep(PING_INTERVAL)
        delay -= PING_INTERVAL
        yield b": ping\n\n"
    await asyncio.sleep(delay)


def event(name: str, data: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\n{lines}\n".encode()


@app.get("/poll")
async def poll(text: Text = DEFAULT_TEXT, after: After = 0, delay: Delay = 0.05) -> Response:
    tokens = tokenize(text)
    if after >= len(tokens):
        return Response(status_code=204, headers=NO_STORE)
    if after > 0:
        await asyncio.sleep(delay)
    answer = {"id": after + 1, "token": tokens[after], "done": after + 1 == len(tokens)}
    return JSONResponse(answer, headers=NO_STORE)


def tokenize(text: str) -> list[str]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.findall(r"[^ \t\n]+[ \t\n]*|[ \t\n]+", text)
