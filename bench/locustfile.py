"""The mix of `nox -s bench` for more than one machine: what Locust's users do.

    locust -f bench/locustfile.py --host http://HOST:PORT [HelloUser SocketUser StreamUser ChatUser]

One file without the rest of this project, so that a container can be given it alone. A worker holds
one core, so load scales by workers; its figures are no headlines (a loop in Python takes part in
them, and Locust keeps whole milliseconds), but they show where a deployment bends.

FastHttpUser waits for 1,024 bytes before it shows any of a stream, so streams are read by HttpUser.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import gevent
import requests
import websocket
from locust import FastHttpUser, HttpUser, User, between, constant, task

TOKENS = 20
DELAY_SECONDS = 0.05
MESSAGE = "a token of about thirty characters"
QUESTION = {
    "model": "load",
    "messages": [{"role": "user", "content": "Say something."}],
    "stream": True,
}


class Wrong(Exception):
    """An answer that is not what was asked for: it is reported as a failure."""


class HelloUser(FastHttpUser):
    """Asks for the greeting again and again."""

    weight = 4
    wait_time = between(0.05, 0.15)

    @task
    def hello(self) -> None:
        with self.client.get("/", catch_response=True) as response:
            if not (response.content or b"").startswith(b"Hello from "):
                response.failure(f"the greeting is {response.content!r}")


class SocketUser(User):
    """Holds a socket open and has its messages echoed."""

    weight = 2
    wait_time = between(0.05, 0.15)

    socket: websocket.WebSocket | None = None

    @task
    def echo(self) -> None:
        if self.socket is None:
            with Reported(self, "/ws, open"):
                address = urlsplit(str(self.host)).netloc
                self.socket = websocket.create_connection(f"ws://{address}/ws", timeout=10)
            return
        socket, self.socket = self.socket, None  # until it has answered rightly
        with Reported(self, "/ws, echo"):
            socket.send(MESSAGE)
            if (reply := socket.recv()) != f"echo: {MESSAGE}":
                raise Wrong(f"the reply is {reply!r}")
            self.socket = socket

    def on_stop(self) -> None:
        if self.socket is not None:
            self.socket.close()


class Streaming(HttpUser):
    """Reads a stream; the time to its first event and each gap are statistics of their own."""

    abstract = True
    wait_time = constant(0.1)

    def read(self, name: str, response: requests.Response) -> list[str]:
        """Return the data of all events, and report when they came; `response` is not read yet."""
        asked, last = time.perf_counter(), 0.0
        found: list[str] = []
        for data in events(response):
            now = time.perf_counter()
            if found:
                self.report(f"{name}, gap", now - last)
            else:
                self.report(f"{name}, first event", now - asked + response.elapsed.total_seconds())
            found.append(data)
            last = now
        return found

    def report(self, name: str, seconds: float) -> None:
        self.environment.events.request.fire(
            request_type="stream",
            name=name,
            response_time=1000 * seconds,
            response_length=0,
            exception=None,
            context={},
        )


class StreamUser(Streaming):
    """Reads the tokens of `/sse`."""

    weight = 2

    @task
    def sse(self) -> None:
        query = {"text": "tok " * TOKENS, "delay": str(DELAY_SECONDS)}
        with self.client.get(
            "/sse", params=query, name="/sse", stream=True, catch_response=True
        ) as response:
            data = self.read("/sse", response) if response.status_code == 200 else []
            if data != ["tok "] * TOKENS + [str(TOKENS)]:
                response.failure(f"{response.status_code}, and {len(data)} events")


class ChatUser(Streaming):
    """Asks the model behind the relay, and reads its answer."""

    weight = 2

    @task
    def chat(self) -> None:
        path = "/v1/chat/completions"
        with self.client.post(path, json=QUESTION, stream=True, catch_response=True) as response:
            data = self.read("/v1/chat", response) if response.status_code == 200 else []
            if data[-1:] != ["[DONE]"] or any("error" in json.loads(each) for each in data[:-1]):
                response.failure(f"{response.status_code}, and the answer ends with {data[-1:]}")


def events(response: requests.Response) -> Iterator[str]:
    """Yield the data of each event as soon as its blank line is there."""
    text = b""
    for chunk in response.iter_content(None):
        *blocks, text = (text + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
        for block in blocks:
            lines = block.decode().split("\n")
            data = [line[5:].removeprefix(" ") for line in lines if line.startswith("data:")]
            if data:
                yield "\n".join(data)


FAILURES = (Wrong, OSError, websocket.WebSocketException)


class Reported:
    """Reports to Locust how long the block took, or how it failed; its failures go no further."""

    def __init__(self, user: User, name: str):
        self.user = user
        self.name = name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        failed = isinstance(error, FAILURES)
        if error is None or failed:  # not where the run ends meanwhile
            self.user.environment.events.request.fire(
                request_type="WebSocket",
                name=self.name,
                response_time=1000 * (time.perf_counter() - self.start),
                response_length=0,
                exception=error,
                context={},
            )
        return failed


# The clock of gevent's loop stands still while modules are imported, and --run-time is counted from
# it: a slow start would be taken off.
gevent.get_hub().loop.update_now()
