"""`/ws` by the maintained WebSocket client: what goes wrong is told as seen and wanted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socket import SO_SNDTIMEO, SOL_SOCKET, create_connection

from websockets import ConnectionClosed, InvalidStatus, Origin, WebSocketException
from websockets.sync.client import ClientConnection, connect

from conformance.wire import (
    PATIENCE,
    Address,
    Closed,
    Headers,
    Response,
    Silence,
    WireError,
    exchange,
)

LIMIT = 1024 * 1024
PREFIX = "echo: "

UPGRADE = (
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
)


def handshake(
    server: Address,
    headers: Headers = (),
    target: str = "/ws",
    method: str = "GET",
    within: float = PATIENCE,
) -> Response:
    """Return the answer to an opening handshake with further headers; leave it at that."""
    return exchange(server, method, target, [*UPGRADE, *headers], within=within)


@contextmanager
def opened(
    server: Address, *, host: str | None = None, origin: str | None = None
) -> Iterator[Socket]:
    """Open `/ws`. `host` is what the field Host says, where that is not the address."""
    connection = create_connection((server.host, server.port), PATIENCE)
    # Without it, a send to a server that reads no more would last for ever.
    connection.setsockopt(SOL_SOCKET, SO_SNDTIMEO, struct.pack("ll", int(PATIENCE), 0))
    host = host or f"{server.host}:{server.port}"
    try:
        client = connect(
            f"ws://{host}/ws",
            sock=connection,
            origin=None if origin is None else Origin(origin),
            compression=None,
            proxy=None,
            open_timeout=PATIENCE,
            ping_interval=None,
            close_timeout=1,
            max_size=None,
            max_queue=None,
        )
    except REFUSALS as error:
        seen = error.response.status_code if isinstance(error, InvalidStatus) else repr(error)
        raise WireError(
            f"the handshake for Host {host} and Origin {origin} gave {seen}, wanted 101"
        ) from None
    with client:
        yield Socket(client)


# What `connect` raises for an answer that is not 101, for none, and (ValueError) for a redirect.
REFUSALS = (WebSocketException, OSError, EOFError, ValueError)


@dataclass
class Socket:
    """An open WebSocket."""

    client: ClientConnection

    def send(self, *fragments: str | bytes) -> None:
        """Send one message, in as many frames as there are fragments."""
        try:
            self.client.send(fragments[0] if len(fragments) == 1 else iter(fragments))
        except ConnectionClosed as error:
            size = sum(map(len, fragments))
            raise Closed(f"could not send {size} characters or bytes: {error}") from None

    def receive(self, within: float = PATIENCE) -> str | bytes:
        """Return the next message."""
        try:
            return self.client.recv(within)
        except TimeoutError:
            if (close := self.client.protocol.close_rcvd) is not None:
                seen = f"Close {close.code} came, and {within:g} s later the connection is open"
                raise Silence(f"{seen}, wanted its end") from None
            raise Silence(f"no message came within {within:g} s, wanted one") from None
        except ConnectionClosed as error:
            raise Closed(f"saw the end ({error}), wanted a message") from None

    def receive_close(self) -> int:
        """Return the code of the server's Close, 1005 for one without, 1006 where none came."""
        try:
            message = self.receive()
        except Closed:
            code = self.client.close_code
            assert code is not None, "a connection that is closed has a code"
            return code
        raise WireError(f"saw the message {shown(message)}, wanted a Close")

    def stays_silent(self, seconds: float) -> bool:
        """Return whether neither a message nor the end comes for `seconds`."""
        try:
            self.receive(seconds)
        except Silence:
            return True
        except Closed:
            pass
        return False

    def assert_echo(self, *fragments: str) -> None:
        """Send a text message; raise unless the next message is its echo."""
        self.send(*fragments)
        self.assert_next("".join(fragments))

    def assert_next(self, text: str) -> None:
        """Raise unless the next message is the echo of `text`."""
        seen = self.receive()
        wanted = PREFIX + text
        assert seen == wanted, f"{shown(text)} gave {shown(seen)}, wanted {shown(wanted)}"


def shown(message: str | bytes) -> str:
    """Return a message as a failure shows it: whole when short, or its length and both ends."""
    if len(message) <= 60:
        return ascii(message)
    unit = "characters" if isinstance(message, str) else "bytes"
    return f"{len(message)} {unit} {message[:20]!a}…{message[-20:]!a}"
