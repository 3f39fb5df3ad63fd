"""Starlette: a table of routes to functions from request to response.

Idiomatic here: `Route` and `WebSocketRoute`, `JSONResponse`, a generator in a `StreamingResponse`,
which cancels it when the client leaves. What surprised: HEAD runs the generator of a GET route to
its end unless the handler looks; `iter_text()` fails with a KeyError on binary, so the loop reads
whole messages; a reply to a client that has just left raises, and unhandled it fills the log.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from Starlette, one token at a time."
NO_STORE = {"cache-control": "no-store"}
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Hello from Starlette (ASGI)!")


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


async def sse(request: Request) -> Response:
    try:
        text, delay = read_query(request.query_params)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    tokens = tokenize(text)
    last_event_id = whole_number(request.headers.get("last-event-id", ""))
    if last_event_id is not None and last_event_id >= len(tokens):
        return Response(status_code=204)
    events = token_events(tokens, last_event_id or 0, delay)
    return StreamingResponse(
        [] if request.method == "HEAD" else events,
        headers=STREAM_HEADERS,
        media_type="text/event-stream",
    )


async def token_events(tokens: list[str], sent: int, delay: float) -> AsyncIterator[str]:
    for number, token in enumerate(tokens[sent:], start=sent + 1):
        if number > 1:
            async for ping in pause(delay):
                yield ping
        yield f"id: {number}\n" + event("token", token)
    yield event("done", str(len(tokens)))


async def pause(delay: float) -> AsyncIterator[str]:
    while delay > PING_INTERVAL:
        await asyncio.sleep(PING_INTERVAL)
        delay -= PING_INTERVAL
        yield ": ping\n\n"
    await asyncio.sleep(delay)


def event(name: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\n{lines}\n"


async def poll(request: Request) -> Response:
    try:
        text, delay = read_query(request.query_params)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    tokens = tokenize(text)
    after = whole_number(request.query_params.get("after", "0"))
    if after is None:
        raise HTTPException(400, "after is not a whole number from 0")
    if after >= len(tokens):
        return Response(status_code=204, headers=NO_STORE)
    if after > 0:
        await asyncio.sleep(delay)
    answer = {"id": after + 1, "token": tokens[after], "done": after + 1 == len(tokens)}
    return JSONResponse(answer, headers=NO_STORE)


def tokenize(text: str) -> list[str]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.findall(r"[^ \t\n]+[ \t\n]*|[ \t\n]+", text)


def read_query(query: Mapping[str, str]) -> tuple[str, float]:
    text = query.get("text", DEFAULT_TEXT)
    delay = float(query.get("delay", "0.05"))
    if len(text) > 1000:
        raise ValueError("text is longer than 1000 characters")
    if not 0 <= delay <= 60:  # NaN fails it too
        raise ValueError("delay is not a number from 0 to 60")
    return text, delay


def whole_number(value: str) -> int | None:
    return int(value) if re.fullmatch("[0-9]{1,4000}", value) else None


app = Starlette(
    routes=[
        Route("/", hello),
        WebSocketRoute("/ws", echo),
        Route("/sse", sse),
        Route("/poll", poll),
    ]
)
