"""FastAPI: path operations with typed parameters.

Idiomatic here: annotations validate, a model is the JSON, a path operation that yields is the
stream. What surprised: HEAD is 405 unless `api_route` asks for it; `data=` writes JSON, `raw_data=`
the text itself; the built-in ping waits 15 s, a private constant, so pings are yielded; the status
is sent before a stream's first line runs, so a dependency answers 204; Pydantic takes "1.0" for an
integer, so `whole_number` looks first; only a stream is told that its client has left, so
`until_disconnect`; and the built-in stream keeps its generator, and what that reads from, when the
client leaves while a send waits (fastapi 0.165.0), so chat is a plain `StreamingResponse`.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, Any

import httpx2 as httpx
from fastapi import (
    Depends,
    FastAPI,
    Header,
    HTTPException,
    Query,
    Request,
    Response,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, BeforeValidator
from starlette.requests import ClientDisconnect

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from FastAPI, one token at a time."
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


async def exit_stack() -> AsyncIterator[AsyncExitStack]:
    """What it holds is closed when the response is through, sent or not."""
    async with AsyncExitStack() as exits:
        yield exits


Exits = Annotated[AsyncExitStack, Depends(exit_stack)]


@app.post("/v1/chat/completions")
async def chat(request: Request, exits: Exits) -> Response:
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


@app.api_route("/v1/models", methods=["GET", "HEAD"])
async def models(request: Request, exits: Exits) -> Response:
    return await until_disconnect(request, relay(request, exits, "GET", "/models"))


async def relay(
    request: Request, exits: AsyncExitStack, method: str, path: str, body: bytes = b""
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
