"""What streams and sockets cost that only wait: memory, and what others feel of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from scipy import stats

from bench import contenders, relay, sockets, streams
from bench.figures import Held, Scale
from bench.processes import Contender, Invalid, memory_bytes
from bench.streams import Response
from conformance import tokens
from conformance.wire import request
from stacks import Stack

# Closer where a pool of threads ends.
STEPS = (0, 1, 25, 50, 75, 100, 250, 500, 750, 1000)
WITHIN = 5.0

type Open = Callable[[Contender, int], Coroutine[Any, Any, list[Callable[[], None]]]]


def measure(
    loop: asyncio.Runner, stack: Stack, environ: Mapping[str, str], core: set[int], date: str
) -> Scale:
    """Return the figures of a stack, each of a server that has seen nothing before.

    What was freed once hides what grows again.
    """

    def held(opener: Open) -> Held:
        with contenders.started({str(stack): stack}, environ, core) as each:
            return walk(loop, each[str(stack)], opener)

    sockets = None if "websocket" in stack.lacks else held(open_sockets)
    return Scale(date=date, streams=held(open_streams), sockets=sockets)


def walk(loop: asyncio.Runner, contender: Contender, opener: Open) -> Held:
    """Open ever more until 1,000 are held, one is not served, or a greeting takes over 100 ms."""
    closers: list[Callable[[], None]] = []
    points: list[dict[str, float]] = []
    relay.hello(contender)  # whatever the first one loads is no stream's
    try:
        for step in STEPS:
            closers += loop.run(opener(contender, step - len(closers)))
            hello = relay.hello(contender) / 1000
            points.append(
                {
                    "open": step,
                    "memory_bytes": memory_bytes(contender.processes),
                    "hello_seconds": round(hello, 6),
                }
            )
            if hello * 1000 > relay.SLOW:
                break
    except Invalid:
        pass
    finally:
        for close in closers:
            close()
    opened = [point for point in points if point["hello_seconds"] * 1000 <= relay.SLOW]
    return Held(
        wanted=STEPS[-1],
        opened=int(opened[-1]["open"]) if opened else 0,
        bytes_each=slope(points),
        points=points,
    )


def slope(points: list[dict[str, float]]) -> float | None:
    """Return by how much memory grows with each that is open, from the first one on."""
    some = [point for point in points if point["open"] > 0]
    if len(some) < 2:
        return None
    fitted = stats.linregress([p["open"] for p in some], [p["memory_bytes"] for p in some])
    return round(float(fitted.slope), 1)


async def open_streams(contender: Contender, count: int) -> list[Callable[[], None]]:
    """Open streams that are silent behind their first token."""
    ask = request(contender, "GET", tokens.target("/sse", text="one two", delay=60))
    responses = await streams.connect(contender, count)
    for response in responses:
        response.ask(ask)
    try:
        async with asyncio.timeout(WITHIN):
            for response in responses:
                await first_event(response)
    except TimeoutError:
        for response in responses:
            response.close()
        raise Invalid(f"not all of {count} streams began within {WITHIN:g} s") from None
    return [response.close for response in responses]


async def first_event(response: Response) -> None:
    while b"data: one" not in b"".join(response.data):
        if response.ended.done():
            raise Invalid("a stream ended before its first token")
        await asyncio.sleep(0.005)


async def open_sockets(contender: Contender, count: int) -> list[Callable[[], None]]:
    """Open sockets, each of which has had an echo."""
    opened = await sockets.connect(contender, count)
    async with asyncio.timeout(sockets.WITHIN):
        await asyncio.gather(*(socket.start(1) for socket in opened))
    return [lambda socket=socket: sockets.close(socket) for socket in opened]  # type: ignore[misc]  # bound here
