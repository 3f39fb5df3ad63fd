"""The reference: ASGI without a framework.

An ASGI application is one coroutine that gets a scope (request line and headers) and two channels,
`receive` and `send`. Idiomatic here: one coroutine a path, plain dicts as messages. What surprised:
nobody stops a handler whose client has left. The server only puts `http.disconnect` into `receive`,
so whoever waits or streams has to read that channel beside its work.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import parse_qsl

type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from ASGI, one token at a time."
READ_ONLY = {"allow": "GET, HEAD"}
STREAM_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        return await respond(scope, send, 405, headers=READ_ONLY)
    await respond(scope, send, 200, "Hello from ASGI (ASGI)!")


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        upgrade = {"connection": "upgrade", "upgrade": "websocket"}
        return await respond(scope, send, 426, headers=upgrade)
    await receive()  # websocket.connect
    headers = request_headers(scope)
    if not origin_is_allowed(headers.get("origin"), headers.get("host")):
        return await send({"type": "websocket.close"})  # closed before accepted: 403
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") is None:
            return await send({"type": "websocket.close", "code": 1003})
        await send({"type": "websocket.send", "text": f"echo: {message['text']}"})


def origin_is_allowed(origin: str | None, host: str | None) -> bool:
    own_origins = {f"http://{host}", f"https://{host}"}
    return origin is None or origin in own_origins | ALLOWED_ORIGINS


async def sse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        return await respond(scope, send, 405, headers=READ_ONLY)
    try:
        text, delay = read_query(query_params(scope))
    except ValueError as error:
        return await respond(scope, send, 400, str(error))
    tokens = tokenize(text)
    last_event_id = whole_number(request_headers(scope).get("last-event-id", ""))
    if last_event_id is not None and last_event_id >= len(tokens):
        return await respond(scope, send, 204)
    await send(response_start(200, STREAM_HEADERS))
    if scope["method"] == "HEAD":
        return await send({"type": "http.response.body"})
    events = token_events(tokens, last_event_id or 0, delay)
    await until_disconnect(receive, stream(send, events))


async def stream(send: Send, chunks: AsyncIterator[str]) -> None:
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
    await send({"type": "http.response.body"})


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


async def poll(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        return await respond(scope, send, 405, headers=READ_ONLY)
    query = query_params(scope)
    try:
        text, delay = read_query(query)
    except ValueError as error:
        return await respond(scope, send, 400, str(error))
    tokens = tokenize(text)
    after = whole_number(query.get("after", "0"))
    if after is None:
        return await respond(scope, send, 400, "after is not a whole number from 0")
    if after >= len(tokens):
        return await respond(scope, send, 204, headers={"cache-control": "no-store"})
    if after > 0:
        await until_disconnect(receive, asyncio.sleep(delay))
    answer = {"id": after + 1, "token": tokens[after], "done": after + 1 == len(tokens)}
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    await respond(scope, send, 200, json.dumps(answer), headers)


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


def query_params(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def request_headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def response_start(status: int, headers: Mapping[str, str]) -> dict[str, Any]:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


async def respond(
    scope: Scope, send: Send, status: int, body: str = "", headers: Mapping[str, str] = {}
) -> None:
    fields = dict(headers)
    if status != 204:
        fields.setdefault("content-type", "text/plain; charset=utf-8")
        fields["content-length"] = str(len(body.encode()))
    await send(response_start(status, fields))
    content = b"" if scope["method"] == "HEAD" else body.encode()
    await send({"type": "http.response.body", "body": content})


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        racers = {group.create_task(work), group.create_task(disconnected(receive))}
        await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
        for racer in racers:
            racer.cancel()


async def disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


ROUTES = {"/": hello, "/ws": echo, "/sse": sse, "/poll": poll}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] == "websocket" and scope["path"] != "/ws":
        return await send({"type": "websocket.close"})
    if scope["path"] not in ROUTES:
        return await respond(scope, send, 404, "Not Found")
    await ROUTES[scope["path"]](scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})
