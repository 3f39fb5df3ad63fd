"""What the relay of a running stack does, measured from both its sides.

The client and the model are this one process, which acts them in turn, so whatever lies between
what the model says and what the client reads is the stack's. Times in milliseconds, sizes in bytes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from conformance.completions import STREAMING, WHOLE, ask, tokens
from conformance.event_stream import Stream
from conformance.memory import MIB, growth
from conformance.upstream import DONE, Exchange, Upstream
from conformance.wire import Address, Closed, Silence, WireError, exchange
from stacks import HOST, Running

# How often each figure is taken; the median is told.
REPEATS = 21
# A stack that has not noticed by then is said not to notice.
NOTICED_WITHIN = 5.0
# After that many misses in a row the rest would be the same wait again.
MISSES = 3
# Between two tokens of a model that is at work.
TOKEN_EVERY = 0.02

CROWDS = {1: 60, 20: 12, 100: 4}  # streams at once, and how often they are opened
TURNS = 5  # tokens that each stream of a crowd is said

FLOOD = 96 * MIB

SLOW = 100.0
MOST_STREAMS = 1000
STEP = 10


@dataclass(frozen=True)
class Direct:
    """The model without a stack before it."""

    port: int
    host: str = HOST


def milliseconds_since(start: float) -> float:
    return (time.perf_counter() - start) * 1000


# A client that leaves


@contextmanager
def before_headers(server: Address, upstream: Upstream) -> Iterator[tuple[Stream, Exchange]]:
    """The model has the request and has not answered at all."""
    with ask(server) as stream:
        yield stream, upstream.next_request()


@contextmanager
def before_first_token(server: Address, upstream: Upstream) -> Iterator[tuple[Stream, Exchange]]:
    """The stream has begun and the model thinks."""
    with before_headers(server, upstream) as (stream, model):
        model.start()
        assert stream.head.status == 200
        yield stream, model


@contextmanager
def silent(server: Address, upstream: Upstream) -> Iterator[tuple[Stream, Exchange]]:
    """One token has been said, and the model is silent behind it."""
    with before_first_token(server, upstream) as (stream, model):
        model.say("a")
        stream.next()
        yield stream, model


@contextmanager
def not_reading(server: Address, upstream: Upstream) -> Iterator[tuple[Stream, Exchange]]:
    """The model has said all that is taken for a client that does not read."""
    with ask(server, receive_buffer=4096) as stream:
        model = upstream.next_request()
        model.start()
        model.flood(FLOOD)
        yield stream, model


@contextmanager
def without_stream(server: Address, upstream: Upstream) -> Iterator[tuple[Stream, Exchange]]:
    """A whole answer is wanted, and the model is at it."""
    with ask(server, WHOLE) as stream:
        yield stream, upstream.next_request()


PHASES = {
    "before headers": before_headers,
    "before first token": before_first_token,
    "between tokens": silent,
    "silent": silent,
    "not reading": not_reading,
    "without stream": without_stream,
}


def cancel(server: Address, upstream: Upstream, phase: str) -> list[float | None]:
    """Return how long the model was kept after each client's FIN; None where to no end."""
    seen: list[float | None] = []
    while len(seen) < REPEATS and seen[-MISSES:] != [None] * MISSES:
        with PHASES[phase](server, upstream) as (stream, model):
            talk = phase == "between tokens"
            start = time.perf_counter()
            stream.connection.close()
            seen.append(milliseconds_since(start) if is_left(model, talk=talk) else None)
    return seen


def is_left(model: Exchange, *, talk: bool) -> bool:
    """Return whether the stack leaves the model, which goes on to talk or does not."""
    if not talk:
        return model.is_closed_within(NOTICED_WITHIN)
    deadline = time.monotonic() + NOTICED_WITHIN
    with suppress(Closed):
        while not model.is_closed_within(TOKEN_EVERY) and time.monotonic() < deadline:
            model.say("b")
    return model.is_closed()


# A client that stops reading


def stalled(running: Running, upstream: Upstream) -> tuple[int, int]:
    """Return the bytes that the stack took for a client that reads none, and its memory's growth."""
    with ask(running, receive_buffer=4096) as stream:
        model = upstream.next_request()
        model.start()
        with growth(running) as grown:
            taken = model.flood(FLOOD)
        assert stream.connection.received == b""
    return taken, grown.bytes


# What the relay adds


def delays(server: Address, upstream: Upstream, count: int) -> tuple[list[float], list[float]]:
    """Return for each of `count` streams at once its time to first token, and a token's."""
    first, each = [], []
    with ExitStack() as exits:
        streams = [exits.enter_context(ask(server)) for _ in range(count)]
        asked = {id(stream): time.perf_counter() for stream in streams}
        models = []
        for _ in streams:
            model = upstream.next_request()
            model.start()
            model.say("a")
            models.append(model)
        for stream in streams:
            stream.next()
            first.append(milliseconds_since(asked[id(stream)]))
        for _ in range(TURNS):
            said = time.perf_counter()
            for model in models:
                model.say("b")
            for stream in streams:
                stream.next()
                each.append(milliseconds_since(said))
    upstream.forget()
    return first, each


def added(server: Address, upstream: Upstream, count: int) -> tuple[list[float], list[float]]:
    """Return what the stack adds to the first token and to a token of `count` streams, a round each.

    The rounds alternate between the stack and the model itself, so both see the same machine.
    """
    first, each = [], []
    direct = Direct(upstream.port)
    for _ in range(CROWDS[count]):
        through, bare = delays(server, upstream, count), delays(direct, upstream, count)
        first.append(statistics.median(through[0]) - statistics.median(bare[0]))
        each.append(statistics.median(through[1]) - statistics.median(bare[1]))
    return first, each


# A deploy


def stopped(running: Running, upstream: Upstream) -> tuple[float | None, str]:
    """Stop a server with an open stream; return the seconds it took, and what its client saw."""
    with ask(running) as stream:
        model = upstream.next_request()
        model.start()
        model.say("a")
        stream.next()
        running.terminate()
        try:
            seconds = round(running.wait(15), 2)
        except TimeoutError:
            return None, "nothing, for 15 s"
        return seconds, ending(stream)


def ending(stream: Stream) -> str:
    """Return how a stream ended, in the words of somebody who reads it."""
    try:
        events = stream.events_to_the_end()
    except WireError:
        return "cut off"
    if any(event.data == DONE for event in events):
        return "[DONE]"
    if any("error" in event.data for event in events):
        return "an error"
    return f"{len(events)} tokens more, and an end without [DONE]" if tokens(events) else "an end"


# Streams that are held


def held(server: Address, upstream: Upstream) -> int:
    """Return how many silent streams are open while `GET /` stays within 100 ms, up to 1,000."""
    count = 0
    with ExitStack() as exits:
        while count < MOST_STREAMS:
            try:
                for _ in range(STEP):
                    exits.enter_context(ask(server, STREAMING))
                    upstream.next_request(within=2).start()
            except Silence:
                break
            if hello(server) > SLOW:
                break
            count += STEP
    upstream.forget()
    return count


def hello(server: Address) -> float:
    """Return the median time of five greetings."""
    seen = []
    for _ in range(5):
        start = time.perf_counter()
        with suppress(WireError, OSError):
            exchange(server, within=2)
        seen.append(milliseconds_since(start))
    return statistics.median(seen)
