# mypy: disable-error-code="import-untyped,untyped-decorator,no-any-return"
# FastHTML ships neither types nor a py.typed, so all that comes from it is Any.
"""FastHTML: Starlette with decorators; a handler returns what becomes the response.

Idiomatic here: `@app.get`, a dict as JSON beside an `HttpHeader`, a generator in an `EventStream`.
What surprised: `@rt` also answers POST; typed parameters are looked for in cookies and header
fields before the query, and a bad one is 404, so the query is read by hand; `app.ws` speaks JSON
and accepts any Origin; `sse_message` has no id; HEAD runs the generator; without a `secret_key`
FastHTML writes a `.sesskey` into the working directory; before it calls a handler it reads the body
into memory, however long, and refuses bad JSON in plain text, so chat is a `Route` of Starlette's;
only a stream is told that its client has left, so `until_disconnect`.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import aclosing, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2 as httpx
from fasthtml.common import (
    EventStream,
    FastHTML,
    HTTPException,
    HttpHeader,
    Request,
    Response,
    Route,
    WebSocket,
    WebSocketDisconnect,
    WebSocketRoute,
)
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from FastHTML, one token at a time."
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


async def chat(request: Request) -> Response:
    body = await read_body(request)
    if len(body) > BODY_LIMIT:
        return respond_error(413, "the body is over 1 MiB")
    try:
        messages = read_object(body).get("messages")
    except ValueError as error:
        return respond_error(400, f"the body is not JSON: {error}")
    if not isinstance(messages, list):
        return respond_error(400, "messages is not a list")
    return await until_disconnect(request, relay(request, "POST", "/chat/completions", body))


app.routes.append(Route("/v1/chat/completions", chat, methods=["POST"]))


@app.get("/v1/models")
async def models(request: Request) -> Response:
    return await until_disconnect(request, relay(request, "GET", "/models"))


async def relay(request: Request, method: str, path: str, body: bytes = b"") -> Response:
    headers = {b"content-type": b"application/json"} if body else {}
    if UPSTREAM_API_KEY:
        headers[b"authorization"] = f"Bearer {UPSTREAM_API_KEY}".encode()
    elif authorization := dict(request.headers.raw).get(b"authorization"):
        headers[b"authorization"] = authorization
    question = upstream.build_request(method, path, content=body, headers=headers)
    try:
        async with asyncio.timeout(UPSTREAM_TIMEOUT):
            response = await upstream.send(question, stream=True)
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if response.is_success and media_type == "text/event-stream":
            return RelayedStream(response)
        async with aclosing(response):
            await response.aread()
    except TimeoutError:
        return respond_error(504, "the upstream did not answer in time")
    except httpx.HTTPError as error:
        return respond_error(502, f"the upstream failed: {error}")
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return Response(response.content, response.status_code, kept)


class RelayedStream(StreamingResponse):
    """Closes the upstream however it ends, also by an error, where a BackgroundTask is not run."""

    def __init__(self, response: httpx.Response) -> None:
        events = with_pings(completion_events(response))
        super().__init__(events, headers=STREAM_HEADERS, media_type="text/event-stream")
        self.response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.response):
            await super().__call__(scope, receive, send)


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


async def read_body(request: Request) -> bytes:
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


def respond_error(status: int, message: str) -> Response:
    return Response(error_json(message, status), status, media_type="application/json")


def error_json(message: str, status: int) -> str:
    kind = "invalid_request_error" if status < 500 else "upstream_error"
    error = {"message": message, "type": kind, "code": None, "param": None}
    return json.dumps({"error": error})


async def until_disconnect(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    async with asyncio.TaskGroup() as group:
        working = group.create_task(work)
        racers = {working, group.create_task(disconnected(request))}
        await asyncio.wait(racers, return_when=asyncio.FIRST_COMPLETED)
        for racer in racers:
            racer.cancel()
    gone = Response(status_code=499)  # which nobody gets
    return gone if working.cancelled() else working.result()


async def disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
