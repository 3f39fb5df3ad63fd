"""Compressed messages: a server may do without, but what it agrees to it has to do right."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Offer
from websockets.headers import build_extension, parse_extension
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import Opcode

from conformance.frames import RSV1, RSV2, WebSocket, connect, frame, more, text, with_field
from conformance.memory import MIB, growth
from conformance.sockets import LIMIT
from conformance.wire import Address, WireError, exchange
from stacks import Running

pytestmark = pytest.mark.needs("websocket")

FIELD = "Sec-WebSocket-Extensions"
HELLO = b"\xf2\x48\xcd\xc9\xc9\x07\x00"  # RFC 7692 section 7.2.3.1: "Hello", compressed
SYNC = b"\0\0\xff\xff"  # what ends a flushed block, and is left out at a message's end

BARE = Offer(client_max_window_bits=None)
OF_A_BROWSER = Offer(client_max_window_bits=True)
WITHOUT_CONTEXT = Offer(
    server_no_context_takeover=True, client_no_context_takeover=True, client_max_window_bits=None
)


class Deflating:
    """A WebSocket on which a server agreed to permessage-deflate."""

    def __init__(self, socket: WebSocket, offer: Offer, agreed: str):
        (name, parameters), *others = parse_extension(agreed)
        if name != offer.name or others:
            raise WireError(f"{FIELD} is {agreed!r}, wanted {offer.name} alone")
        terms = offer.process_response_params(parameters, [])
        self.socket = socket
        inflate = PerMessageDeflate(
            server_no_context_takeover=terms.remote_no_context_takeover,
            server_max_window_bits=max(terms.remote_max_window_bits, 9),  # zlib has no 8
        )
        socket.decoder.extensions.append(inflate)
        self._keeps_context = not terms.local_no_context_takeover
        self._bits = terms.local_max_window_bits
        self._deflate = self._compressor()

    def _compressor(self) -> zlib._Compress:
        return zlib.compressobj(wbits=-self._bits)

    def deflated(self, *pieces: str | bytes) -> list[bytes]:
        """Return a compressed message in as many frames as there are pieces."""
        payloads = []
        for piece in pieces:
            content = piece.encode() if isinstance(piece, str) else piece
            data = self._deflate.compress(content)
            payloads.append(data + self._deflate.flush(zlib.Z_SYNC_FLUSH))
        payloads[-1] = payloads[-1].removesuffix(SYNC)
        if not self._keeps_context:
            self._deflate = self._compressor()
        return framed(payloads)


def framed(payloads: Sequence[bytes]) -> list[bytes]:
    """Return compressed payloads as one message: RSV1 stands on its first frame only."""
    frames = []
    for number, payload in enumerate(payloads, start=1):
        opcode, rsv = (Opcode.TEXT, RSV1) if number == 1 else (Opcode.CONTINUATION, 0)
        frames.append(frame(opcode, payload, rsv=rsv, fin=number == len(payloads)))
    return frames


@contextmanager
def offering(server: Address, offer: Offer) -> Iterator[tuple[WebSocket, Deflating | None]]:
    """Open a WebSocket with an offer to compress; None where the server declines."""
    offered = build_extension([(offer.name, list(offer.get_request_params()))])
    with connect(server, with_field(FIELD, offered)) as socket:
        agreed = socket.response.header(FIELD.lower())
        yield socket, None if agreed is None else Deflating(socket, offer, agreed)


@pytest.mark.case("W31", "RFC 6455 9.1, RFC 7692 5.1, 6 and 7", decides="server")
def test_deflate_only_if_offered_and_round_trips(server: Address) -> None:
    """Nothing is compressed unless offered; what is agreed on inflates to the same text."""
    for fields in (with_field(FIELD, None), with_field(FIELD, "x-unknown; a=1, x-other")):
        with connect(server, fields) as socket:
            agreed = socket.response.header(FIELD.lower())
            assert agreed is None, f"unasked came {FIELD} {agreed!r}, wanted none"
            assert_echo(socket, "plain " * 1000)  # a reserved bit in the reply would raise
    for offer in (BARE, OF_A_BROWSER, WITHOUT_CONTEXT):
        with offering(server, offer) as (socket, deflating):
            assert_echo(socket, "not compressed " * 100)
            if deflating is not None:
                assert_round_trips(deflating)
            assert_echo(socket, "not compressed " * 100)


def assert_echo(socket: WebSocket, message: str) -> None:
    assert_same(socket.echo(message), message)


def assert_same(seen: str, message: str) -> None:
    wanted = f"echo: {message}"
    assert seen == wanted, (
        f"saw {len(seen)} characters {seen[:60]!a}, wanted {len(wanted)} {wanted[:60]!a}"
    )


def assert_round_trips(deflating: Deflating) -> None:
    socket = deflating.socket
    numbers = ",".join(map(str, range(30_000)))
    for message in ("hello", "hello", "", "é😀", numbers, numbers[:70_000], "x" * LIMIT):
        socket.send(*deflating.deflated(message))
        assert_same(socket.message(), message)
    socket.send(*deflating.deflated("in ", "", "pieces, ", numbers))
    assert_same(socket.message(), "in pieces, " + numbers)


@pytest.mark.case("W31", "RFC 6455 5.4, RFC 7692 6", decides="server")
def test_ping_between_deflated_fragments(server: Address) -> None:
    """A ping within a compressed message is answered, and the message inflates all the same."""
    with offering(server, OF_A_BROWSER) as (socket, deflating):
        if deflating is None:
            frames = [text("two ", fin=False), more(b"halves", fin=True)]
        else:
            frames = deflating.deflated("two ", "halves")
        socket.send(frames[0], frame(Opcode.PING, b"not compressed"), frames[1])
        pong = socket.frame()

        assert (pong.opcode, pong.payload) == (Opcode.PONG, b"not compressed"), (
            f"a ping in a compressed message gave {pong}, wanted its pong"
        )
        assert_same(socket.message(), "two halves")


@pytest.mark.case("W31", "RFC 6455 8.1, RFC 7692 6", decides="server")
def test_deflate_misuse_fails(server: Address) -> None:
    """What is marked as compressed but must not or cannot be fails the connection."""
    for what, make in MISUSES.items():
        with offering(server, OF_A_BROWSER) as (socket, deflating):
            frames = framed([HELLO]) if deflating is None else make(deflating)
            socket.send(*frames)
            socket.assert_fails(what if deflating else "a compressed message, unasked")


MISUSES: dict[str, Callable[[Deflating], list[bytes]]] = {
    "a compressed ping": lambda _: [frame(Opcode.PING, HELLO, rsv=RSV1)],
    "RSV1 on a last fragment": lambda deflating: [
        deflating.deflated("two ", "halves")[0],
        frame(Opcode.CONTINUATION, HELLO, rsv=RSV1),
    ],
    "RSV1 on the last fragment of a plain message": lambda _: [
        text("two ", fin=False),
        frame(Opcode.CONTINUATION, b"halves", rsv=RSV1),
    ],
    "RSV2 on a compressed message": lambda _: [frame(Opcode.TEXT, HELLO, rsv=RSV1 | RSV2)],
    "a block of no known type": lambda _: framed([b"\xff" * 10]),
    "compressed text that is not UTF-8": lambda deflating: deflating.deflated(b"gar\xe7on"),
}


@pytest.mark.case("W32", "RFC 6455 10.4 and 5.2, OWASP ASVS 5.0 4.4.2", decides="server")
def test_inflated_message_over_1_mib_fails(server: Address) -> None:
    """The limit holds for what a message inflates to, in one frame and in fragments."""
    half = "x" * (LIMIT // 2)
    for pieces in (
        (half + half + "x",),
        ("é" * (LIMIT // 2), "x"),
        (half, half, half),
        (half * 32,),
    ):
        with offering(server, OF_A_BROWSER) as (socket, deflating):
            if deflating is None:
                socket.send(*framed([HELLO]))
            else:
                socket.send(*deflating.deflated(*pieces))
            size = sum(len(piece.encode()) for piece in pieces)
            socket.assert_fails(f"a message that inflates to {size} bytes")


@pytest.mark.case("W32", "RFC 6455 10.4, CWE-409, OWASP ASVS 5.0 4.4.2", decides="server")
def test_deflate_bomb_is_bounded(process: Running) -> None:
    """Messages of some 100 KiB that inflate to 128 MiB are refused before they fill the memory."""
    for bomb in (framed([bomb_of(128)]), framed([bomb_of(1)] * 128)):
        with growth(process) as grown, offering(process, BARE) as (socket, _):
            socket.send_until_answered(bomb)
            socket.assert_fails("a message that inflates to 128 MiB")

        assert grown.bytes < 64 * MIB, f"a bomb of 128 MiB took {grown}, wanted under 64 MiB"
    status = exchange(process).status

    assert status == 200, f"after the bombs GET / gave {status}, wanted 200"


def bomb_of(size: int) -> bytes:
    """Return what inflates to `size` MiB, with the end of a block that belongs to a fragment."""
    deflate = zlib.compressobj(level=9, wbits=-15)
    return (deflate.compress(b"x" * MIB) + deflate.flush(zlib.Z_FULL_FLUSH)) * size
