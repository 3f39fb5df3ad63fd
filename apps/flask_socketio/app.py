"""Flask, with Flask-SocketIO, whose sockets are not the Web's.

Idiomatic here: an event a function, as there is a view a path; `send` answers whoever the event is
from. What surprised: it speaks Socket.IO, a protocol of its own that begins by long polling at
`/socket.io/`, so only clients of that can talk to it and a plain WebSocket at `/ws` is not to be
had; and to list the Origins that are allowed is to forbid the app's own, so a function decides.
The rest is `../flask`.
"""

import json
import os
import re
import select
import socket
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from wsgiref.types import WSGIEnvironment

import httpx2 as httpx
from flask import Flask, Response, abort, request
from flask.typing import ResponseReturnValue
from flask_socketio import SocketIO, send  # type: ignore[import-untyped]  # has no types

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
LOOK_INTERVAL = min(0.25, PING_INTERVAL)  # how often a silent stream looks for its client
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
DEFAULT_TEXT = "Hello from Flask-SocketIO, one token at a time."
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

UPSTREAM_API_KEY = os.environ.get("UPSTREAM_API_KEY")
UPSTREAM_TIMEOUT = float(os.environ.get("UPSTREAM_TIMEOUT", "60"))
BODY_LIMIT = 1024 * 1024
EVENT_LIMIT = 16 * BODY_LIMIT  # an image comes as one event, in base64
KEPT_HEADERS = ("content-type", "retry-after", "x-request-id")

# One for all clients, who must not feel each other: by default the upstream's cookies go from one
# to the next, and the 101st waits for another to end. trust_env can add an Authorization of its
# own, from a .netrc.
upstream = httpx.Client(
    base_url=os.environ.get("UPSTREAM_BASE_URL", "http://127.0.0.1:9000/v1"),
    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    limits=httpx.Limits(max_connections=None),
    timeout=UPSTREAM_TIMEOUT,
    trust_env=False,
)

app = Flask(__name__)
socketio = SocketIO(
    app,
    async_mode="threading",
    cors_allowed_origins=lambda origin, environ: origin_is_allowed(
        origin, environ.get("HTTP_HOST")
    ),
)


@app.get("/")
def hello() -> Response:
    return Response("Hello from Flask-SocketIO (WSGI)!", mimetype="text/plain")


@socketio.on("message")  # type: ignore[untyped-decorator]  # Flask-SocketIO has no types
def echo(message: str) -> None:
    send(f"echo: {message}")


def origin_is_allowed(origin: str | None, host: str | None) -> bool:
    own_origins = {f"http://{host}", f"https://{host}"}
    return origin is None or origin in own_origins | ALLOWED_ORIGINS


@app.get("/sse")
def sse() -> ResponseReturnValue:
    try:
        text, delay = read_query(request.args)
    except ValueError as error:
        abort(400, str(error))
    tokens = tokenize(text)
    last_event_id = whole_number(request.headers.get("Last-Event-ID", ""))
    if last_event_id is not None and last_event_id >= len(tokens):
        return "", 204
    events = token_events(tokens, last_event_id or 0, delay)
    return Response(events, mimetype="text/event-stream", headers=STREAM_HEADERS)


def token_events(tokens: list[str], sent: int, delay: float) -> Iterator[str]:
    yield ": open\n\n"  # WSGI sends the headers with the first piece of body, so do not let it wait
    for number, token in enumerate(tokens[sent:], start=sent + 1):
        if number > 1:
            yield from pause(delay)
        yield f"id: {number}\n" + event("token", token)
    yield event("done", str(len(tokens)))


def pause(delay: float) -> Iterator[str]:
    while delay > PING_INTERVAL:
        time.sleep(PING_INTERVAL)
        delay -= PING_INTERVAL
        yield ": ping\n\n"
    time.sleep(delay)


def event(name: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\n{lines}\n"


@app.get("/poll")
def poll() -> ResponseReturnValue:
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
        time.sleep(delay)
    answer = {"id": after + 1, "token": tokens[after], "done": after + 1 == len(tokens)}
    return answer, {"cache-control": "no-store"}


@app.post("/v1/chat/completions")
def chat() -> Response:
    body = request.stream.read(BODY_LIMIT + 1)  # max_content_length just cuts a chunked body off
    if len(body) > BODY_LIMIT:
        return respond_error(413, "the body is over 1 MiB")
    try:
        messages = read_object(body).get("messages")
    except ValueError as error:
        return respond_error(400, f"the body is not JSON: {error}")
    if not isinstance(messages, list):
        return respond_error(400, "messages is not a list")
    return relay("POST", "/chat/completions", body)


@app.get("/v1/models")
def models() -> Response:
    return relay("GET", "/models")


def relay(method: str, path: str, body: bytes = b"") -> Response:
    headers = {b"content-type": b"application/json"} if body else {}
    if UPSTREAM_API_KEY:
        headers[b"authorization"] = f"Bearer {UPSTREAM_API_KEY}".encode()
    elif authorization := request.headers.get("Authorization"):
        headers[b"authorization"] = authorization.encode("latin-1")
    try:
        with ExitStack() as exits:
            response = exits.enter_context(
                upstream.stream(method, path, content=body, headers=headers)
            )
            response.request.extensions["timeout"]["read"] = None  # its headers are there
            media_type = response.headers.get("content-type", "").partition(";")[0]
            if response.is_success and media_type == "text/event-stream":
                events = with_pings(response, request.environ)
                answer = Response(events, mimetype="text/event-stream", headers=STREAM_HEADERS)
                answer.call_on_close(exits.pop_all().close)
                return answer
            response.read()
    except httpx.TimeoutException:
        return respond_error(504, "the upstream did not answer in time")
    except httpx.HTTPError as error:
        return respond_error(502, f"the upstream failed: {error}")
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return Response(response.text, response.status_code, {"content-type": "text/plain"} | kept)


def completion_events(response: httpx.Response) -> Generator[str]:
    """Yield the upstream's events, then [DONE], or an error where the upstream did not finish."""
    finished = False
    try:
        for event in httpx.EventSource(response, max_event_size=EVENT_LIMIT):
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


def with_pings(response: httpx.Response, environ: WSGIEnvironment) -> Iterator[str]:
    """Read the upstream in a second thread, so that this one can ping, and see the client leave."""
    yield ": open\n\n"  # with it the headers leave, as in token_events()
    with closing(completion_events(response)) as events, ThreadPoolExecutor(1) as reader:
        try:
            while True:
                upcoming = reader.submit(next, events, None)
                ping_due = time.monotonic() + PING_INTERVAL
                while not wait({upcoming}, timeout=LOOK_INTERVAL).done:
                    if has_left(environ):
                        return
                    if time.monotonic() >= ping_due:
                        ping_due += PING_INTERVAL
                        yield ": ping\n\n"
                if (event := upcoming.result()) is None:
                    return
                yield event
        finally:
            hang_up(response)


def has_left(environ: WSGIEnvironment) -> bool:
    """Look at the client's socket. WSGI does not know it, but gunicorn and Werkzeug show theirs."""
    client = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if client is None:
        return False
    poll = select.poll()
    poll.register(client, getattr(select, "POLLRDHUP", select.POLLHUP))  # the former is Linux's
    return bool(poll.poll(0))


def hang_up(response: httpx.Response) -> None:
    """End the upstream's connection, and a read in another thread, which close() would not."""
    with suppress(OSError):  # it has ended already
        response.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)


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


def respond_error(status: int, message: str) -> Response:
    return Response(error_json(message, status), status, mimetype="application/json")


def error_json(message: str, status: int) -> str:
    kind = "invalid_request_error" if status < 500 else "upstream_error"
    error = {"message": message, "type": kind, "code": None, "param": None}
    return json.dumps({"error": error})
