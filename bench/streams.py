"""Event streams by the thousand: one thin protocol a response on uvloop, judged when it has ended.

While a slice runs nothing is parsed, for a strict reader costs more than many a server. Afterwards
every byte is: short, doubled or foreign events make the slice invalid.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import cast

import h11

from bench.processes import Contender, Invalid, Stopwatch, Taken
from conformance.event_stream import Event, EventReader
from conformance.upstream import DONE
from conformance.wire import WireError

WITHIN = 30.0
LAST_CHUNK = b"\r\n0\r\n\r\n"

type Judge = Callable[[list[Event]], None]


class Response(asyncio.Protocol):
    """The bytes of one response and when they came, on a connection of its own."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.times: list[float] = []
        self.tail = b""
        self.sent = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> None:
        self.sent = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.times.append(time.perf_counter())
        self.data.append(data)
        self.tail = (self.tail + data)[-len(LAST_CHUNK) :]
        if self.tail == LAST_CHUNK or (len(self.data) == 1 and b" 200 " not in data[:16]):
            self.end()

    def connection_lost(self, error: Exception | None) -> None:
        self.end()

    def end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def close(self) -> None:
        """Leave as a closed tab does, whatever still comes."""
        self.transport.abort()


async def connect(contender: Contender, count: int) -> list[Response]:
    """Return so many connections, none of which has asked for anything."""
    loop = asyncio.get_running_loop()
    opening = (
        loop.create_connection(Response, contender.host, contender.port) for _ in range(count)
    )
    try:
        async with asyncio.timeout(WITHIN):
            return [response for _, response in await asyncio.gather(*opening)]
    except OSError as error:  # TimeoutError is one
        raise Invalid(f"{count} connections could not be opened: {error!r}") from None


async def read(
    contender: Contender, request: bytes, units: int, connections: int, waves: int, judge: Judge
) -> Taken:
    """Read `waves` times so many streams at once, each of `units` units, to their ends.

    Connections are opened before and closed behind the time that counts. `judge` raises `Invalid`
    for events that are not those that were asked for.
    """
    watch = Stopwatch(contender)
    for _ in range(waves):
        responses = await connect(contender, connections)
        try:
            async with asyncio.timeout(WITHIN):
                with watch.lap():
                    for response in responses:
                        response.ask(request)
                    await asyncio.gather(*(response.ended for response in responses))
        except TimeoutError:
            raise Invalid(f"the streams did not end within {WITHIN:g} s") from None
        finally:
            for response in responses:
                response.close()
        for body in {body_of(b"".join(response.data)) for response in responses}:
            judge(events_of(body))
    return watch.taken(units * connections * waves)


# Judging


def body_of(response: bytes) -> bytes:
    """Return the body of a whole response; raise `Invalid` where it is not a whole 200."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(response)
    client.receive_data(b"")
    body = []
    try:
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response) and event.status_code != 200:
                raise Invalid(f"the answer was {event.status_code}, wanted 200")
            if isinstance(event, h11.Data):
                body.append(bytes(event.data))
    except h11.RemoteProtocolError as error:
        raise Invalid(f"the answer is not whole ({error}): {response[-80:]!r}") from None
    return b"".join(body)


def events_of(body: bytes) -> list[Event]:
    reader = EventReader()
    try:
        events = reader.feed(body)
        reader.end()
    except WireError as error:
        raise Invalid(str(error)) from None
    if reader.unfinished:
        raise Invalid(f"the last event is cut: {reader.unfinished}")
    return events


def judge_tokens(events: list[Event], tokens: Sequence[str]) -> None:
    """Raise `Invalid` unless these are the tokens of `/sse`, numbered, and their end."""
    seen = [(event.name, event.data, event.id) for event in events]
    wanted = [("token", token, str(k)) for k, token in enumerate(tokens, start=1)]
    check(seen, [*wanted, ("done", str(len(tokens)), None)])


def judge_completion(events: list[Event], tokens: Sequence[str]) -> None:
    """Raise `Invalid` unless these are the tokens of a completion, a reason and the mark."""
    try:
        choices = [json.loads(event.data)["choices"][0] for event in events[:-1]]
        seen = [choice["delta"].get("content", choice["finish_reason"]) for choice in choices]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Invalid(f"an event is no chunk of a completion: {error!r}") from None
    check([*seen, *(event.data for event in events[-1:])], [*tokens, "stop", DONE])


def check(seen: Sequence[object], wanted: Sequence[object]) -> None:
    if len(seen) != len(wanted):
        raise Invalid(f"saw {len(seen)} events, wanted {len(wanted)}")
    for number, (one, other) in enumerate(zip(seen, wanted, strict=True), start=1):
        if one != other:
            raise Invalid(f"event {number} is {one!r}, wanted {other!r}")
