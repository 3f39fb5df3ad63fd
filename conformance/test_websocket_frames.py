"""Frames that a server has to join, answer, pass over or refuse."""

from __future__ import annotations

import pytest
from wsproto.frame_protocol import Opcode

from conformance.frames import (
    NO_CODE,
    RSV1,
    RSV2,
    RSV3,
    WebSocket,
    close,
    connect,
    frame,
    more,
    text,
)
from conformance.wire import Address

pytestmark = pytest.mark.needs("websocket")


def assert_frame(socket: WebSocket, opcode: Opcode, payload: bytes, after: str) -> None:
    """Raise unless the next frame is this one."""
    seen = socket.frame()
    wanted = f"{opcode.name} {payload!r}"
    assert (seen.opcode, seen.payload) == (opcode, payload), f"{after} gave {seen}, wanted {wanted}"


def assert_fails(server: Address, what: str, *frames: bytes) -> None:
    """Raise unless these frames, sent on a socket of their own, end it without an answer."""
    with connect(server) as socket:
        socket.send(*frames)
        socket.assert_fails(what)


# Messages and what may stand between their fragments


def fragments(*payloads: bytes) -> list[bytes]:
    """Return the frames of one text message."""
    last = len(payloads) - 1
    first = text(payloads[0], fin=last == 0)
    return [first, *(more(p, fin=n == last) for n, p in enumerate(payloads[1:], start=1))]


@pytest.mark.case("W24", "RFC 6455 5.4", decides="server")
def test_fragments_are_joined(server: Address) -> None:
    """A message in fragments gets one reply, wherever they are cut and however they arrive."""
    wide = "zwölf €uro 😀".encode()
    messages = [
        (b"one, ", b"two, ", b"three"),
        (b"one",),
        (b"", b""),
        (b"", b"in the middle", b"", b""),
        tuple(wide[n : n + 1] for n in range(len(wide))),
        tuple(b"%d," % number for number in range(500)),
        (b"a" * 125, b"b" * 126, b"c" * 65535, b"d" * 65536),
    ]
    with connect(server) as socket:
        for message in messages:
            socket.send(*fragments(*message))
            assert_echo(socket, b"".join(message), f"{len(message)} fragments in one segment")
        for byte in b"".join(fragments(b"byte ", b"", b"by byte, ", wide)):
            socket.connection.send(bytes([byte]))
        assert_echo(socket, b"byte by byte, " + wide, "a byte at a time")


def assert_echo(socket: WebSocket, payload: bytes, what: str) -> None:
    seen, wanted = socket.message(), f"echo: {payload.decode()}"
    assert seen == wanted, (
        f"{what} gave {len(seen)} characters {seen[:60]!a}, wanted {len(wanted)} {wanted[:60]!a}"
    )


@pytest.mark.case("W25", "RFC 6455 5.5.2 and 5.5.3", decides="server")
def test_ping_gets_same_pong(server: Address) -> None:
    """A ping is answered at once by a pong with its payload, also between two fragments."""
    payloads = (b"", b"ping", bytes(range(131, 256)), b"\0" * 125)
    with connect(server) as socket:
        for payload in payloads:
            socket.send(frame(Opcode.PING, payload))
            assert_frame(socket, Opcode.PONG, payload, f"a ping of {len(payload)} bytes")
        socket.send(text("in ", fin=False))
        for payload in payloads:
            socket.send(more(b"pieces ", fin=False), frame(Opcode.PING, payload))
            assert_frame(socket, Opcode.PONG, payload, "a ping between fragments")
        socket.send(more(b"and whole", fin=True))
        assert_echo(socket, b"in " + b"pieces " * 4 + b"and whole", "fragments with pings between")


@pytest.mark.case("W25", "RFC 6455 5.5.3", decides="server")
def test_unsolicited_pong_ignored(server: Address) -> None:
    """A pong that nobody asked for changes nothing, also between two fragments."""
    pongs = [frame(Opcode.PONG, payload) for payload in (b"", b"here", b"\xff" * 125)]
    with connect(server) as socket:
        socket.send(*pongs, text("behind"))
        assert_frame(socket, Opcode.TEXT, b"echo: behind", "a text behind pongs")
        socket.send(text("two ", fin=False), *pongs, more(b"halves", fin=True))
        assert_frame(socket, Opcode.TEXT, b"echo: two halves", "fragments with pongs between")


@pytest.mark.case("W24", "RFC 6455 5.4", decides="server")
def test_stray_fragments_fail(server: Address) -> None:
    """A fragment without a first one fails the connection, and so does a message inside another."""
    assert_fails(server, "a fragment without a first one", more(b"stray", fin=True))
    assert_fails(server, "an open fragment without a first one", more(b"stray", fin=False))
    assert_fails(server, "a message inside another", text("a", fin=False), text("b"))
    assert_fails(
        server, "a fragmented message inside another", text("a", fin=False), text("b", fin=False)
    )
    with connect(server) as socket:
        socket.send(*fragments(b"two ", b"halves"))
        assert_echo(socket, b"two halves", "two fragments")
        socket.send(more(b"a third", fin=True))
        socket.assert_fails("a fragment behind the last one")


@pytest.mark.case("W26", "RFC 6455 5.1 and 5.2", decides="server")
def test_server_frames_unmasked(server: Address) -> None:
    """Frames of the server are unmasked, and their lengths take as few bytes as they can."""
    with connect(server) as socket:
        for length in (0, 1, 119, 120, 65529, 65530):
            socket.send(text("x" * length))
            assert_echo(socket, b"x" * length, f"{length} characters")
        socket.send(frame(Opcode.PING, b"mask?"))
        assert_frame(socket, Opcode.PONG, b"mask?", "a ping")
        socket.send(close(1000))
        socket.ending("Close 1000")


# Closing


@pytest.mark.case("W27", "RFC 6455 5.5.1 and 7.1.1", decides="server")
def test_close_1000_is_answered_and_tcp_closed(server: Address) -> None:
    """Close 1000 is answered with Close, then the server ends the TCP connection."""
    for reason in (b"", "adieu, mes frères".encode(), b"x" * 123):
        assert_closes(server, 1000, close(1000, reason), f"Close 1000 with reason {reason[:20]!r}")


@pytest.mark.case("W27", "RFC 6455 5.5.1 and 7.1.5", decides="server")
def test_close_without_code(server: Address) -> None:
    """A Close without a code is answered too, and the TCP connection ends."""
    assert_closes(server, 1000, close(), "Close without a code")


@pytest.mark.case("W27", "RFC 6455 7.4.1 and 7.4.2", decides="server")
def test_valid_close_codes_are_answered(server: Address) -> None:
    """Any code that a client may send is answered as 1000 is."""
    for code in (1001, 1003, 1007, 1008, 1009, 1011, 3000, 3999, 4000, 4999):
        assert_closes(server, code, close(code, b"so there"), f"Close {code}")


def assert_closes(server: Address, code: int, data: bytes, what: str) -> None:
    """Raise unless a Close is answered by one that does not complain, and the connection ends."""
    with connect(server) as socket:
        socket.echo("open")
        socket.send(data)
        seen = socket.ending(what)

    assert seen in (code, 1000, NO_CODE), (
        f"{what} gave {seen}, wanted {code}, 1000 or {NO_CODE}, which is none"
    )


@pytest.mark.case("W27", "RFC 6455 1.4 and 5.5.1", decides="server")
def test_nothing_is_echoed_behind_close(server: Address) -> None:
    """What a client sends behind its Close is dropped."""
    with connect(server) as socket:
        socket.send(close(1000), text("late"))
        code = socket.ending("a text behind Close")

    assert code in (1000, NO_CODE), f"Close 1000 with text behind it gave {code}, wanted 1000"


@pytest.mark.case("W28", "RFC 6455 7.4.1 and 7.4.2", decides="server")
def test_invalid_close_codes_are_1002(server: Address) -> None:
    """A Close with a code that none may send is answered with 1002."""
    for code in (0, 1, 999, 1005, 1006, 1015):
        with connect(server) as socket:
            socket.send(close(code))
            seen = socket.ending(f"Close {code}")

        assert seen == 1002, f"Close {code} gave {seen}, wanted 1002"


@pytest.mark.case("W28", "RFC 6455 5.5.1", decides="server")
def test_one_byte_close_fails(server: Address) -> None:
    """A Close with half a code fails the connection."""
    assert_fails(server, "a Close of one byte", frame(Opcode.CLOSE, b"\x03"))


# Frames that end a connection


@pytest.mark.case("W29", "RFC 6455 5.1", decides="server")
def test_unmasked_frame_fails(server: Address) -> None:
    """A frame without a mask ends the connection and is not answered."""
    for opcode in (Opcode.TEXT, Opcode.PING):
        for payload in (b"", b"bare", b"x" * 125):
            bare = frame(opcode, payload, masked=False)
            assert_fails(server, f"an unmasked {opcode.name} of {len(payload)} bytes", bare)
    bare = frame(Opcode.CONTINUATION, b"bare", masked=False)
    assert_fails(server, "an unmasked last fragment", text("masked, ", fin=False), bare)


@pytest.mark.case("W29", "RFC 6455 5.2", decides="server")
def test_reserved_bits_and_opcodes_fail(server: Address) -> None:
    """A reserved bit that no extension gave a meaning fails the connection, as does an opcode."""
    for rsv in (RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3):
        for opcode in (Opcode.TEXT, Opcode.PING):
            what = f"{opcode.name} with reserved bits {rsv:03b}"
            assert_fails(server, what, frame(opcode, b"reserved", rsv=rsv))
        last = frame(Opcode.CONTINUATION, b"reserved", rsv=rsv)
        assert_fails(server, f"a last fragment with {rsv:03b}", text("a", fin=False), last)
    for unknown in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        assert_fails(server, f"opcode {unknown:#x}", frame(unknown, b"reserved"))


@pytest.mark.case("W29", "RFC 6455 5.5", decides="server")
def test_oversized_control_fails(server: Address) -> None:
    """A control frame of more than 125 bytes fails the connection."""
    for length in (126, 127, 65535, 65536):
        for opcode in (Opcode.PING, Opcode.PONG):
            what = f"{opcode.name} of {length} bytes"
            assert_fails(server, what, frame(opcode, b"x" * length))
    assert_fails(server, "CLOSE of 126 bytes", close(1000, b"x" * 124))


@pytest.mark.case("W29", "RFC 6455 5.4 and 5.5", decides="server")
def test_fragmented_control_fails(server: Address) -> None:
    """A control frame in fragments fails the connection."""
    for opcode, payload in (
        (Opcode.PING, b"half"),
        (Opcode.PONG, b"half"),
        (Opcode.CLOSE, b"\x03\xe8"),
    ):
        assert_fails(
            server, f"a first fragment of {opcode.name}", frame(opcode, payload, fin=False)
        )


@pytest.mark.case("W30", "RFC 6455 5.6 and 8.1", decides="server")
def test_bad_utf8_fails(server: Address) -> None:
    """Text that is not UTF-8 fails the connection and is never echoed, mended or not."""
    for payload in (
        b"\xff",
        b"\x80 stray",
        b"overlong \xc0\xaf",
        b"overlong \xe0\x80\xaf",
        b"overlong \xf0\x80\x80\xaf",
        b"surrogate \xed\xa0\x80",
        b"pair \xed\xa0\xbd\xed\xb8\x80",
        b"too far \xf4\x90\x80\x80",
        b"too far \xf8\x88\x80\x80\x80",
        b"cut \xe2\x82",
        b"\xf0\x9f\x98",
        b"\xe2\x82 cut in the middle",
        "façade".encode("latin-1"),
    ):
        assert_fails(server, f"the text {payload!r}", text(payload))
    assert_fails(server, "text cut at its end", *fragments(b"a ", b"b ", b"\xe2\x82"))
    assert_fails(server, "text cut by its last fragment", *fragments(b"\xe2\x82", b"\xe2\x82\xac"))
    assert_fails(server, "latin-1 in a middle fragment", *fragments(b"a", b"\xe9", b"b"))
