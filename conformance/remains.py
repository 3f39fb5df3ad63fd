"""What a server still holds of clients that have gone."""

from __future__ import annotations

import time
from collections.abc import Mapping

from census import Census
from stacks import Running

FREED_WITHIN = 5.0
# A runtime may start a helper thread or open a file of its own at any time. Far below what any of
# the cases would leave behind, one a connection.
SPARE = {"sockets": 0, "descriptors": 5, "threads": 5}


def at_rest(running: Running) -> Census:
    """Return what the server holds when it has noticed that all clients have gone."""
    deadline = time.monotonic() + FREED_WITHIN
    while (census := running.census()).sockets and time.monotonic() < deadline:
        time.sleep(0.05)
    return census


def left_over(
    running: Running, before: Census, within: float, spare: Mapping[str, int] = SPARE
) -> dict[str, int]:
    """Return what the server holds more than before, as soon as that is nothing or in the end.

    `spare` is how many more of each do not count; only what it names is looked at.
    """
    deadline = time.monotonic() + within
    while True:
        now = running.census()
        more = {name: getattr(now, name) - getattr(before, name) for name in spare}
        left = {name: count for name, count in more.items() if count > spare[name]}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.05)
