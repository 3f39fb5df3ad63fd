"""Clients that come too early or leave without a word: nothing of them stays."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from census import Census
from conformance.frames import WebSocket, connect, more, opening, text
from conformance.remains import at_rest
from conformance.wire import Address, Closed, Connection, Reader, exchange
from stacks import Running

pytestmark = pytest.mark.needs("websocket")

CLIENTS = 20
FREED_WITHIN = 5.0
# A runtime may start a helper thread or open a file at any time; both are far below one a client.
SPARE_THREADS, SPARE_DESCRIPTORS = 2, 5


@pytest.mark.case("W34", "RFC 6455 4.1, CWE-404", decides="server")
def test_early_frame_leaks_nothing(process: Running) -> None:
    """A client that speaks before it is answered, against the rules, leaves nothing behind."""
    assert_frees(process, lambda: [speak_too_early(process) for _ in range(CLIENTS)])


@pytest.mark.case("W34", "RFC 6455 4.1", level="observe", decides="server")
def test_fate_of_an_early_frame(server: Address, observe: Callable[[str], None]) -> None:
    """What comes of a frame in one segment with the opening handshake is recorded."""
    observe(speak_too_early(server))


def speak_too_early(server: Address) -> str:
    """Send a frame right behind the handshake and return what came of it."""
    with Connection(server) as connection:
        connection.send(opening(server) + text("early"))
        reader = Reader(connection)
        try:
            response = reader.head()
            if response.status != 101:
                assert 400 <= response.status < 500, (
                    f"a handshake with a frame behind it gave {response.status}, wanted 101 or 4xx"
                )
                return f"refused with {response.status}"
            socket = WebSocket(connection, response, reader.rest)
            echoes = [socket.echo("late")]
            if echoes == ["echo: early"]:
                echoes.append(socket.message())  # what is left unread would make FIN an RST
        except Closed:
            return "refused by closing the connection"

    assert echoes in (["echo: early", "echo: late"], ["echo: late"]), (
        f"saw {echoes}, wanted the late echo, behind the early one or alone"
    )
    return "echoed" if len(echoes) == 2 else "lost"


@pytest.mark.case("W35", "RFC 6455 7.1.4 and 7.1.5, CWE-404", decides="both")
def test_abrupt_drop_frees_the_handler(process: Running) -> None:
    """A client that goes without Close, by FIN or by RST, leaves no socket and no thread."""

    def go() -> None:
        with ExitStack() as exits:
            sockets = [exits.enter_context(connect(process)) for _ in range(CLIENTS)]
            for socket in sockets:
                socket.echo("open")
            for number, socket in enumerate(sockets):
                if number % 4 > 1:
                    socket.send(*[text("never read " * 100)] * 10)
                leave(socket, number)

    assert_frees(process, go)


@pytest.mark.case("W35", "RFC 6455 7.1.4 and 7.1.5, CWE-404", decides="server")
def test_half_a_frame_then_gone(process: Running) -> None:
    """A client that goes in the middle of a frame or of a message leaves nothing behind either."""
    halves = [
        text("hello")[:1],
        text("hello")[:4],
        text("hello")[:-1],
        text("x" * 70_000)[:9],
        text("x" * 70_000)[:35_000],
        text("half a message", fin=False),
        text("two thirds ", fin=False) + more(b"of a message", fin=False),
    ]

    def go() -> None:
        for number in range(CLIENTS):
            with connect(process) as socket:
                socket.echo("open")
                socket.send(halves[number % len(halves)])
                leave(socket, number)

    assert_frees(process, go)


def leave(socket: WebSocket, number: int) -> None:
    """Leave by FIN or, every second one, by RST."""
    if number % 2:
        socket.connection.reset()
    else:
        socket.connection.close()


def assert_frees(process: Running, visit: Callable[[], object]) -> None:
    """Raise unless a visit of many clients leaves no more behind than an earlier one did."""
    before = at_rest(process)  # the case before may have left sockets that are about to end
    visit()
    warm = settled(process)
    visit()
    allowed = Census(
        processes=warm.processes,
        sockets=before.sockets,
        descriptors=warm.descriptors + SPARE_DESCRIPTORS,
        threads=warm.threads + SPARE_THREADS,
        memory=0,
        cpu=0,
    )
    deadline = time.monotonic() + FREED_WITHIN
    while (seen := excess(process.census(), allowed)) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert not seen, f"{FREED_WITHIN:g} s after {CLIENTS} clients left: {seen}"
    status = exchange(process).status
    assert status == 200, f"after the clients had left GET / gave {status}, wanted 200"


def excess(seen: Census, allowed: Census) -> str:
    """Return in words what there is more of than allowed."""
    kinds = ("sockets", "descriptors", "threads")
    pairs = [(kind, getattr(seen, kind), getattr(allowed, kind)) for kind in kinds]
    return ", ".join(
        f"saw {n} {kind}, wanted at most {most}" for kind, n, most in pairs if n > most
    )


def settled(process: Running) -> Census:
    """Return what the processes hold once it no longer changes, or after a while in any case."""
    deadline = time.monotonic() + FREED_WITHIN
    seen = process.census()
    while time.monotonic() < deadline:
        time.sleep(0.1)
        earlier, seen = seen, process.census()
        if (earlier.sockets, earlier.threads) == (seen.sockets, seen.threads):
            break
    return seen
