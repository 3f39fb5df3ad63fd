"""Air: FastAPI's typed parameters, for pages.

Idiomatic here: `@app.get`, where a str would become a page, and a generator in an `SSEResponse`.
What surprised: Air has no WebSocket API and points to the FastAPI app inside; `SSEResponse` writes
`event: message` before each string, splits it at U+2028 and loses its last line feed, so events are
bytes; unlike in FastAPI a GET route answers HEAD, which runs the generator; Pydantic takes "1.0"
for an integer, so `whole_number` looks first; only a stream is told that its client has left, so
`until_disconnect`.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, Any

import air
import httpx2 as httpx
from air.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi import Depends, Header, WebSocket, WebSocketDisconnect
from pydantic import BeforeValidator
from starlette.requests import ClientDisconnect

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from Air, one token at a time."
NO_STORE = {"cache-control": "no-store"}
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

UPSTREAM_API_KEY = os.environ.get("UPSTREAM_API_KEY")
UPSTREAM_TIMEOUT = float(os.environ.get("UPSTREAM_TIMEOUT", "60"))
BODY_LIMIT = 1024 * 1024
EVENT_LIMIT = 16 * BODY_LIMIT  # an image comes as one event, in base64
KEPT_HEADERS = ("content-type", "retry-after", "x-request-id")

# One for all clients, who must not feel each other: by default the upstream's cookies go from one
# to the next, and the 101st waits for another to end. What httpx calls a time-out also ends a
# silence in mid-stream, and trust_env can add an Authorization of its own, from a .netrc.
upstream = httpx.AsyncClient(
    base_url=os.environ.get("UPSTREAM_BASE_URL", "http://127.0.0.1:9000/v1"),
    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    limits=httpx.Limits(max_connections=None),
    timeout=None,
    trust_env=False,
)

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


async def exit_stack() -> AsyncIterator[AsyncExitStack]:
    """What it holds is closed when the response is through, sent or not."""
    async with AsyncExitStack() as exits:
        yield exits


Exits = Annotated[AsyncExitStack, Depends(exit_stack)]


@app.post("/v1/chat/completions")
async def chat(request: air.Request, exits: Exits) -> Response:
    body = await read_body(request)
    if len(body) > BODY_LIMIT:
        return respond_error(413, "the body is over 1 MiB")
    try:
        messages = read_object(body).get("messages")
    except ValueError as error:
        return respond_error(400, f"the body is not JSON: {error}")
    if not isinstance(messages, list):
        return respond_error(400, "messages is not a list")
    work = relay(request, exits, "POST", "/chat/completions", body)
    return await until_disconnect(request, work)


@app.get("/v1/models")
async def models(request: air.Request, exits: Exits) -> Response:
    return await until_disconnect(request, relay(request, exits, "GET", "/models"))


async def relay(
    request: air.Request, exits: AsyncExitStack, method: str, path: str, body: bytes = b""
) -> Response:
    headers = {b"content-type": b"application/json"} if body else {}
    if UPSTREAM_API_KEY:
        headers[b"authorization"] = f"Bearer {UPSTREAM_API_KEY}".encode()
    elif authorization := dict(request.headers.raw).get(b"authorization"):
        headers[b"authorization"] = authorization
    answer = upstream.stream(method, path, content=body, headers=headers)
    try:
        async with asyncio.timeout(UPSTREAM_TIMEOUT):
            response = await exits.enter_async_context(answer)
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if response.is_success and media_type == "text/event-stream":
            events = with_pings(completion_events(response))
            return StreamingResponse(events, headers=STREAM_HEADERS, media_type="text/event-stream")
        await response.aread()
    except TimeoutError:
        return respond_error(504, "the upstream did not answer in time")
    except httpx.HTTPError as error:
        return respond_error(502, f"the upstream failed: {error}")
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return Response(response.content, response.status_code, kept)


async def completion_events(response: httpx.Response) -> AsyncIterator[str]:
    """Yield the upstream's events, then [DONE], or an error where the upstream did not finish."""
    finished = False
    try:
        async for event in httpx.EventSource(response, max_event_size=EVENT_LIMIT):
            if event.data == "[DONE]":
                finished = True
                break
            if event.data:  # not a lone id or retry
                chunk = read_object(event.data)
                yield f"data: {event.data.replace('\n', ' ')}\n\n"
                if chunk.get("error"):
                    return
                choices = chunk.get("choices") or ()
                finished |= any(choice.get("finish_reason") for choice in choices)
        if not finished:
            raise ValueError("it ended too early")
    except (httpx.HTTPError, ValueError) as error:
        yield f"data: {error_json(f'the upstream failed: {error}', 502)}\n\n"
    else:
        yield "data: [DONE]\n\n"


async def with_pings(events: AsyncIterator[str]) -> AsyncIterator[str]:
    while True:
        # Not wait_for(), which would cancel anext() when it is late, and so end the generator.
        upcoming = asyncio.ensure_future(anext(events, None))
        try:
            while not (await asyncio.wait({upcoming}, timeout=PING_INTERVAL))[0]:
                yield ": ping\n\n"
        finally:
            upcoming.cancel()
        if (event := upcoming.result()) is None:
            return
        yield event


def read_object(text: str | bytes) -> dict[str, Any]:
    match json.loads(text):
        case dict() as value:
            return value
    raise ValueError("not an object")


async def read_body(request: air.Request) -> bytes:
    """Return the body of the request, or as much of it as shows that it is too long."""
    body = b""
    with suppress(ClientDisconnect):
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY_LIMIT:
                break
    return body


def tokenize(text: str) -> list[str]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.findall(r"[^ \t\n]+[ \t\n]*|[ \t\n]+", text)


def respond_error(status: int, message: str) -> Response:
    return Response(error_json(message, status), status, media_type="application/json")


def error_json(message: str, status: int) -> str:
    kind = "invalid_request_error" if status < 500 else "upstream_error"
    error = {"message": message, "type": kind, "code": None, "param": None}
    return json.dumps({"error": error})


async def until_disconnect(request: air.Request, work: Coroutine[Any, Any, Response]) -> Response:
    async with asyncio.TaskGroup() as group:
        working = group.create_task(work)
        racers = {working, group.create_task(disconnected(request))}
        await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
        for racer in racers:
            racer.cancel()
    gone = Response(status_code=499)  # which nobody gets
    return gone if working.cancelled() else working.result()


async def disconnected(request: air.Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
