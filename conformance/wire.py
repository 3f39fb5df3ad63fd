"""HTTP/1.1 over a raw TCP connection: what is sent is bytes, what comes back is judged by h11.

h11 plays the client, so a status line, header or chunk that breaks RFC 9112 raises. Whatever an app
or server does wrong on the wire is raised as `WireError`, which pytest reports as a failed case.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import h11

# How long an answer may take that the contract wants at once. It only bounds a run against a server
# that never answers, so it is long enough for a busy machine.
PATIENCE = 10.0

type Headers = Iterable[tuple[str, str]]


# What curl, axios and a browser's address bar accept: each takes whatever there is.
TAKES_ALL = (
    "*/*",
    "application/json, text/plain, */*",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
)


class WireError(AssertionError):
    """The other side did something that the contract or a public spec forbids."""


class Closed(WireError):
    """The other side closed or reset the connection where bytes were due."""


class Malformed(WireError):
    """What came is not HTTP/1.1, or is cut short."""


class Silence(WireError):
    """The other side sent nothing for the time it had."""


class Address(Protocol):
    """Anything with the host and port of a server."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class Connection:
    """One TCP connection. `received` keeps every byte that came, for messages and raw checks."""

    def __init__(self, address: Address, *, receive_buffer: int | None = None):
        self.authority = f"{address.host}:{address.port}"
        self.socket = socket.socket()
        if receive_buffer is not None:
            # Has to be set before the connection is made, or the window is already larger.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((address.host, address.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send all of `data`; raise `Closed` when the other side has gone."""
        try:
            self.socket.sendall(data)
        except TimeoutError:
            raise Silence(f"the other side took none of {len(data)} bytes") from None
        except OSError as error:
            raise Closed(f"could not send {len(data)} bytes: {error}") from None

    def receive(self, within: float = PATIENCE) -> bytes:
        """Return the next bytes, or b"" at the end of the stream (a reset counts as the end)."""
        self.socket.settimeout(max(within, 0.001))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise Silence(
                f"nothing came within {max(within, 0):g} s; before that {tail(self.received)}"
            ) from None
        except ConnectionError:
            data = b""
        finally:
            self.socket.settimeout(PATIENCE)
        self.received += data
        return data

    def receive_to_end(self, within: float = PATIENCE) -> bytes:
        """Return everything until the other side closes; raise `Silence` when it does not."""
        deadline = time.monotonic() + within
        data = b""
        while chunk := self.receive(deadline - time.monotonic()):
            data += chunk
        return data

    def stays_silent(self, seconds: float) -> bool:
        """Return whether the other side neither sends nor closes for `seconds`."""
        try:
            self.receive(seconds)
        except Silence:
            return True
        return False

    def reset(self) -> None:
        """Leave with RST instead of FIN, as a client that crashes does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        """Leave with FIN."""
        self.socket.close()


@dataclass
class Response:
    """A final response. `headers` are in the order sent, names in lower case."""

    status: int
    http_version: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    informational: list[int] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """Return a field's value, lists joined by commas (RFC 9110 section 5.3), or None."""
        values = [value for key, value in self.headers if key == name]
        return ", ".join(values) if values else None

    def __str__(self) -> str:
        return f"{self.status} with {self.headers} and body {tail(self.body)}"


class Reader:
    """Reads the responses on one connection, in order."""

    def __init__(self, connection: Connection):
        self.connection = connection
        self._rest = b""
        self._parser: h11.Connection | None = None

    def head(self, method: str = "GET", within: float = PATIENCE) -> Response:
        """Read a response up to its body; `method` is the request's, it decides the framing.

        Raises `Closed` when the connection ends before the first byte of a response.
        """
        self._parser = _parser_after(method)
        if self._rest:
            self._parser.receive_data(self._rest)
        informational = []
        deadline = time.monotonic() + within
        while True:
            event = self._next_event(deadline)
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                informational.append(event.status_code)
                continue
            if not isinstance(event, h11.Response | h11.InformationalResponse):
                raise Closed(f"the connection was closed before a response to {method}")
            headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in event.headers]
            version = event.http_version.decode()
            return Response(event.status_code, version, headers, informational=informational)

    def chunks(self, within: float = PATIENCE) -> Iterator[bytes]:
        """Yield the body in the pieces it came in; raise `Malformed` when it is cut short."""
        assert self._parser is not None, "read the head first"
        deadline = time.monotonic() + within
        while True:
            event = self._next_event(deadline)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._rest = self._parser.trailing_data[0]
                return
            else:
                raise Malformed(f"wanted the rest of a body, saw {event!r}")

    def response(self, method: str = "GET", within: float = PATIENCE) -> Response:
        """Read a whole response."""
        response = self.head(method, within)
        if response.status != 101:
            response.body = b"".join(self.chunks(within))
        return response

    @property
    def rest(self) -> bytes:
        """What came behind the head of a 101, so far: it is no longer HTTP."""
        assert self._parser is not None, "read the head first"
        return self._parser.trailing_data[0]

    def _next_event(self, deadline: float) -> h11.Event | type[h11.PAUSED]:
        assert self._parser is not None
        while True:
            try:
                event = self._parser.next_event()
                if event is not h11.NEED_DATA:
                    return event  # type: ignore[return-value]  # NEED_DATA is ruled out
                data = self.connection.receive(deadline - time.monotonic())
                awaits_head = self._parser.their_state is h11.SEND_RESPONSE
                if not data and awaits_head and not self._parser.trailing_data[0]:
                    raise Closed("the connection was closed before a response")
                self._parser.receive_data(data)
            except h11.RemoteProtocolError as error:
                seen = tail(self.connection.received)
                raise Malformed(f"not a whole HTTP/1.1 response ({error}): {seen}") from None


def _parser_after(method: str) -> h11.Connection:
    """Return a parser that has sent a request of this method and awaits the answer."""
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    upgrade = [("connection", "upgrade"), ("upgrade", "websocket")]
    parser.send(h11.Request(method=method, target="/", headers=[("host", "suite"), *upgrade]))
    parser.send(h11.EndOfMessage())
    return parser


def request(
    address: Address,
    method: str = "GET",
    target: str = "/",
    headers: Headers = (),
    body: bytes | None = None,
) -> bytes:
    """Return the bytes of a request with a Host, and a Content-Length where there is a body."""
    fields = list(headers)
    if not any(name.lower() == "host" for name, _ in fields):
        fields.insert(0, ("Host", f"{address.host}:{address.port}"))
    if body is not None:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


def exchange(
    address: Address,
    method: str = "GET",
    target: str = "/",
    headers: Headers = (),
    body: bytes | None = None,
    within: float = PATIENCE,
) -> Response:
    """Send one request on a connection of its own and return the whole response."""
    with Connection(address) as connection:
        connection.send(request(address, method, target, headers, body))
        return Reader(connection).response(method, within)


def status(address: Address, target: str = "/", headers: Headers = ()) -> int:
    """Return the status of a GET, and leave before its body has come."""
    with Connection(address) as connection:
        connection.send(request(address, "GET", target, headers))
        return Reader(connection).head().status


def tail(data: bytes, limit: int = 200) -> str:
    """Return the end of `data` as a message shows it."""
    shown = data[-limit:]
    return f"{'…' if len(data) > limit else ''}{shown!r}"
