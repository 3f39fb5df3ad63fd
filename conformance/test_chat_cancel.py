"""A client that leaves, or stops reading: the upstream feels it, for every token is paid for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from conformance.completions import WHOLE, ask, conversation, said
from conformance.conftest import Start
from conformance.event_stream import Stream
from conformance.memory import MIB, growth
from conformance.upstream import FLOODED, Exchange, Upstream
from conformance.wire import Address, Closed, Connection
from stacks import Running

pytestmark = pytest.mark.needs("chat")

# From the client's leaving to the end of the upstream's connection.
CLOSED_WITHIN = 1.0

# Far over what the buffers of four sockets hold.
FLOOD = 96 * MIB
GROWTH = 32 * MIB

WAYS: tuple[Callable[[Connection], None], ...] = (Connection.close, Connection.reset)


@pytest.fixture
def quiet(start: Start) -> Iterator[Address]:
    """A server whose pings are far between, as they are by default.

    Who learns by a ping that its client has left learns it within 15 s, and the model is paid for
    as many. At the suite's interval, as long as the time that is given here, it would be luck. A
    ping has to come all the same, for some servers send the head with the first piece of body.
    """
    with start(environ={"PING_INTERVAL": f"{3 * CLOSED_WITHIN:g}"}) as running:
        yield running


@pytest.mark.case("C19", "SPEC.md", decides="both")
def test_cancel_before_headers(server: Address, upstream: Upstream) -> None:
    """A client that leaves before the upstream has answered at all takes the request with it."""
    for leave in WAYS:
        with ask(server) as stream:
            model = upstream.next_request()
            leave(stream.connection)
            assert_closed(model, leave)


def assert_closed(
    model: Exchange, leave: Callable[[Connection], None], within: float = CLOSED_WITHIN
) -> None:
    how = "FIN" if leave is Connection.close else "RST"
    closed = model.is_closed_within(within)

    assert closed, f"{how} left the upstream open for {CLOSED_WITHIN:g} s, wanted it closed"


@pytest.mark.waits(3)
@pytest.mark.case("C19", "SPEC.md", decides="both")
def test_cancel_before_first_token(quiet: Address, upstream: Upstream) -> None:
    """A client that leaves while the model thinks about its first token stops it."""
    with ExitStack() as exits:
        # Side by side, for where a head comes with the first ping it takes as long as that.
        talks = [exits.enter_context(conversation(quiet, upstream)) for _ in WAYS]
        for leave, (stream, model) in zip(WAYS, talks, strict=True):
            assert stream.head.status == 200, "wanted the head of a stream"
            leave(stream.connection)
            assert_closed(model, leave)


@pytest.mark.case("C19", "SPEC.md", decides="both")
def test_cancel_between_tokens(server: Address, upstream: Upstream) -> None:
    """A client that leaves while tokens come stops them."""
    for leave in WAYS:
        with conversation(server, upstream) as (stream, model):
            model.say("a")
            stream.next()
            leave(stream.connection)
            until = time.monotonic() + CLOSED_WITHIN
            with suppress(Closed):
                while not model.is_closed() and time.monotonic() < until:
                    model.say("b")
                    time.sleep(0.02)
            assert_closed(model, leave, within=0)


@pytest.mark.case("C19", "SPEC.md", decides="both")
def test_cancel_in_silence(quiet: Address, upstream: Upstream) -> None:
    """A client that leaves while the model is silent between two tokens stops it."""
    for leave in WAYS:
        with conversation(quiet, upstream) as (stream, model):
            model.say("a")
            stream.next()
            leave(stream.connection)
            assert_closed(model, leave)


@pytest.mark.waits(2)
@pytest.mark.case("C19", "SPEC.md", decides="both")
def test_cancel_while_not_reading(server: Address, upstream: Upstream) -> None:
    """A client that has stopped reading and then leaves stops the model."""
    for leave in WAYS:
        with stalled(server, upstream) as (stream, model):
            model.flood(FLOOD)
            leave(stream.connection)
            assert_closed(model, leave)


@pytest.mark.case("C19", "SPEC.md", decides="both")
def test_cancel_without_stream(server: Address, upstream: Upstream) -> None:
    """A client that leaves while it waits for a whole answer stops it, also half-way through."""
    for leave in WAYS:
        for begun in (False, True):
            with ask(server, WHOLE) as stream:
                model = upstream.next_request()
                if begun:
                    model.start("application/json")
                    model.send(b'{"choices": [')
                leave(stream.connection)
                assert_closed(model, leave)


@contextmanager
def stalled(server: Address, upstream: Upstream) -> Iterator[tuple[Stream, Exchange]]:
    """Ask for a stream, begin it, and read nothing of it; small buffers make that felt soon."""
    with ask(server, receive_buffer=4096) as stream:
        model = upstream.next_request()
        model.start()
        yield stream, model


@pytest.mark.case("C20", "CWE-400", decides="both")
def test_a_client_that_stops_reading_stalls_the_upstream(
    process: Running, upstream: Upstream
) -> None:
    """What a client does not read is left with the upstream, not in the app's memory."""
    with stalled(process, upstream) as (stream, model):
        with growth(process) as grown:
            taken = model.flood(FLOOD)
        assert taken < FLOOD, f"{taken // MIB} MiB were taken for a client that does not read"
        assert grown.bytes < GROWTH, f"memory grew by {grown}, wanted under {GROWTH // MIB} MiB"
        for _ in range(3):
            event = stream.next()
            seen = said(event)
            assert seen == FLOODED, f"{len(event.data)} characters came, wanted those of the flood"
