"""Clients that come, stall and vanish at random, and check whatever they are told while they stay.

A place in the swarm is taken by one visitor after the other for as long as the soak lasts. Everything
random comes from one seed, so a second soak has the same visitors; in what order the machine lets them
speak, it decides itself.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

import h11
from websockets import WebSocketException
from websockets.asyncio.client import connect

from conformance.event_stream import Event, EventReader
from conformance.sockets import PREFIX
from conformance.tokens import target, tokenize
from conformance.wire import Address, WireError, request

SEED = 4
# The contract asks for no speed, and a place may have to wait for one who has gone unnoticed so far.
PATIENCE = 30.0
LONGEST_VISIT = 10.0
PACES = (0.05, 0.4)  # seconds between two tokens, or between two messages
STALLS = (0.5, 2.0)
OFTEN_VANISHES, OFTEN_STALLS = 0.3, 0.2


@dataclass(frozen=True)
class Visitor:
    """One visit, decided beforehand: `length` tokens or messages, `pace` seconds apart.

    It stalls behind the first `stalls_at` of them and is gone behind `vanishes_at`, where it does.
    """

    name: str
    length: int
    pace: float
    stalls_at: int | None
    stall: float
    vanishes_at: int | None
    by_reset: bool


@dataclass
class Tally:
    """What a soak came to; `faults` tells each thing that a visitor should not have seen."""

    tokens: int = 0
    echoes: int = 0
    visits: int = 0
    stalled: int = 0
    vanished: int = 0
    token_faults: list[str] = field(default_factory=list)
    echo_faults: list[str] = field(default_factory=list)


type Pay = Callable[[Address, Visitor, Tally], Awaitable[None]]


async def soak(address: Address, streams: int, sockets: int, seconds: float) -> Tally:
    """Fill so many places for so long, let the last visitors finish, and return what they saw."""
    tally = Tally()
    until = time.monotonic() + seconds
    longest = min(LONGEST_VISIT, seconds / 2)
    async with asyncio.TaskGroup() as places:
        for kind, number, pay, faults in (
            ("stream", streams, read_a_stream, tally.token_faults),
            ("socket", sockets, hold_a_socket, tally.echo_faults),
        ):
            for index in range(number):
                name = f"{kind}{index}"
                places.create_task(place(name, address, pay, tally, faults, until, longest))
    return tally


async def place(
    name: str,
    address: Address,
    pay: Pay,
    tally: Tally,
    faults: list[str],
    until: float,
    longest: float,
) -> None:
    """Have visitors come to one place, one after the other."""
    chance = random.Random(f"{SEED} {name}")
    for number in count():
        visitor = draw(chance, f"{name}.{number}", longest)
        try:
            await pay(address, visitor, tally)
        except (OSError, EOFError, TimeoutError, WireError, h11.RemoteProtocolError) as error:
            faults.append(f"{visitor.name} saw {type(error).__name__}: {error}")
            await asyncio.sleep(visitor.pace)  # a server that is down is not asked in a busy loop
        except WebSocketException as error:
            faults.append(f"{visitor.name} saw its socket refused or ended: {error}")
        tally.visits += 1
        if time.monotonic() > until:
            return


def draw(chance: random.Random, name: str, longest: float) -> Visitor:
    pace = chance.uniform(*PACES)
    length = max(2, int(chance.uniform(0, longest) / pace))
    return Visitor(
        name=name,
        length=length,
        pace=pace,
        stalls_at=chance.randint(1, length) if chance.random() < OFTEN_STALLS else None,
        stall=min(chance.uniform(*STALLS), longest),
        vanishes_at=chance.randint(1, length) if chance.random() < OFTEN_VANISHES else None,
        by_reset=chance.random() < 0.5,
    )


async def read_a_stream(address: Address, visitor: Visitor, tally: Tally) -> None:
    """Read `/sse` and raise at the first token that is not the next one of the text."""
    text = " ".join(f"{visitor.name}-{k}" for k in range(visitor.length))[:1000]
    wanted = [("token", token) for token in tokenize(text)]
    wanted.append(("done", str(len(wanted))))
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        path = target("/sse", text=text, delay=round(visitor.pace, 3))
        writer.write(request(address, target=path))
        seen = 0
        async for event in events(reader):
            pair = (event.name, event.data)
            if seen == len(wanted) or pair != wanted[seen]:
                raise WireError(f"{pair} behind {wanted[:seen][-1:]}, wanted {wanted[seen:][:1]}")
            seen += 1
            tally.tokens += event.name == "token"
            if seen == visitor.vanishes_at:
                tally.vanished += 1
                return prepare_to_go(writer.transport, visitor)
            if seen == visitor.stalls_at:
                tally.stalled += 1
                await asyncio.sleep(visitor.stall)
        if seen < len(wanted):
            raise WireError(f"the end behind {seen} events, wanted {wanted[seen]}")
    finally:
        writer.close()


async def events(reader: asyncio.StreamReader) -> AsyncIterator[Event]:
    """Yield the events of a response as they come, up to its end."""
    http, stream = h11.Connection(h11.CLIENT), EventReader()
    http.send(h11.Request(method="GET", target="/", headers=[("host", "suite")]))
    http.send(h11.EndOfMessage())
    while True:
        match http.next_event():
            case h11.NEED_DATA:
                async with asyncio.timeout(PATIENCE):
                    http.receive_data(await reader.read(1 << 16))
            case h11.Response(status_code=status) if status != 200:
                raise WireError(f"status {status}, wanted 200")
            case h11.Data(data=data):
                for event in stream.feed(bytes(data)):
                    yield event
            case h11.EndOfMessage():
                return


async def hold_a_socket(address: Address, visitor: Visitor, tally: Tally) -> None:
    """Send messages on `/ws`, and raise at the first that is not the next echo."""
    async with connect(
        f"ws://{address.host}:{address.port}/ws",
        compression=None,
        proxy=None,
        open_timeout=PATIENCE,
        ping_interval=None,
        close_timeout=PATIENCE,
    ) as client:
        for number in range(1, visitor.length + 1):
            # Two at once: what is lost or doubled shows with the next one.
            messages = [f"{visitor.name}-{number}{half}" for half in "ab"]
            for message in messages:
                await client.send(message)
            if number == visitor.stalls_at:
                tally.stalled += 1
                await asyncio.sleep(visitor.stall)
            if number == visitor.vanishes_at:
                tally.vanished += 1
                prepare_to_go(client.transport, visitor)
                return client.transport.abort()
            for message in messages:
                async with asyncio.timeout(PATIENCE):
                    seen = await client.recv()
                if seen != PREFIX + message:
                    raise WireError(f"the message {seen!r}, wanted {PREFIX + message!r}")
                tally.echoes += 1
            await asyncio.sleep(visitor.pace)


def prepare_to_go(transport: asyncio.BaseTransport, visitor: Visitor) -> None:
    """Have the connection end with RST, where the visitor leaves like that, and not with FIN."""
    if visitor.by_reset:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
