"""WebSocket over a raw connection: any frame can be sent, and every frame that comes is judged.

wsproto's decoder plays the client, so a frame that breaks RFC 6455 section 5.2 raises: one that is
masked, has reserved bits or an unknown opcode, or gives its length in more bytes than it needs.
"""

from __future__ import annotations

import secrets
import select
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from wsproto.frame_protocol import Frame as DecodedFrame
from wsproto.frame_protocol import FrameDecoder, Opcode, ParseFailed, XorMaskerSimple

from conformance.sockets import UPGRADE
from conformance.wire import (
    PATIENCE,
    Address,
    Closed,
    Connection,
    Headers,
    Reader,
    Response,
    Silence,
    WireError,
    request,
    tail,
)

RSV1, RSV2, RSV3 = 0b100, 0b010, 0b001
# What RFC 6455 section 7.1.5 calls a Close frame without a code, and an end without a Close frame.
NO_CODE, NO_CLOSE = 1005, 1006

type Fields = tuple[tuple[str, str], ...]


class BadFrame(WireError):
    """What came is not a sequence of frames that a server may send."""


# Sending


def opening(address: Address, fields: Headers = UPGRADE) -> bytes:
    """Return the bytes of an opening handshake for `/ws`."""
    return request(address, target="/ws", headers=fields)


def with_field(name: str, value: str | None) -> Fields:
    """Return the fields of a handshake with one of them changed, added or, by None, left out."""
    others = tuple(field for field in UPGRADE if field[0] != name)
    return others if value is None else (*others, (name, value))


def head(opcode: int, length: int, *, fin: bool = True, rsv: int = 0, mask: bytes = b"") -> bytes:
    """Return the bytes that stand before a payload of `length` bytes."""
    first, masked = fin << 7 | rsv << 4 | opcode, 0x80 if mask else 0
    if length < 126:
        return struct.pack("!BB", first, masked | length) + mask
    if length < 65536:
        return struct.pack("!BBH", first, masked | 126, length) + mask
    return struct.pack("!BBQ", first, masked | 127, length) + mask


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True
) -> bytes:
    """Return the bytes of a frame, legal or not; clients have to mask, so `masked` is the rule."""
    if not masked:
        return head(opcode, len(payload), fin=fin, rsv=rsv) + payload
    mask = secrets.token_bytes(4)
    content = XorMaskerSimple(mask).process(bytearray(payload))
    return head(opcode, len(payload), fin=fin, rsv=rsv, mask=mask) + content


def text(message: str | bytes, *, fin: bool = True) -> bytes:
    """Return a text frame; given as bytes, the text need not be UTF-8."""
    return frame(Opcode.TEXT, message.encode() if isinstance(message, str) else message, fin=fin)


def more(payload: bytes, *, fin: bool) -> bytes:
    """Return a further fragment of a message; with `fin` its last one."""
    return frame(Opcode.CONTINUATION, payload, fin=fin)


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    """Return a Close frame; without a code its payload is empty."""
    return frame(Opcode.CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


# Receiving


@dataclass(frozen=True)
class Frame:
    """A frame that a server sent; `payload` is inflated where deflate was negotiated."""

    opcode: Opcode
    payload: bytes = b""
    fin: bool = True

    def __str__(self) -> str:
        return f"{self.opcode.name} {tail(self.payload, 40)}"


class WebSocket:
    """One WebSocket, open. Pings of the server are answered and not shown."""

    def __init__(self, connection: Connection, response: Response, rest: bytes = b""):
        self.connection = connection
        self.response = response
        self.decoder = FrameDecoder(client=True)
        self.decoder.receive_bytes(rest)

    def send(self, *frames: bytes) -> None:
        """Send frames, made by the functions above, in one piece."""
        self.connection.send(b"".join(frames))

    def send_until_answered(self, frames: Iterable[bytes]) -> None:
        """Send frames one after the other, but no more once the server answers or closes.

        A server that refuses a message closes while the rest of it is still being sent, and may
        read none of that.
        """
        connection = self.connection.socket
        for data in frames:
            view = memoryview(data)
            while view:
                readable, writable, _ = select.select([connection], [connection], [], PATIENCE)
                if readable:
                    return
                if not writable:
                    raise Silence(f"the server neither read nor answered for {PATIENCE:g} s")
                try:
                    view = view[connection.send(view) :]
                except OSError:
                    return

    def frame(self, within: float = PATIENCE) -> Frame:
        """Return the next frame; raise `Closed` when the connection ends instead."""
        deadline = time.monotonic() + within
        while (frame := self._frame(deadline)).opcode is Opcode.PING:
            self.send(_answer_to(frame))
        return frame

    def message(self, within: float = PATIENCE) -> str:
        """Return the next text message, put together from its fragments."""
        deadline = time.monotonic() + within
        payload, wanted = b"", Opcode.TEXT
        while True:
            frame = self.frame(deadline - time.monotonic())
            if frame.opcode is Opcode.CLOSE:
                raise Closed(f"saw Close {close_code(frame)}, wanted a text message")
            if frame.opcode is Opcode.PONG:
                continue
            if frame.opcode is not wanted:
                raise BadFrame(f"saw {frame}, wanted {wanted.name}")
            payload, wanted = payload + frame.payload, Opcode.CONTINUATION
            if frame.fin:
                return _decoded(payload)

    def echo(self, message: str = "still here") -> str:
        """Send a message and return the next one that comes."""
        self.send(text(message))
        return self.message()

    def ending(self, after: str) -> int:
        """Read to the end; return the code of the server's Close, or why there is none.

        Close is answered, as a client has to. Raises where a message or a pong comes first, or no
        end; `after` says in the message what was sent.
        """
        deadline = time.monotonic() + PATIENCE
        try:
            frame = self.frame(deadline - time.monotonic())
            if frame.opcode is not Opcode.CLOSE:
                raise BadFrame(f"{after} gave {frame}, wanted Close or the end of the connection")
            with suppress(Closed):
                self.send(_answer_to(frame))
            behind = self.connection.receive_to_end(deadline - time.monotonic())
        except Closed:
            return NO_CLOSE
        except Silence:
            seen = tail(self.connection.received)
            raise Silence(f"{after} left the connection open, wanted its end; saw {seen}") from None
        if behind := bytes(self.decoder.buffer.buffer) + behind:
            raise BadFrame(f"{after} gave {tail(behind)} behind Close, wanted the end")
        return close_code(frame)

    def assert_fails(self, after: str) -> None:
        """Raise unless the server ends the connection without an answer to what was sent.

        RFC 6455 section 7.1.7 leaves open whether it says why, so any code will do but 1000, which
        means that all went well.
        """
        code = self.ending(after)
        assert code != 1000, f"{after} gave Close 1000, wanted the connection to fail"

    def _frame(self, deadline: float) -> Frame:
        parts: list[DecodedFrame] = []
        while not parts or not parts[-1].frame_finished:
            try:
                part = self.decoder.process_buffer()
            except ParseFailed as error:
                seen = tail(self.connection.received)
                raise BadFrame(f"saw no frame of a server ({error}): {seen}") from None
            if part is not None:
                parts.append(part)
                continue
            data = self.connection.receive(deadline - time.monotonic())
            if not data and (parts or len(self.decoder.buffer)):
                raise BadFrame(f"a frame is cut short: {tail(self.connection.received)}")
            if not data:
                raise Closed("the connection ended where a frame was due")
            self.decoder.receive_bytes(data)
        payload = b"".join(bytes(part.payload) for part in parts)  # type: ignore[arg-type]  # a FrameDecoder yields bytes only
        return Frame(parts[0].opcode, payload, parts[-1].message_finished)


def close_code(frame: Frame) -> int:
    """Return the code of a Close frame; raise `BadFrame` for one that none may send."""
    if not frame.payload:
        return NO_CODE
    if len(frame.payload) == 1:
        raise BadFrame(f"saw {frame}, wanted a code of two bytes")
    code = int.from_bytes(frame.payload[:2])
    if not (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) and not 3000 <= code <= 4999:
        raise BadFrame(f"saw Close {code}, wanted a code that may be sent")
    _decoded(frame.payload[2:])
    return code


def _decoded(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise BadFrame(f"saw {tail(payload)}, wanted UTF-8: {error}") from None


def _answer_to(received: Frame) -> bytes:
    answers = {Opcode.PING: Opcode.PONG, Opcode.CLOSE: Opcode.CLOSE}
    return frame(answers[received.opcode], received.payload)


@contextmanager
def connect(
    address: Address, fields: Headers = UPGRADE, *, receive_buffer: int | None = None
) -> Iterator[WebSocket]:
    """Open a WebSocket on a connection of its own; raise `WireError` when the server refuses."""
    with Connection(address, receive_buffer=receive_buffer) as connection:
        connection.send(opening(address, fields))
        reader = Reader(connection)
        response = reader.head()
        if response.status != 101:
            raise WireError(f"the opening handshake gave {response.status}, wanted 101")
        yield WebSocket(connection, response, reader.rest)
