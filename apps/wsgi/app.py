"""WSGI without a framework.

A WSGI application is one function that gets the request as a dict, hands status and headers to
`start_response` and returns the body as an iterable of bytes. Idiomatic here: one function a path,
a generator for a stream. What surprised: headers leave with the first piece of body, so a stream
that starts with silence says something first; and only a failing write tells that a client left,
so the pings free its thread.
"""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl
from wsgiref.types import StartResponse, WSGIEnvironment

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
DEFAULT_TEXT = "Hello from WSGI, one token at a time."
READ_ONLY = {"allow": "GET, HEAD"}
STREAM_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
}


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
    start_response(f"{status} {HTTPStatus(status).phrase}", list(fields.items()))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body.encode()]


ROUTES = {"/": hello, "/sse": sse, "/poll": poll}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] not in ROUTES:
        return respond(environ, start_response, 404, "Not Found")
    return ROUTES[environ["PATH_INFO"]](environ, start_response)
