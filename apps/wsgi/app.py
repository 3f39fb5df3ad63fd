"""WSGI without a framework.

A WSGI application is one function that gets the request as a dict, hands status and headers to
`start_response` and returns the body as an iterable of bytes. Idiomatic here: one function a path,
a generator for a stream. What surprised: headers leave with the first piece of body, so a stream
that starts with silence says something first; and only a failing write tells that a client left,
so the pings free its thread. The relay asks the client's socket besides, where the server shows it,
because what a model says to nobody is paid for; see ../flask/NOTES.md for what that does not mend.
"""

import json
import os
import re
import select
import socket
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from http.client import responses
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIEnvironment

import httpx2 as httpx

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
LOOK_INTERVAL = min(0.25, PING_INTERVAL)  # how often a silent stream looks for its client
DEFAULT_TEXT = "Hello from WSGI, one token at a time."
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
# to the next, and the 101st waits for another to end. trust_env can add an Authorization of its
# own, from a .netrc.
upstream = httpx.Client(
    base_url=os.environ.get("UPSTREAM_BASE_URL", "http://127.0.0.1:9000/v1"),
    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    limits=httpx.Limits(max_connections=None),
    timeout=UPSTREAM_TIMEOUT,
    trust_env=False,
)


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return respond(environ, start_response, 405, headers=READ_ONLY)
    return respond(environ, start_response, 200, "Hello from WSGI (WSGI)!")


def sse(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return respond(environ, start_response, 405, headers=READ_ONLY)
    try:
        text, delay = read_query(query_params(environ))
    except ValueError as error:
        return respond(environ, start_response, 400, str(error))
    tokens = tokenize(text)
    last_event_id = whole_number(environ.get("HTTP_LAST_EVENT_ID", ""))
    if last_event_id is not None and last_event_id >= len(tokens):
        return respond(environ, start_response, 204)
    start_response("200 OK", list(STREAM_HEADERS.items()))
    if environ["REQUEST_METHOD"] == "HEAD":
        return []
    return map(str.encode, token_events(tokens, last_event_id or 0, delay))


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


def poll(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return respond(environ, start_response, 405, headers=READ_ONLY)
    query = query_params(environ)
    try:
        text, delay = read_query(query)
    except ValueError as error:
        return respond(environ, start_response, 400, str(error))
    tokens = tokenize(text)
    after = whole_number(query.get("after", "0"))
    if after is None:
        return respond(environ, start_response, 400, "after is not a whole number from 0")
    if after >= len(tokens):
        return respond(environ, start_response, 204, headers={"cache-control": "no-store"})
    if after > 0:
        time.sleep(delay)
    answer = {"id": after + 1, "token": tokens[after], "done": after + 1 == len(tokens)}
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return respond(environ, start_response, 200, json.dumps(answer), headers)


def chat(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] != "POST":
        return respond(environ, start_response, 405, headers={"allow": "POST"})
    body = environ["wsgi.input"].read(BODY_LIMIT + 1)
    if len(body) > BODY_LIMIT:
        return respond_error(environ, start_response, 413, "the body is over 1 MiB")
    try:
        messages = read_object(body).get("messages")
    except ValueError as error:
        return respond_error(environ, start_response, 400, f"the body is not JSON: {error}")
    if not isinstance(messages, list):
        return respond_error(environ, start_response, 400, "messages is not a list")
    return relay(environ, start_response, "POST", "/chat/completions", body)


def models(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return respond(environ, start_response, 405, headers=READ_ONLY)
    return relay(environ, start_response, "GET", "/models")


def relay(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    method: str,
    path: str,
    body: bytes = b"",
) -> Iterator[bytes]:
    headers = {b"content-type": b"application/json"} if body else {}
    if UPSTREAM_API_KEY:
        headers[b"authorization"] = f"Bearer {UPSTREAM_API_KEY}".encode()
    elif authorization := environ.get("HTTP_AUTHORIZATION"):
        headers[b"authorization"] = authorization.encode("latin-1")
    try:
        with upstream.stream(method, path, content=body, headers=headers) as response:
            response.request.extensions["timeout"]["read"] = None  # its headers are there
            media_type = response.headers.get("content-type", "").partition(";")[0]
            if response.is_success and media_type == "text/event-stream":
                start_response("200 OK", list(STREAM_HEADERS.items()))
                yield from map(str.encode, with_pings(response, environ))
                return
            response.read()
    except httpx.TimeoutException:
        message = "the upstream did not answer in time"
        yield from respond_error(environ, start_response, 504, message)
    except httpx.HTTPError as error:
        yield from respond_error(environ, start_response, 502, f"the upstream failed: {error}")
    else:
        kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        yield from respond(environ, start_response, response.status_code, response.text, kept)


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


def query_params(environ: WSGIEnvironment) -> dict[str, str]:
    return dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))


def respond(
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: int,
    body: str = "",
    headers: Mapping[str, str] = {},
) -> Iterable[bytes]:
    fields = dict(headers)
    if status != 204:
        fields.setdefault("content-type", "text/plain; charset=utf-8")
        fields["content-length"] = str(len(body.encode()))
    start_response(f"{status} {responses.get(status, 'Unknown')}", list(fields.items()))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body.encode()]


def respond_error(
    environ: WSGIEnvironment, start_response: StartResponse, status: int, message: str
) -> Iterable[bytes]:
    headers = {"content-type": "application/json"}
    return respond(environ, start_response, status, error_json(message, status), headers)


def error_json(message: str, status: int) -> str:
    kind = "invalid_request_error" if status < 500 else "upstream_error"
    error = {"message": message, "type": kind, "code": None, "param": None}
    return json.dumps({"error": error})


ROUTES = {
    "/": hello,
    "/sse": sse,
    "/poll": poll,
    "/v1/chat/completions": chat,
    "/v1/models": models,
}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] not in ROUTES:
        return respond(environ, start_response, 404, "Not Found")
    return ROUTES[environ["PATH_INFO"]](environ, start_response)
