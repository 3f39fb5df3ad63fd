"""Frames that are nearly right: the server outlives them and keeps nothing of them."""

from __future__ import annotations

import select
from contextlib import suppress

import hypothesis.errors
import pytest
from hypothesis import stateful

from conformance import frames
from conformance.sockets import UPGRADE, opened
from conformance.wire import Closed, Connection, Reader, Silence
from stacks import Running
from strain import hostile
from strain.rounds import PATIENCE, assert_leaves_nothing, assert_serves

PLAYS, STEPS = 20, 25
SOCKETS_AT_ONCE = 6
DEFLATE = (*UPGRADE, ("Sec-WebSocket-Extensions", "permessage-deflate"))


@pytest.mark.waits(60)
@pytest.mark.needs("websocket")
@pytest.mark.case("F2", "RFC 6455 5.2 and 7.1.7, CWE-20, CWE-404", decides="server")
def test_survives_frames(process: Running) -> None:
    """Hostile frames on several sockets end no process and leave nothing; other sockets go on."""

    class Here(Sockets):
        server = process

    def round_of_plays() -> None:
        settings = hypothesis.settings(max_examples=PLAYS, stateful_step_count=STEPS)
        try:
            stateful.run_state_machine_as_test(Here, settings=settings)
        except hypothesis.errors.Flaky:  # a play on a server that has died goes another way
            assert_serves(process, "after hostile frames")
            raise

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
