"""The model behind the relay, played by the test: it says a token when told, and not before.

There is no thread and no loop. The system accepts connections and keeps what the app sends, so a
case acts both sides in turn: what the client has read by then cannot have waited for what the model
says next, and whoever looks sees how the app left the model. Order is observed, not timed.
"""

from __future__ import annotations

import gzip
import json
import select
import socket
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import h11

from conformance.wire import PATIENCE, Closed, Headers, Silence, WireError, tail
from stacks import HOST, free_port

# Small, so that an app that stops reading is felt soon.
SEND_BUFFER = 64 * 1024
EVENT_STREAM = "text/event-stream"
DONE = "[DONE]"

# How long a flood may be refused before it counts as stalled.
STALLED_AFTER = 0.5


class Upstream:
    """Listens at `url`; each request that arrives is an `Exchange`."""

    def __init__(self) -> None:
        self.port = free_port()
        self._waiting: list[Exchange] = []  # connections without a whole request
        self._exchanges: list[Exchange] = []
        self._listen()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/v1"

    @property
    def busy(self) -> int:
        """How many requests are open, which means that neither side has closed the connection."""
        self._exchanges = [exchange for exchange in self._exchanges if not exchange.is_closed()]
        return len(self._exchanges)

    def next_request(self, within: float = PATIENCE) -> Exchange:
        """Return the next request when it is there as a whole; raise `Silence` when none comes."""
        deadline = time.monotonic() + within
        while True:
            # An app may open a connection and have no use for it yet, so all of them are looked at.
            sources = [self._listener, *(exchange.socket for exchange in self._waiting)]
            left = max(deadline - time.monotonic(), 0)
            if not readable(sources, left):
                raise Silence(f"no request came to the upstream within {within:g} s, wanted one")
            if readable([self._listener], 0):
                self._waiting.append(Exchange(self._listener.accept()[0]))
            for exchange in list(self._waiting):
                if exchange.receive_request():
                    self._waiting.remove(exchange)
                    self._exchanges.append(exchange)
                    return exchange
                if exchange.closed:
                    self._waiting.remove(exchange)

    def hears_nothing(self, seconds: float) -> bool:
        """Return whether no request comes for `seconds`."""
        try:
            self.next_request(seconds)
        except Silence:
            return True
        return False

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Have connections refused as long as the block runs."""
        self.close()
        try:
            yield
        finally:
            self._listen()

    def forget(self) -> None:
        """Drop all connections, also those that wait to be accepted."""
        while readable([self._listener], 0):
            self._listener.accept()[0].close()
        for exchange in self._waiting + self._exchanges:
            exchange.close()
        self._waiting.clear()
        self._exchanges.clear()

    def close(self) -> None:
        self.forget()
        self._listener.close()

    def _listen(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._listener.bind((HOST, self.port))
        self._listener.listen(1024)


class Exchange:
    """One request, and its answer as far as it has been told.

    `accepted` counts the bytes of the answer that the app's side took. `closed` tells whether either
    side was seen to leave. Every answer says `Connection: close`, so a connection that is open is one
    that the app holds open.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.method = self.target = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.accepted = 0
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._compressor: zlib._Compress | None = None
        self.closed = False
        self._unsent = b""

    # The request

    def receive_request(self) -> bool:
        """Take what has come, without waiting; return whether the request is whole."""
        while data := self._receive(0):
            try:
                self._http.receive_data(data)
                if self._take_events():
                    return True
            except h11.RemoteProtocolError as error:
                raise WireError(f"the app sent {tail(data)}, wanted HTTP/1.1 ({error})") from None
        return False

    def _take_events(self) -> bool:
        while (event := self._http.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Request):
                self.method, self.target = event.method.decode(), event.target.decode()
                for name, value in event.headers:
                    self.headers[name.decode()] = value.decode("latin-1")
                if self._http.they_are_waiting_for_100_continue:
                    self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
            elif isinstance(event, h11.Data):
                self.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return True
        return False

    @property
    def json(self) -> Any:
        """The body of the request; raise WireError when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise WireError(f"{tail(self.body)} went upstream, wanted JSON") from None

    # The answer

    def respond(
        self, status: int, body: object, headers: Headers = (), *, compressed: bool = False
    ) -> None:
        """Answer with JSON and close; `compressed` only where the app offered gzip."""
        content = json.dumps(body).encode()
        fields = [("Content-Type", "application/json"), *headers]
        if compressed and self._offers_gzip():
            content = gzip.compress(content)
            fields.append(("Content-Encoding", "gzip"))
        self._head(status, [*fields, ("Content-Length", str(len(content)))])
        self._write(content)
        self.close()

    def start(self, content_type: str = EVENT_STREAM, *, compressed: bool = False) -> None:
        """Begin a stream: the headers, and nothing yet behind them."""
        fields = [("Content-Type", content_type), ("Transfer-Encoding", "chunked")]
        if compressed and self._offers_gzip():
            fields.append(("Content-Encoding", "gzip"))
            self._compressor = zlib.compressobj(wbits=31)
        self._head(200, fields)

    def _offers_gzip(self) -> bool:
        return "gzip" in self.headers.get("accept-encoding", "")

    def _head(self, status: int, headers: Headers) -> None:
        fields = [*headers, ("Connection", "close")]
        lines = [f"HTTP/1.1 {status} Said so", *(f"{name}: {value}" for name, value in fields)]
        self._write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def say(self, *tokens: str) -> None:
        """Say tokens, all of them in one segment."""
        self.send(b"".join(event(completion(token)) for token in tokens))

    def send(self, data: bytes) -> None:
        """Send a piece of the stream as one chunk."""
        if (compressor := self._compressor) is not None:
            data = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        self._write(chunk(data))

    def send_in_pieces(self, data: bytes, size: int = 1) -> None:
        """Send a piece of the stream, cut into chunks wherever `size` falls."""
        pieces = (data[start : start + size] for start in range(0, len(data), size))
        self._write(b"".join(map(chunk, pieces)))

    def finish(self) -> None:
        """End as a model does that has said all: with a reason, the mark and the last chunk."""
        self.send(event(completion(reason="stop")) + event(DONE))
        self.end()

    def end(self) -> None:
        """End the stream in good order, whatever has been said, and close.

        An app that has heard of an error, or the mark, may have left already.
        """
        rest = chunk(self._compressor.flush()) if self._compressor is not None else b""
        with suppress(Closed):
            self._write(rest + chunk(b""))
        self.close()

    def flood(self, limit: int) -> int:
        """Say ever more until the app takes none for a while, or has taken `limit` bytes.

        Returns how many bytes it took.
        """
        data = chunk(event(FLOODED))
        start = self.accepted
        self.socket.setblocking(False)
        while (taken := self.accepted - start) < limit:
            self._unsent = self._unsent or data
            if not poll([self.socket], select.POLLOUT, STALLED_AFTER):
                break
            try:
                sent = self.socket.send(self._unsent)
            except OSError as error:
                raise Closed(f"the app left the upstream {taken} bytes into a flood") from error
            self._unsent = self._unsent[sent:]
            self.accepted += sent
        return taken

    def _write(self, data: bytes) -> None:
        self.socket.settimeout(PATIENCE)
        try:
            self.socket.sendall(self._unsent + data)
        except TimeoutError:
            raise Silence(f"the app took not all of {len(data)} bytes from the upstream") from None
        except OSError as error:
            raise Closed(f"the app has left the upstream ({error}), wanted it to read on") from None
        self.accepted += len(self._unsent + data)
        self._unsent = b""

    # The end

    def leave_in_a_chunk(self, data: bytes) -> None:
        """Leave with FIN in the middle of a chunk."""
        self._write(chunk(data)[: -len(data) // 2])
        self.close()

    def close(self) -> None:
        """Leave with FIN, in the middle of whatever was said."""
        self.closed = True
        self.socket.close()

    def reset(self) -> None:
        """Leave with RST, as a server that crashes does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def is_closed(self) -> bool:
        """Look whether either side has closed the connection; what comes behind a request is lost."""
        while not self.closed and self._receive(0):
            pass
        return self.closed

    def is_closed_within(self, seconds: float) -> bool:
        """Return whether either side closes the connection, as soon as that is known."""
        deadline = time.monotonic() + seconds
        while not self.is_closed() and (left := deadline - time.monotonic()) > 0:
            readable([self.socket], left)
        return self.closed

    def _receive(self, within: float) -> bytes:
        """Return what comes; b"" when nothing does, and when the app has closed the connection."""
        if self.closed or not readable([self.socket], within):
            return b""
        try:
            data = self.socket.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.close()
        return data


def readable(sockets: Sequence[socket.socket], within: float) -> bool:
    """Wait until bytes, a connection or an end has come to any of these; return whether it has."""
    return poll(sockets, select.POLLIN, within)


def poll(sockets: Sequence[socket.socket], event: int, within: float) -> bool:
    poll = select.poll()  # select() cannot look at a descriptor over 1024
    for each in sockets:
        poll.register(each, event)
    return bool(poll.poll(within * 1000))


# What a model says


def completion(content: str | None = None, *, reason: str | None = None) -> dict[str, Any]:
    """Return a chunk of a chat completion."""
    delta = {} if content is None else {"content": content}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "suite",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    }


# One token of a flood: so large that few of them fill every buffer.
FLOODED = completion("x" * 16_384)


def event(data: object, *lines: str, end: str = "\n") -> bytes:
    """Return an event: `lines` as they are, then a line of data, in JSON unless it is text."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return block([*lines, f"data: {text}"], end)


def block(lines: Sequence[str], end: str = "\n") -> bytes:
    """Return lines and the blank one behind them."""
    return "".join(f"{line}{end}" for line in (*lines, "")).encode()


def chunk(data: bytes) -> bytes:
    """Return a chunk of HTTP/1.1; an empty one is the last."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
