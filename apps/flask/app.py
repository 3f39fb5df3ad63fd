"""Flask, with Flask-Sock for the WebSocket.

Idiomatic here: one view a path, `abort` for errors, a generator as the body of a stream. What
surprised: Flask-Sock accepts the handshake before the view runs, so the Origin is checked before
the request; simple-websocket reads in a thread of its own, which wakes nobody when it refuses a
long message and may still be answering Close when the view returns. As with any WSGI app, headers
leave with the first piece of body, and only a failing write tells that a client left.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping

from flask import Flask, Response, abort, request
from flask.typing import ResponseReturnValue
from flask_sock import Sock  # type: ignore[import-untyped]  # has no types
from simple_websocket import Server  # type: ignore[import-untyped]  # has no types
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

PING_INTERVAL = float(os.environ.get("PING_INTERVAL", "15"))
ALLOWED_ORIGINS = {o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}
MESSAGE_LIMIT = 1024 * 1024
DEFAULT_TEXT = "Hello from Flask, one token at a time."
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

app = Flask(__name__)
app.config["SOCK_SERVER_OPTIONS"] = {"max_message_size": MESSAGE_LIMIT}
sock = Sock(app)


@app.get("/")
def hello() -> Response:
    return Response("Hello from Flask (WSGI)!", mimetype="text/plain")


@sock.route("/ws")  # type: ignore[untyped-decorator]  # Flask-Sock has no types
def echo(ws: Server) -> None:
    try:
        while ws.connected:
            message = ws.receive(timeout=1)  # not woken when a message breaks max_message_size
            if isinstance(message, bytes):
                ws.close(1003)
                break
            if message is not None and len(message.encode()) > MESSAGE_LIMIT:
                ws.close(1009)  # max_message_size counts characters
                break
            if message is not None:
                ws.send(f"echo: {message}")
    except (OSError, LocalProtocolError):
        pass  # the client left before its answer
    finally:
        ws.thread.join(timeout=1)  # it answers Close, unless gunicorn closes the socket before


@app.before_request
def check_handshake() -> None:
    if request.endpoint == "echo":
        if not origin_is_allowed(request.origin, request.headers.get("Host")):
            abort(403)
        if not re.fullmatch("[A-Za-z0-9+/]{22}==", request.headers.get("Sec-WebSocket-Key", "")):
            abort(400, "Sec-WebSocket-Key is not 16 bytes in base64")


@app.errorhandler(RemoteProtocolError)
def bad_handshake(error: RemoteProtocolError) -> ResponseReturnValue:
    return str(error), 400, {"sec-websocket-version": "13"}


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
