"""Quart: Flask's views as coroutines.

Idiomatic here: one view a path, `abort` for errors, also before a handshake, an async generator as
the body of a stream; a client that leaves cancels its view, whatever that awaits. What surprised:
RESPONSE_TIMEOUT cuts every response after 60 s, so a stream says `timeout = None`; messages of a
socket queue without a bound, so the buffer gets one; HEAD runs the generator of a GET route to its
end unless the view looks; and an empty binary message is a KeyError before any view sees it.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2 as httpx
from quart import Quart, Response, abort, request, websocket
from quart.typing import ResponseReturnValue
from quart.wrappers.websocket import Buffer

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from Quart, one token at a time."
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


class BoundedBuffer(Buffer):
    def __init__(self) -> None:
        self._queue = asyncio.Queue(maxsize=16)


app = Quart(__name__)
app.config["MAX_CONTENT_LENGTH"] = None  # chat has a limit of its own, and tells it in JSON
app.websocket_class.buffer_class = BoundedBuffer


@app.get("/")
async def hello() -> Response:
    return Response("Hello from Quart (ASGI)!", mimetype="text/plain")


@app.websocket("/ws")
async def echo() -> None:
    if not origin_is_allowed(websocket.origin, websocket.headers.get("Host")):
        abort(403)
    while isinstance(message := await websocket.receive(), str):
        await websocket.send(f"echo: {message}")
    await websocket.close(1003)


def origin_is_allowed(origin: str | None, host: str | None) -> bool:
    own_origins = {f"http://{host}", f"https://{host}"}
    return origin is None or origin in own_origins | ALLOWED_ORIGINS


@app.get("/sse")
async def sse() -> ResponseReturnValue:
    try:
        text, delay = read_query(request.args)
    except ValueError as error:
        abort(400, str(error))
    tokens = tokenize(text)
    last_event_id = whole_number(request.headers.get("Last-Event-ID", ""))
    if last_event_id is not None and last_event_id >= len(tokens):
        return "", 204
    events = token_events(tokens, last_event_id or 0, delay)
    return event_stream([] if request.method == "HEAD" else events)


def event_stream(events: AsyncIterator[str] | list[str]) -> Response:
    response = Response(events, mimetype="text/event-stream", headers=STREAM_HEADERS)
    response.timeout = None
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
async def poll() -> ResponseReturnValue:
    try:
        text, delay = read_query(request.args)
    except ValueError as error:
        abort(400, str(error))
    tokens = tokenize(text)
    after = whole_number(request.args.get("after", "0"))
    if after is None:
        abort(400, "after is not a whole number from 0")
    if after >= len(tokens):
        return "", 204, {"cache-control": "no-store"}
    if after > 0:
        await asyncio.sleep(delay)
    answer = {"id": after + 1, "token": tokens[after], "done": after + 1 == len(tokens)}
    return answer, {"cache-control": "no-store"}


@app.post("/v1/chat/completions")
async def chat() -> Response:
    body = await read_body()
    if len(body) > BODY_LIMIT:
        return respond_error(413, "the body is over 1 MiB")
    try:
        messages = read_object(body).get("messages")
    except ValueError as error:
        return respond_error(400, f"the body is not JSON: {error}")
    if not isinstance(messages, list):
        return respond_error(400, "messages is not a list")
    return await relay("POST", "/chat/completions", body)


@app.get("/v1/models")
async def models() -> Response:
    return await relay("GET", "/models")


async def relay(method: str, path: str, body: bytes = b"") -> Response:
    headers = {b"content-type": b"application/json"} if body else {}
    if UPSTREAM_API_KEY:
        headers[b"authorization"] = f"Bearer {UPSTREAM_API_KEY}".encode()
    elif authorization := request.headers.get("Authorization"):
        headers[b"authorization"] = authorization.encode("latin-1")
    question = upstream.build_request(method, path, content=body, headers=headers)
    try:
        async with asyncio.timeout(UPSTREAM_TIMEOUT):
            response = await upstream.send(question, stream=True)
        media_type = response.headers.get("content-type", "").partition(";")[0]
        if response.is_success and media_type == "text/event-stream":
            return event_stream(relayed(response))
        async with aclosing(response):
            await response.aread()
    except TimeoutError:
        return respond_error(504, "the upstream did not answer in time")
    except httpx.HTTPError as error:
        return respond_error(502, f"the upstream failed: {error}")
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return Response(response.content, response.status_code, {"content-type": "text/plain"} | kept)


async def relayed(response: httpx.Response) -> AsyncIterator[str]:
    async with aclosing(response):  # also where the client leaves
        async for event in with_pings(completion_events(response)):
            yield event


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


async def read_body() -> bytes:
    """Return the body of the request, or as much of it as shows that it is too long."""
    body = b""
    async for chunk in request.body:
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
    return Response(error_json(message, status), status, mimetype="application/json")


def error_json(message: str, status: int) -> str:
    kind = "invalid_request_error" if status < 500 else "upstream_error"
    error = {"message": message, "type": kind, "code": None, "param": None}
    return json.dumps({"error": error})
