# mypy: disable-error-code="import-untyped,untyped-decorator,no-any-return"
# FastHTML ships neither types nor a py.typed, so all that comes from it is Any.
"""FastHTML: Starlette with decorators; a handler returns what becomes the response.

Idiomatic here: `@app.get`, a dict as JSON beside an `HttpHeader`, a generator in an `EventStream`.
What surprised: `@rt` also answers POST; typed parameters are looked for in cookies and header
fields before the query, and a bad one is 404, so the query is read by hand; `app.ws` speaks JSON
and accepts any Origin; `sse_message` has no id; HEAD runs the generator; without a `secret_key`
FastHTML writes a `.sesskey` into the working directory.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from fasthtml.common import (
    EventStream,
    FastHTML,
    HTTPException,
    HttpHeader,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
    WebSocketRoute,
)

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from FastHTML, one token at a time."
NO_STORE = {"cache-control": "no-store"}
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

app = FastHTML(sess_cls=None, secret_key="unused")


@app.get("/")
async def hello() -> Response:
    return Response("Hello from FastHTML (ASGI)!", media_type="text/plain")


async def echo(websocket: WebSocket) -> None:
    if not origin_is_allowed(websocket.headers.get("origin"), websocket.headers.get("host")):
        return await websocket.close()  # closed before accepted: 403
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        while (message := await websocket.receive())["type"] == "websocket.receive":
            if message.get("text") is None:
                return await websocket.close(1003)
            await websocket.send_text(f"echo: {message['text']}")


app.routes.append(WebSocketRoute("/ws", echo))


def origin_is_allowed(origin: str | None, host: str | None) -> bool:
    own_origins = {f"http://{host}", f"https://{host}"}
    return origin is None or origin in own_origins | ALLOWED_ORIGINS


@app.get("/sse")
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
    response = EventStream([] if request.method == "HEAD" else events)
    response.headers.update(STREAM_HEADERS)
    return response


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


@app.get("/poll")
async def poll(request: Request) -> Any:
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
    return answer, HttpHeader("cache-control", "no-store")


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
