"""Django, with Channels for the WebSocket.

Idiomatic here: settings, a table of paths, decorators for the methods, an async generator in a
`StreamingHttpResponse` (a plain one would be read to its end first); a client that leaves cancels
its view. What surprised: a body is read whole, if need be to disk, before any view runs; Django's
middleware takes a response to a thread and, if the client leaves meanwhile, never closes it, so
there is none here, and no Content-Length; and Channels has no 404, so the last route denies, while
its AllowedHostsOriginValidator ignores ports and denies clients without Origin, so `connect` looks.
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
from asgiref.sync import async_to_sync
from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path, re_path
from django.views.decorators.http import require_POST, require_safe

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from Django, one token at a time."
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


settings.configure(ROOT_URLCONF=__name__)


@require_safe
async def hello(request: HttpRequest) -> HttpResponse:
    return HttpResponse("Hello from Django (ASGI)!", content_type="text/plain; charset=utf-8")


class Echo(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        headers = {name: value.decode("latin-1") for name, value in self.scope["headers"]}
        if not origin_is_allowed(headers.get(b"origin"), headers.get(b"host")):
            raise DenyConnection  # closed before accepted: 403
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data is None:
            return await self.close(1003)
        await self.send(f"echo: {text_data}")


def origin_is_allowed(origin: str | None, host: str | None) -> bool:
    own_origins = {f"http://{host}", f"https://{host}"}
    return origin is None or origin in own_origins | ALLOWED_ORIGINS


@require_safe
async def sse(request: HttpRequest) -> HttpResponseBase:
    try:
        text, delay = read_query(request.GET)
    except ValueError as error:
        return HttpResponse(str(error), status=400, content_type="text/plain")
    tokens = tokenize(text)
    last_event_id = whole_number(request.headers.get("Last-Event-ID", ""))
    if last_event_id is not None and last_event_id >= len(tokens):
        return HttpResponse(status=204)
    events = token_events(tokens, last_event_id or 0, delay)
    return StreamingHttpResponse(
        [] if request.method == "HEAD" else events,
        headers=STREAM_HEADERS,
        content_type="text/event-stream",
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


@require_safe
async def poll(request: HttpRequest) -> HttpResponse:
    try:
        text, delay = read_query(request.GET)
    except ValueError as error:
        return HttpResponse(str(error), status=400, content_type="text/plain")
    tokens = tokenize(text)
    after = whole_number(request.GET.get("after", "0"))
    if after is None:
        return HttpResponse(
            "after is not a whole number from 0", status=400, content_type="text/plain"
        )
    if after >= len(tokens):
        return HttpResponse(status=204, headers=NO_STORE)
    if after > 0:
        await asyncio.sleep(delay)
    answer = {"id": after + 1, "token": tokens[after], "done": after + 1 == len(tokens)}
    return JsonResponse(answer, headers=NO_STORE)


@require_POST
async def chat(request: HttpRequest) -> HttpResponseBase:
    body = request.read(BODY_LIMIT + 1)
    if len(body) > BODY_LIMIT:
        return respond_error(413, "the body is over 1 MiB")
    try:
        messages = read_object(body).get("messages")
    except ValueError as error:
        return respond_error(400, f"the body is not JSON: {error}")
    if not isinstance(messages, list):
        return respond_error(400, "messages is not a list")
    return await relay(request, "POST", "/chat/completions", body)


@require_safe
async def models(request: HttpRequest) -> HttpResponseBase:
    return await relay(request, "GET", "/models")


async def relay(
    request: HttpRequest, method: str, path: str, body: bytes = b""
) -> HttpResponseBase:
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
            return RelayedStream(response)
        async with aclosing(response):
            await response.aread()
    except TimeoutError:
        return respond_error(504, "the upstream did not answer in time")
    except httpx.HTTPError as error:
        return respond_error(502, f"the upstream failed: {error}")
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return HttpResponse(
        response.content, status=response.status_code, headers={"content-type": "text/plain"} | kept
    )


class RelayedStream(StreamingHttpResponse):
    """Closes the upstream however it ends."""

    def __init__(self, response: httpx.Response) -> None:
        events = with_pings(completion_events(response))
        super().__init__(events, headers=STREAM_HEADERS, content_type="text/event-stream")
        self.response = response

    def close(self) -> None:
        super().close()  # in a thread, from which async_to_sync() leads back to the loop
        async_to_sync(self.response.aclose)()


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


def respond_error(status: int, message: str) -> HttpResponse:
    return HttpResponse(error_json(message, status), status=status, content_type="application/json")


def error_json(message: str, status: int) -> str:
    kind = "invalid_request_error" if status < 500 else "upstream_error"
    error = {"message": message, "type": kind, "code": None, "param": None}
    return json.dumps({"error": error})


urlpatterns = [
    path("", hello),
    path("sse", sse),
    path("poll", poll),
    path("v1/chat/completions", chat),
    path("v1/models", models),
]
websocket_urlpatterns: list[Any] = [
    path("ws", Echo.as_asgi()),  # type: ignore[arg-type]  # is not for Django's resolver
    re_path("", WebsocketDenier.as_asgi()),  # type: ignore[arg-type]  # nor is this
]

app = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter(websocket_urlpatterns)}
)
