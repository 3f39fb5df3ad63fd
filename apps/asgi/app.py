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
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import parse_qsl

import httpx2 as httpx

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


async def chat(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] != "POST":
        return await respond(scope, send, 405, headers={"allow": "POST"})
    body = await read_body(receive)
    if len(body) > BODY_LIMIT:
        return await respond_error(scope, send, 413, "the body is over 1 MiB")
    try:
        messages = read_object(body).get("messages")
    except ValueError as error:
        return await respond_error(scope, send, 400, f"the body is not JSON: {error}")
    if not isinstance(messages, list):
        return await respond_error(scope, send, 400, "messages is not a list")
    await until_disconnect(receive, relay(scope, send, "POST", "/chat/completions", body))


async def models(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        return await respond(scope, send, 405, headers=READ_ONLY)
    await until_disconnect(receive, relay(scope, send, "GET", "/models"))


async def relay(scope: Scope, send: Send, method: str, path: str, body: bytes = b"") -> None:
    headers = {b"content-type": b"application/json"} if body else {}
    if UPSTREAM_API_KEY:
        headers[b"authorization"] = f"Bearer {UPSTREAM_API_KEY}".encode()
    elif authorization := dict(scope["headers"]).get(b"authorization"):
        headers[b"authorization"] = authorization
    try:
        async with (
            asyncio.timeout(UPSTREAM_TIMEOUT) as patience,
            upstream.stream(method, path, content=body, headers=headers) as response,
        ):
            patience.reschedule(None)  # its headers are there
            media_type = response.headers.get("content-type", "").partition(";")[0]
            if response.is_success and media_type == "text/event-stream":
                await send(response_start(response.status_code, STREAM_HEADERS))
                return await stream(send, with_pings(completion_events(response)))
            await response.aread()
    except TimeoutError:
        return await respond_error(scope, send, 504, "the upstream did not answer in time")
    except httpx.HTTPError as error:
        return await respond_error(scope, send, 502, f"the upstream failed: {error}")
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    await respond(scope, send, response.status_code, response.text, kept)


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


async def read_body(receive: Receive) -> bytes:
    """Return the body of the request, or as much of it as shows that it is too long."""
    body = b""
    more = True
    while more and len(body) <= BODY_LIMIT:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
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


async def respond_error(scope: Scope, send: Send, status: int, message: str) -> None:
    headers = {"content-type": "application/json"}
    await respond(scope, send, status, error_json(message, status), headers)


def error_json(message: str, status: int) -> str:
    kind = "invalid_request_error" if status < 500 else "upstream_error"
    error = {"message": message, "type": kind, "code": None, "param": None}
    return json.dumps({"error": error})


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
ROUTES |= {"/v1/chat/completions": chat, "/v1/models": models}


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
