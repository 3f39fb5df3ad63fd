"""Streaming as a user feels it: when the first token comes, and how evenly the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise

import h11

from bench import sockets, streams
from bench.figures import Beside, Crowd, Felt
from bench.latency import percentiles
from bench.processes import Contender, Invalid
from bench.streams import Response
from conformance import tokens
from conformance.event_stream import EventReader
from conformance.wire import WireError, request

CROWDS = (1, 20, 100, 1000)
DELAY_SECONDS = 0.5
TOKENS = 4
# How much later than its last token is due a stream may end before it counts as not served.
LATE = 3.0

IDLE_SOCKETS = 1000
ECHOES = 200


def measure(loop: asyncio.Runner, contender: Contender, crowds: Sequence[int], date: str) -> Felt:
    """Return the figures of one server with so many streams at once, while no other is asked."""
    beside = "websocket" not in contender.stack.lacks
    return Felt(
        date=date,
        delay_seconds=DELAY_SECONDS,
        crowds=[loop.run(crowd(contender, wanted)) for wanted in crowds],
        echo_beside_idle=loop.run(echo_beside_idle(contender)) if beside else None,
    )


async def crowd(contender: Contender, wanted: int) -> Crowd:
    """Open so many streams at once and read them all; a stream without an event is not opened."""
    text = "tok " * TOKENS
    ask = request(contender, "GET", tokens.target("/sse", text=text, delay=DELAY_SECONDS))
    responses: list[Response] = []
    cpu = contender.cpu_seconds()
    try:
        responses = await streams.connect(contender, wanted)
        for response in responses:
            response.ask(ask)
        with suppress(TimeoutError):
            async with asyncio.timeout(TOKENS * DELAY_SECONDS + LATE):
                await asyncio.gather(*(response.ended for response in responses))
        cpu = contender.cpu_seconds() - cpu
    except Invalid:  # not even the connections could be opened
        pass
    finally:
        for response in responses:
            response.close()
    served = [(r.sent, times) for r in responses if (times := event_times(r))]
    count = sum(len(times) for _, times in served)
    return Crowd(
        wanted=wanted,
        opened=len(served),
        first_event_seconds=percentiles([times[0] - sent for sent, times in served]),
        gap_seconds=percentiles([b - a for _, times in served for a, b in pairwise(times)]),
        cpu_seconds_an_event=round(cpu / count, 9) if count else None,
    )


def event_times(response: Response) -> list[float]:
    """Return when each token of a stream came, none where it is no stream."""
    client, reader, times = h11.Connection(h11.CLIENT), EventReader(), list[float]()
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    with suppress(h11.RemoteProtocolError, WireError):
        for data, moment in zip(response.data, response.times, strict=True):
            client.receive_data(data)
            while isinstance(event := client.next_event(), h11.Response | h11.Data):
                if isinstance(event, h11.Response) and event.status_code != 200:
                    return []
                if isinstance(event, h11.Data):
                    found = reader.feed(bytes(event.data))
                    times += [moment for each in found if each.name == "token"]
    return times


async def echo_beside_idle(contender: Contender) -> Beside:
    """Take echoes on one socket, one after the other, while others are open and silent."""
    idle: list[sockets.Socket] = []
    try:
        (busy,) = await sockets.connect(contender, 1)
        with sockets.closing([busy]), sockets.closing(idle):
            with suppress(Invalid):  # as many as it takes
                while len(idle) < IDLE_SOCKETS:
                    idle += await sockets.connect(contender, 1)
            async with asyncio.timeout(sockets.WITHIN):
                await busy.start(ECHOES)
    except (Invalid, TimeoutError):
        return Beside(wanted=IDLE_SOCKETS, opened=len(idle), seconds=None)
    return Beside(wanted=IDLE_SOCKETS, opened=len(idle), seconds=percentiles(busy.seconds))
