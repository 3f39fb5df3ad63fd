"""The client of `/v1/chat/completions`: it asks, and reads what the app makes of the model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from conformance.event_stream import Event, Stream
from conformance.upstream import DONE, Exchange, Upstream
from conformance.wire import (
    PATIENCE,
    Address,
    Closed,
    Headers,
    Malformed,
    Response,
    WireError,
    exchange,
    request,
)

PATH = "/v1/chat/completions"
MODELS = "/v1/models"
MESSAGES = [{"role": "user", "content": "Say something."}]
STREAMING = {"model": "suite", "messages": MESSAGES, "stream": True}
WHOLE = {"model": "suite", "messages": MESSAGES, "stream": False}

JSON = ("Content-Type", "application/json")


def ask(
    server: Address,
    body: object = STREAMING,
    headers: Headers = (),
    receive_buffer: int | None = None,
) -> Stream:
    """Ask for a completion, as a stream unless `body` says otherwise."""
    return Stream(
        server,
        PATH,
        [JSON, *headers],
        method="POST",
        body=encoded(body),
        receive_buffer=receive_buffer,
    )


def post(server: Address, body: object, headers: Headers = ()) -> Response:
    """Return the whole answer to a request; `body` becomes JSON unless it is bytes."""
    return exchange(server, "POST", PATH, [JSON, *headers], encoded(body))


def requests(server: Address) -> dict[str, bytes]:
    """Return a request for each thing that the upstream is asked for."""
    return {
        "a stream": request(server, "POST", PATH, [JSON], encoded(STREAMING)),
        "a whole answer": request(server, "POST", PATH, [JSON], encoded(WHOLE)),
        "the models": request(server, "GET", MODELS),
    }


def encoded(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@contextmanager
def conversation(server: Address, upstream: Upstream) -> Iterator[tuple[Stream, Exchange]]:
    """Ask for a stream and begin it: both sides are there, and no token has been said."""
    with ask(server) as stream:
        model = upstream.next_request()
        model.start()
        yield stream, model


def said(event: Event) -> Any:
    """Return an event's data, which has to be JSON."""
    return parsed(event.data)


def parsed(text: str | bytes) -> Any:
    """Return what is JSON; raise WireError for what is not."""
    try:
        return json.loads(text)
    except ValueError:
        raise WireError(f"saw {text[:200]!r}, wanted JSON") from None


def tokens(events: list[Event]) -> list[str]:
    """Return the tokens that chunks of a completion hold."""
    found = []
    for event in events:
        chunk: Any = None if event.data == DONE else said(event)
        with suppress(LookupError, TypeError):
            found.append(chunk["choices"][0]["delta"]["content"])
    return found


def errors(events: list[Event]) -> list[Any]:
    """Return the errors that events tell of."""
    chunks = [said(event) for event in events if event.data not in (DONE, "")]
    return [chunk["error"] for chunk in chunks if isinstance(chunk, dict) and chunk.get("error")]


def to_the_end(stream: Stream, within: float = PATIENCE) -> list[Event]:
    """Return all events of a stream that failed: it may end in any way, but it ends."""
    events = []
    with suppress(Closed, Malformed):  # ended, or cut short
        while True:
            events.append(stream.next(within))
    return events
