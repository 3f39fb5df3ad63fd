"""Requests that are nearly right: the server outlives them and keeps nothing of them."""

from __future__ import annotations

from contextlib import suppress

import hypothesis
import pytest

from conformance.wire import Closed, Connection, Silence
from stacks import Running
from strain import hostile
from strain.rounds import PATIENCE, assert_leaves_nothing, assert_serves

VISITS = 120


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
