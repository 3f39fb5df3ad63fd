"""Clients that come and leave in crowds: a server that runs for weeks keeps nothing of them."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from conformance.completions import STREAMING, WHOLE, ask
from conformance.memory import MIB
from conformance.remains import FREED_WITHIN, at_rest, left_over
from conformance.upstream import Upstream
from conformance.wire import Address
from stacks import Running

pytestmark = pytest.mark.needs("chat")

# Clients that are there at once, and requests that may be open upstream before the next ones come:
# a server that notices late, at its next ping, is not a server that never does.
CROWD = 10
MOST_OPEN = 80
# What a server may hold more afterwards than before. A pool of threads grows by chance, when one more
# is wanted, and stays; it has no more than there ever were requests at once. A leak has no bound.
SPARE = {"sockets": 2, "descriptors": 2, "threads": MOST_OPEN + CROWD, "memory": 32 * MIB}


@pytest.mark.waits(12)  # where each crowd is noticed by a ping
@pytest.mark.case("C21", "CWE-772, CWE-401", decides="both")
def test_a_thousand_leavers_leave_nothing(process: Running, upstream: Upstream) -> None:
    """A thousand clients that leave in every phase leave no socket, thread, descriptor or memory."""
    leave_in_crowds(process, upstream, MOST_OPEN + CROWD)  # what a server keeps ready, it has then
    before = at_rest(process)
    leave_in_crowds(process, upstream, 1000)
    over = left_over(process, before, FREED_WITHIN, SPARE)

    assert over == {}, f"a thousand leavers left {over}, wanted no more than {SPARE}"


def leave_in_crowds(server: Address, upstream: Upstream, count: int) -> None:
    for _ in range(count // CROWD):
        come_and_go(server, upstream, CROWD)
        assert_open(upstream, MOST_OPEN)
    assert_open(upstream, 0)


def assert_open(upstream: Upstream, most: int) -> None:
    deadline = time.monotonic() + FREED_WITHIN
    while (count := upstream.busy) > most and time.monotonic() < deadline:
        time.sleep(0.002)

    assert count <= most, f"{count} requests were open upstream {FREED_WITHIN:g} s after all left"


def come_and_go(server: Address, upstream: Upstream, count: int) -> None:
    """Have clients ask, and leave side by side: before an answer, before a token, behind one."""
    with ExitStack() as models, ExitStack() as clients:
        for number in range(count):
            phase = number % 5
            stream = clients.enter_context(ask(server, STREAMING if phase else WHOLE))
            model = upstream.next_request()
            if phase < 2:
                # Here only that nothing is left counts, so the model gives up, in the end.
                models.callback(model.close)
            else:
                model.start()
            if phase > 3:
                model.say("a")
                stream.next()
            if number % 2:
                clients.callback(stream.connection.reset)
