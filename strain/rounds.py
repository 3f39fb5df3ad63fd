"""Rounds of hostile clients, and what has to hold behind them."""

from __future__ import annotations

from collections.abc import Callable

from conformance.remains import at_rest, left_over
from conformance.wire import exchange
from stacks import Running

# How long such a client waits for an answer to what deserves none.
PATIENCE = 0.03
# An upstream time-out, a close time-out and then some: what a server may take to be done with one.
FREED_WITHIN = 15.0


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
