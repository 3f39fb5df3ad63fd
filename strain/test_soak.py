"""A crowd for a minute: those who stay miss nothing, of those who went nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from census import Census
from conformance.conftest import PING_INTERVAL, Lane
from conformance.memory import MIB
from conformance.remains import FREED_WITHIN, at_rest, left_over
from stacks import Running, Stack
from strain.swarm import Tally, soak

CROWD = 200  # of streams, and as many of sockets
# Of a server that has a capacity, what is left for those who have gone and are not noticed yet.
SPARE_CAPACITY = 10
WARM_UP = 0.1  # of the whole: a pool of threads grows by what it needs, and stays


@dataclass
class Soaked:
    """A soak of one stack. `left` is what it still held when its clients had gone."""

    streams: int
    sockets: int
    seconds: float
    tally: Tally
    left: dict[str, int]
    before: Census
    after: Census


@pytest.fixture(scope="session")
def soaked(lane: Lane, stack: Stack, request: pytest.FixtureRequest) -> Soaked:
    """One soak, which every case here looks at."""
    running = lane.server()
    assert isinstance(running, Running), "a soak looks into the server's process; give no --url"
    seconds = request.config.getoption("seconds")
    streams, sockets = crowd(stack)
    asyncio.run(soak(running, streams, sockets, WARM_UP * seconds))
    before = at_rest(running)
    tally = asyncio.run(soak(running, streams, sockets, seconds))
    left = left_over(running, before, FREED_WITHIN + PING_INTERVAL)
    return Soaked(streams, sockets, seconds, tally, left, before, running.census())


def crowd(stack: Stack) -> tuple[int, int]:
    """Return how many streams and sockets at once a stack can be asked to hold."""
    kinds = 1 if "websocket" in stack.lacks else 2
    size = CROWD
    if stack.capacity is not None:
        size = min(CROWD, (stack.capacity - SPARE_CAPACITY) // kinds)
    return size, size * (kinds - 1)


@pytest.mark.case("S1", "SPEC.md", decides="both")
def test_streams_lose_nothing(soaked: Soaked) -> None:
    """Each token comes once and in order to whoever stays, also after a stall."""
    faults = soaked.tally.token_faults

    assert faults == [], f"{len(faults)} of {soaked.tally.visits} visits failed; {faults[0]}"


@pytest.mark.needs("websocket")
@pytest.mark.case("S1", "SPEC.md", decides="both")
def test_sockets_lose_nothing(soaked: Soaked) -> None:
    """Each echo comes once and in order to whoever stays, also after a stall."""
    faults = soaked.tally.echo_faults

    assert faults == [], f"{len(faults)} of {soaked.tally.visits} visits failed; {faults[0]}"


@pytest.mark.case("S2", "CWE-401, CWE-772", decides="both")
def test_leavers_leave_nothing(soaked: Soaked) -> None:
    """The server holds what it held before: sockets, threads and descriptors."""
    assert soaked.left == {}, f"{soaked.left} were left of {soaked.tally.visits}, wanted none"


@pytest.mark.case("S3", "SPEC.md", level="observe", decides="both")
def test_size(soaked: Soaked, observe: Callable[[str], None]) -> None:
    """How many came, stayed and went is recorded."""
    tally = soaked.tally
    observe(
        f"{soaked.streams} streams and {soaked.sockets} sockets for {soaked.seconds:g} s: "
        f"{tally.visits} visits, {tally.stalled} stalled, {tally.vanished} vanished; "
        f"{tally.tokens} tokens, {tally.echoes} echoes"
    )


@pytest.mark.case("S3", "CWE-401", level="observe", decides="both")
def test_memory(soaked: Soaked, observe: Callable[[str], None]) -> None:
    """What the server's memory came to is recorded."""
    before, after = soaked.before.memory / MIB, soaked.after.memory / MIB
    observe(f"{before:.1f} MiB before, {after:.1f} MiB after")


@pytest.mark.case("S3", "SPEC.md", level="observe", decides="both")
def test_processor(soaked: Soaked, observe: Callable[[str], None]) -> None:
    """What the server took of the processor is recorded."""
    observe(f"{soaked.after.cpu - soaked.before.cpu:.1f} s in {soaked.seconds:g} s")
