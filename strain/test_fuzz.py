"""Requests and frames that are nearly right: the server outlives them and keeps nothing of them."""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress

import hypothesis
import pytest
from hypothesis import stateful

from conformance import frames
from conformance.remains import at_rest, left_over
from conformance.sockets import UPGRADE, opened
from conformance.wire import Closed, Connection, Reader, Silence, exchange
from stacks import Running
from strain import hostile

VISITS = 120
PLAYS, STEPS = 20, 25
SOCKETS_AT_ONCE = 6
# How long a client waits for an answer to what deserves none.
PATIENCE = 0.03
# An upstream time-out, a close time-out and then some: what a server may take to be done with a client.
FREED_WITHIN = 15.0
DEFLATE = (*UPGRADE, ("Sec-WebSocket-Extensions", "permessage-deflate"))


@pytest.mark.waits(60)
@pytest.mark.case("F1", "RFC 9112 2.2, CWE-20, CWE-404", decides="server")
def test_survives_requests(process: Running) -> None:
    """Hostile requests end no process, and neither sockets, threads nor descriptors are left."""

    @hypothesis.settings(max_examples=VISITS)
    @hypothesis.given(hostile.visits())
    def round_of_visits(visit: hostile.Visit) -> None:
        pay(process, visit)
        assert_serves(process, f"after {visit}")

    assert_leaves_nothing(process, round_of_visits)


def pay(server: Running, visit: hostile.Visit) -> None:
    with Connection(server) as connection:
        with suppress(Closed, Silence):
            for piece in visit.pieces:
                connection.send(piece)
            while visit.waits and connection.receive(PATIENCE):
                pass
        if visit.resets:
            connection.reset()


@pytest.mark.waits(60)
@pytest.mark.needs("websocket")
@pytest.mark.case("F2", "RFC 6455 5.2 and 7.1.7, CWE-20, CWE-404", decides="server")
def test_survives_frames(process: Running) -> None:
    """Hostile frames on several sockets end no process and leave nothing; other sockets go on."""

    class Here(Sockets):
        server = process

    def round_of_plays() -> None:
        stateful.run_state_machine_as_test(
            Here, settings=hypothesis.settings(max_examples=PLAYS, stateful_step_count=STEPS)
        )

    assert_leaves_nothing(process, round_of_plays)


class Sockets(stateful.RuleBasedStateMachine):
    """A few sockets that speak at random; a good one beside them is answered to the end."""

    server: Running

    def __init__(self) -> None:
        super().__init__()
        self.open: list[Connection] = []

    sockets = stateful.Bundle[Connection]("sockets")

    @stateful.precondition(lambda self: len(self.open) < SOCKETS_AT_ONCE)
    @stateful.rule(target=sockets, deflate=hypothesis.strategies.booleans())
    def come(self, deflate: bool) -> Connection:
        connection = Connection(self.server)
        connection.send(frames.opening(self.server, DEFLATE if deflate else UPGRADE))
        Reader(connection).head()
        self.open.append(connection)
        return connection

    @stateful.rule(socket=sockets, data=hostile.any_frames() | hostile.lying_frames())
    def send(self, socket: Connection, data: bytes) -> None:
        with suppress(Closed, Silence):
            socket.send(data)

    @stateful.rule(socket=sockets, data=hypothesis.strategies.binary(max_size=60))
    def send_noise(self, socket: Connection, data: bytes) -> None:
        with suppress(Closed, Silence):
            socket.send(data)

    @stateful.rule(socket=sockets)
    def read(self, socket: Connection) -> None:
        with suppress(Silence):
            while select.select([socket.socket], [], [], PATIENCE)[0] and socket.receive():
                pass

    @stateful.rule(socket=stateful.consumes(sockets), resets=hypothesis.strategies.booleans())
    def leave(self, socket: Connection, resets: bool) -> None:
        self.open.remove(socket)
        socket.reset() if resets else socket.close()

    def teardown(self) -> None:
        for socket in self.open:
            socket.close()
        assert_serves(self.server, "after hostile frames")
        with opened(self.server) as good:
            good.assert_echo("still here")


def assert_serves(server: Running, when: str) -> None:
    assert server.process.poll() is None, f"the server exited {when}, wanted it to go on"
    status = exchange(server).status
    assert status == 200, f"{when} GET / gave {status}, wanted 200"


def assert_leaves_nothing(server: Running, round_of: Callable[[], None]) -> None:
    """Raise unless a second round of the very same clients leaves no more than the first did."""
    round_of()
    before = at_rest(server)
    round_of()
    left = left_over(server, before, FREED_WITHIN)

    assert left == {}, f"{FREED_WITHIN:g} s later {left} were left of hostile clients, wanted none"
