"""Clients that send more than a server has to take."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import chain, repeat

import pytest
from wsproto.frame_protocol import Opcode

from conformance.frames import WebSocket, connect, head, more, text
from conformance.memory import MIB, growth
from conformance.sockets import LIMIT
from conformance.wire import Address, exchange
from stacks import Running

pytestmark = pytest.mark.needs("websocket")

UNMASKING = b"\0\0\0\0"  # a mask that leaves the payload as it is


@pytest.mark.case("W32", "RFC 6455 7.4.1 and 10.4, OWASP ASVS 5.0 4.4.2", decides="server")
def test_over_1_mib_is_1009(server: Address) -> None:
    """A message of over 1 MiB closes with 1009, in one frame and in fragments."""
    part = b"x" * 600 * 1024
    for what, frames in {
        "1 MiB and a byte in one frame": [text(b"x" * (LIMIT + 1))],
        "1 MiB and a byte in fewer characters": [text("é" * (LIMIT // 2) + "x")],
        "8 MiB in one frame": [text(b"x" * 8 * LIMIT)],
        "twice 600 KiB": [text(part, fin=False), more(part, fin=True)],
        "1 MiB, then a byte": [text(b"x" * LIMIT, fin=False), more(b"x", fin=True)],
        "a byte, then 1 MiB": [text(b"x", fin=False), more(b"x" * LIMIT, fin=True)],
        "17 times 64 KiB": [text(b"x" * 65536, fin=False), *[more(b"x" * 65536, fin=False)] * 15]
        + [more(b"x" * 65536, fin=True)],
    }.items():
        with connect(server) as socket:
            socket.send_until_answered(frames)
            code = socket.ending(what)

        assert code == 1009, f"{what} gave {code}, wanted 1009"
    with connect(server) as socket:
        for _ in range(3):  # the limit is a message's, not a connection's
            socket.send(text(part, fin=False), more(b"x" * (LIMIT - len(part)), fin=True))
            echo = socket.message()

            assert echo == "echo: " + "x" * LIMIT, (
                f"1 MiB in two fragments gave {len(echo)} characters, wanted {LIMIT + 6}"
            )


@pytest.mark.case("W32", "RFC 6455 10.4, CWE-770, OWASP ASVS 5.0 4.4.2", decides="server")
def test_endless_message_is_bounded(process: Running) -> None:
    """A message that never ends, in one frame or in many, does not pile up in memory."""
    chunk = b"x" * 65536
    for what, endless in (
        ("a frame", chain([head(Opcode.TEXT, 1 << 40, mask=UNMASKING)], repeat(chunk, 2048))),
        ("a message", chain([text(b"", fin=False)], repeat(more(chunk, fin=False), 2048))),
    ):
        with growth(process) as grown, connect(process) as socket:
            socket.send_until_answered(endless)

        assert grown.bytes < 64 * MIB, f"{what} without end took {grown}, wanted under 64 MiB"
    assert_greets(process, "after messages without end")


@pytest.mark.waits(2)
@pytest.mark.case("W33", "RFC 6455 10.4, CWE-400 and CWE-770", decides="both")
def test_flooding_client_that_never_reads_is_bounded(process: Running) -> None:
    """A client that sends and sends and reads nothing makes the server wait, not grow."""
    with growth(process) as grown, connect(process, receive_buffer=4096) as socket:
        flood(socket, lambda: grown.bytes < 100 * MIB)

    assert grown.bytes < 100 * MIB, f"the flood took {grown}, wanted under 100 MiB"
    assert_greets(process, "after the flood")


def flood(socket: WebSocket, goes_on: Callable[[], bool]) -> None:
    """Send until the server closes, or makes the client wait for 2 s, but not for over 30 s.

    A server that takes what it is sent has grown long before that, also on a busy machine.
    """
    message = memoryview(text("x" * 65536))
    connection = socket.connection.socket
    connection.settimeout(2)
    deadline = time.monotonic() + 30
    sent = 0
    with suppress(OSError):
        while goes_on() and time.monotonic() < deadline:
            sent += connection.send(message[sent % len(message) :])


def assert_greets(server: Address, when: str) -> None:
    status = exchange(server).status

    assert status == 200, f"{when} GET / gave {status}, wanted 200"
