"""How long a greeting takes at a fixed rate, from the moment that its request was due.

A client that waits for one answer before it asks again asks a slow server less often, and so leaves
out what its users would have waited (coordinated omission). Here the schedule goes on: a request
whose connection is busy waits, and that wait counts. None of the generators that Debian has measures
from the schedule.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

import numpy as np

from bench.figures import Latency, Percentiles
from bench.processes import Contender, Invalid, Stopwatch
from conformance.wire import Connection, Reader, WireError, request

RATE = 200.0  # a second; the slowest stacks can do five times that
CONNECTIONS = 32
SLICE_SECONDS = 0.25
WITHIN = 10.0
SATURATED = 0.8
# The timers of a loop are as coarse as a millisecond, so the last of them is spent looking.
COARSE = 0.002


class Client(asyncio.Protocol):
    """One connection; `due` holds when the requests were due that are not answered."""

    def __init__(self, ask: bytes, answer_bytes: int, seconds: list[float]):
        self.ask = ask
        self.answer_bytes = answer_bytes
        self.seconds = seconds
        self.due: deque[float] = deque()
        self.data = b""
        self.fault: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def send(self, due: float) -> None:
        self.due.append(due)
        if len(self.due) == 1:
            self.transport.write(self.ask)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if len(self.data) < self.answer_bytes:
            return
        self.seconds.append(time.perf_counter() - self.due.popleft())
        if len(self.data) > self.answer_bytes or b" 200 " not in self.data[:16]:
            self.fault = f"an answer was {self.data[:80]!r}"
        self.data = b""
        if self.due:
            self.transport.write(self.ask)

    def connection_lost(self, error: Exception | None) -> None:
        if self.due:
            self.fault = "a connection was closed before its answer"


async def take(contender: Contender, rate: float, seconds: float) -> tuple[list[float], float]:
    """Return response times in seconds, and which share of its core the server used."""
    ask = request(contender, "GET", "/")
    length = answer_bytes(contender, ask)
    loop, taken = asyncio.get_running_loop(), list[float]()
    clients: list[Client] = []
    watch = Stopwatch(contender)
    try:
        for _ in range(CONNECTIONS):
            _, client = await loop.create_connection(
                lambda: Client(ask, length, taken), contender.host, contender.port
            )
            clients.append(client)
        count = round(rate * seconds)
        async with asyncio.timeout(seconds + WITHIN):
            with watch.lap():
                start = time.perf_counter()
                for number in range(count):
                    due = start + number / rate
                    await wait_until(due)
                    clients[number % CONNECTIONS].send(due)
                while len(taken) < count and not any(client.fault for client in clients):
                    await asyncio.sleep(0.001)
    except OSError as error:  # TimeoutError is one
        raise Invalid(f"not all requests were answered: {error!r}") from None
    finally:
        for client in clients:
            client.transport.abort()
    for client in clients:
        if client.fault is not None:
            raise Invalid(client.fault)
    return taken, watch.server / watch.wall


def answer_bytes(contender: Contender, ask: bytes) -> int:
    """Return how long an answer is, head, body and framing, which is the same for each."""
    try:
        with Connection(contender) as connection:
            connection.send(ask)
            Reader(connection).response()
            return len(connection.received)
    except (OSError, WireError) as error:
        raise Invalid(f"the greeting was not read: {error}") from None


async def wait_until(moment: float) -> None:
    while (left := moment - time.perf_counter()) > 0:
        await asyncio.sleep(left - COARSE if left > COARSE else 0)


class Latencies:
    """The response times of some servers so far; what was taken stays when a run is interrupted."""

    def __init__(self, contenders: Iterable[Contender]):
        self.contenders = list(contenders)
        self.seconds: dict[str, list[float]] = {each.name: [] for each in self.contenders}
        self.shares: dict[str, list[float]] = {each.name: [] for each in self.contenders}
        self.invalid: dict[str, str] = {}

    def take(
        self,
        loop: asyncio.Runner,
        rounds: int,
        order: random.Random,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """Take slices in turn; a server that answers wrongly once is left out from there on."""
        for _ in range(rounds):
            for each in order.sample(self.contenders, len(self.contenders)):
                if each.name not in self.invalid:
                    self._slice(loop, each)
                tell()

    def _slice(self, loop: asyncio.Runner, contender: Contender) -> None:
        try:
            taken, share = loop.run(take(contender, RATE, SLICE_SECONDS))
        except Invalid as error:
            self.invalid[contender.name] = str(error)
        else:
            self.seconds[contender.name] += taken
            self.shares[contender.name].append(share)

    def figures(self, date: str) -> dict[str, Latency]:
        """Return the percentiles of each server of which anything is known."""
        known = [name for name, seconds in self.seconds.items() if seconds or name in self.invalid]
        return {
            name: Latency(
                date=date,
                requests_a_second=RATE,
                connections=CONNECTIONS,
                invalid=self.invalid.get(name),
                marks=["saturated"] if saturated(self.shares[name]) else [],
                seconds=None if name in self.invalid else percentiles(self.seconds[name]),
            )
            for name in known
        }


def saturated(shares: list[float]) -> bool:
    return bool(shares) and float(np.median(shares)) > SATURATED


def percentiles(seconds: list[float]) -> Percentiles | None:
    """Return the median and the 99th percentile, None of nothing."""
    if not seconds:
        return None
    p50, p99 = (round(float(each), 6) for each in np.percentile(seconds, (50, 99)))
    return Percentiles(samples=len(seconds), p50=p50, p99=p99)
