"""A small ASGI server that is right where the suite judges: the ground that mutants stand on.

Every server in `servers.toml` fails some case, and says so. A suite that has only been tried on those
could ask for what nobody can do, or miss a fault that all of them share. So this one passes every
required case, and each duty is a line or two of its own here, which a mutant can take away: h11 reads
and writes HTTP, websockets frames, and what those two leave to a server is spelt out.

One coroutine serves one connection. A client is read only when something waits for its bytes, and
written to only as fast as it reads, so neither side can make the other's data pile up.

    python server.py --host 127.0.0.1 --port 8000    # serves app:app from the current folder
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import re
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import h11
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request as HandshakeRequest
from websockets.protocol import State
from websockets.server import ServerProtocol

type Message = dict[str, Any]
type App = Callable[
    [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

CHUNK = 65_536
REQUEST_LINE_LIMIT = 16_384  # twice what RFC 9112 section 3 asks for, and a path of 8 KiB is due
HEAD_LIMIT = 65_536
UNREAD_LIMIT = 1 << 20  # of a body that the app left; beyond it, closing is cheaper than reading on
MESSAGE_LIMIT = 1 << 20
INBOX = 8  # messages of a socket that wait for the app

HEAD_WITHIN = 10.0  # from the first byte of a request to the end of its head
IDLE_WITHIN = 60.0
LINGER = 1.0
CLOSE_WITHIN = 2.0  # for the client's answer to a Close frame
GRACE = 2.5  # for what is in flight at SIGTERM; below the 5 s that the contract gives an exit

ASGI = {"version": "3.0", "spec_version": "2.4"}
END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
BARE_CR_OR_LF = re.compile(rb"(?<!\r)\n|\r(?!\n)")
OBSOLETE_FOLDING = re.compile(rb"\n[ \t]")
HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class Refusal(Exception):
    """A request that the server answers itself; the connection ends behind the answer."""

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()):
        super().__init__(reason)
        self.status = HTTPStatus(status)
        self.headers = headers

    def response(self) -> bytes:
        fields = [("date", formatdate(usegmt=True)), ("content-length", "0"), *self.headers]
        fields.append(("connection", "close"))
        lines = [f"HTTP/1.1 {self.status} {self.status.phrase}", *(f"{k}: {v}" for k, v in fields)]
        return "\r\n".join([*lines, "", ""]).encode()


class Client:
    """One connection: its bytes, and one request after the other."""

    def __init__(self, app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.app = app
        self.reader = reader
        self.writer = writer
        self.buffer = b""  # received and not yet used
        self.idle = True  # between requests
        self.left = False
        self.stopping = False
        self.socket: Socket | None = None
        self.closing: asyncio.Task[None] | None = None

    async def read(self) -> bytes:
        """Return the next bytes, b"" once the client has left, be it by FIN or by RST."""
        try:
            data = await self.reader.read(CHUNK)
        except OSError:
            data = b""
        self.left = self.left or not data
        return data

    async def write(self, data: bytes) -> None:
        """Send, and wait while the client does not read: who stalls, stalls the app."""
        if self.writer.is_closing():
            self.left = True
            raise ConnectionResetError("the client has left")
        self.writer.write(data)
        await self.writer.drain()

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            with suppress(OSError):  # the client left
                await self.serve()
                await self.linger()
        finally:
            self.writer.close()

    async def serve(self) -> None:
        try:
            while not self.stopping and (head := await self.read_head()):
                http, request = parse_head(head)
                if is_handshake(request):
                    self.socket = Socket(self, request)
                    return await self.socket.run()
                if not await Exchange(self, http, request).run():
                    return
        except Refusal as refusal:
            await self.write(refusal.response())

    async def read_head(self) -> bytes:
        """Return the next request up to its blank line, b"" when the client leaves or idles."""
        self.idle = True
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_WITHIN):
                while not (stripped := self.buffer.lstrip(b"\r\n")):  # RFC 9112 2.2 lets them pass
                    if not (data := await self.read()):
                        return b""
                    self.buffer = data
        self.idle = False
        self.buffer = stripped
        try:
            async with asyncio.timeout(HEAD_WITHIN):
                return await self.read_to_blank_line() if stripped else b""
        except TimeoutError:
            raise Refusal(408, "the head of the request is late") from None

    async def read_to_blank_line(self) -> bytes:
        while True:
            line = self.buffer.partition(b"\n")[0]
            if len(line) > REQUEST_LINE_LIMIT:
                raise Refusal(414, f"the request line has over {REQUEST_LINE_LIMIT} bytes")
            blank = END_OF_HEAD.search(self.buffer)
            end = blank.end() if blank else len(self.buffer)
            if end > HEAD_LIMIT:
                raise Refusal(431, f"the head of the request has over {HEAD_LIMIT} bytes")
            if blank:
                head, self.buffer = self.buffer[:end], self.buffer[end:]
                return head
            if not (data := await self.read()):
                return b""
            self.buffer += data

    async def linger(self) -> None:
        """Say that nothing follows, then drop what still comes.

        Closing with unread bytes in the socket makes the kernel send RST, which can overtake the
        last answer on its way to the client (RFC 9112 section 9.6).
        """
        self.writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while await self.read():
                    pass

    def stop(self, task: asyncio.Task[None]) -> None:
        """End between requests, close a socket; what is in flight may finish."""
        self.stopping = True
        if self.idle:
            task.cancel()
        elif self.socket is not None:
            self.closing = asyncio.create_task(self.socket.close(1012, "the server stops"))


# HTTP


def parse_head(head: bytes) -> tuple[h11.Connection, h11.Request]:
    """Return a request and the h11 connection that reads its body; refuse what is malformed."""
    if OBSOLETE_FOLDING.search(head):
        raise Refusal(400, "a folded header field")
    if BARE_CR_OR_LF.search(head):
        raise Refusal(400, "CR without LF, or LF without CR")
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
    http.receive_data(head)
    try:
        # Refuses a missing and a second Host, a blank before a colon, lengths that differ, and with
        # 501 a transfer coding other than chunked.
        request = http.next_event()
    except h11.RemoteProtocolError as error:
        raise Refusal(error.error_status_hint, str(error)) from None
    assert isinstance(request, h11.Request)
    if not request.http_version.startswith(b"1."):
        raise Refusal(505, "not HTTP/1")
    names = [name for name, _ in request.headers]
    if b"transfer-encoding" in names and b"content-length" in names:
        raise Refusal(400, "Content-Length beside Transfer-Encoding")
    if b"transfer-encoding" in names and request.http_version == b"1.0":
        raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
    if not all(HOST.fullmatch(host) for host in values(request, b"host")):
        raise Refusal(400, "not a host")
    return http, request


def values(request: h11.Request, name: bytes) -> list[bytes]:
    return [value for key, value in request.headers if key == name]


def tokens(request: h11.Request, name: bytes) -> list[bytes]:
    """Return a list field's members in lower case."""
    return [t.strip().lower() for value in values(request, name) for t in value.split(b",")]


def scope(client: Client, request: h11.Request, kind: str, scheme: str) -> dict[str, Any]:
    target = re.sub(rb"^https?://[^/?]*", b"", request.target)  # RFC 9112 3.2.2: absolute form
    path, _, query = target.partition(b"?")
    return {
        "type": kind,
        "asgi": ASGI,
        "http_version": request.http_version.decode(),
        "method": request.method.decode(),
        "scheme": scheme,
        "path": unquote(path.decode()) or "/",
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(request.headers),
        "client": client.writer.get_extra_info("peername"),
        "server": client.writer.get_extra_info("sockname"),
    }


class Exchange:
    """One request and its response."""

    def __init__(self, client: Client, http: h11.Connection, request: h11.Request):
        self.client = client
        self.http = http
        self.request = request
        self.started = False
        self.ended = False

    async def run(self) -> bool:
        """Have the app answer; return whether the connection can carry another request."""
        self.http.receive_data(self.client.buffer)
        self.client.buffer = b""
        try:
            kind = scope(self.client, self.request, "http", "http")
            await self.client.app(kind, self.receive, self.send)
        except Exception:  # noqa: BLE001  # of an app anything can come
            if self.client.left:
                return False
            traceback.print_exc()
        if not self.started:
            raise Refusal(500, "the app failed")
        if not self.ended:
            self.client.writer.transport.abort()  # a short answer must not look like a whole one
            return False
        return self.http.our_state is h11.DONE and await self.drop_unread_body()

    async def receive(self) -> Message:
        if self.http.their_state is h11.SEND_BODY:
            if self.http.they_are_waiting_for_100_continue:
                await self.transmit(h11.InformationalResponse(status_code=100, headers=[]))
            with suppress(h11.RemoteProtocolError):
                event = await self.next_event()
                if isinstance(event, h11.Data):
                    return {"type": "http.request", "body": bytes(event.data), "more_body": True}
                return {"type": "http.request", "body": b"", "more_body": False}
        while not self.ended and (data := await self.client.read()):
            self.client.buffer += data  # the next request, sent early
            if len(self.client.buffer) > HEAD_LIMIT:
                await self.client.writer.wait_closed()
        return {"type": "http.disconnect"}

    async def next_event(self) -> object:
        """Return the next piece of the request's body, or its end."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.client.read())
        return event

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            if not any(name == b"date" for name, _ in headers):
                headers.append((b"date", formatdate(usegmt=True).encode()))
            if self.client.stopping or self.http.they_are_waiting_for_100_continue:
                # After a final answer to Expect nobody knows whether the body will still come.
                headers.append((b"connection", b"close"))
            await self.transmit(h11.Response(status_code=message["status"], headers=headers))
            return
        body = message.get("body", b"")
        if body and self.request.method != b"HEAD":
            await self.transmit(h11.Data(data=body))
        if not message.get("more_body", False):
            await self.transmit(h11.EndOfMessage())
            self.ended = True

    async def transmit(self, event: h11.Event) -> None:
        # h11 frames by the client's version: no chunks for HTTP/1.0.
        if data := self.http.send(event):
            await self.client.write(data)

    async def drop_unread_body(self) -> bool:
        """Read what the app left of the body, so that it is never taken for the next request."""
        unread = 0
        with suppress(h11.RemoteProtocolError, TimeoutError):
            async with asyncio.timeout(HEAD_WITHIN):
                while isinstance(event := await self.next_event(), h11.Data):
                    unread += len(event.data)
                    if unread > UNREAD_LIMIT:
                        return False
            self.client.buffer = self.http.trailing_data[0] + self.client.buffer
            return True
        return False


# WebSocket


def is_handshake(request: h11.Request) -> bool:
    """Return whether a request opens a WebSocket; raise Refusal if it wants to, but cannot.

    Any other method, version or protocol, and a request with a body, is plain HTTP, upgrade or not.
    """
    if (
        request.method != b"GET"
        or request.http_version == b"1.0"
        or b"websocket" not in tokens(request, b"upgrade")
        or b"upgrade" not in tokens(request, b"connection")
        or values(request, b"transfer-encoding")
        or values(request, b"content-length") not in ([], [b"0"])
    ):
        return False
    if values(request, b"sec-websocket-version") != [b"13"]:
        raise Refusal(
            426,
            "not version 13",
            (("sec-websocket-version", "13"), ("upgrade", "websocket"), ("connection", "upgrade")),
        )
    keys = values(request, b"sec-websocket-key")
    if len(keys) != 1 or not is_key(keys[0]):
        raise Refusal(400, "no Sec-WebSocket-Key of 16 bytes")
    return True


def is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


class Socket:
    """One WebSocket, from its handshake on."""

    def __init__(self, client: Client, request: h11.Request):
        self.client = client
        self.request = request
        # Every frame passes through `protocol`: masks, reserved bits and opcodes, control frames,
        # close codes, inflating and the message limit are its business.
        self.protocol = ServerProtocol(
            state=State.OPEN,
            extensions=[ServerPerMessageDeflateFactory()],
            max_size=MESSAGE_LIMIT,
        )
        self.inbox: asyncio.Queue[Message] = asyncio.Queue(INBOX)
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.reading: asyncio.Task[None] | None = None
        self.refused = False
        self.is_text = True
        self.message = b""

    async def run(self) -> None:
        """Have the app serve the socket, then see the closing handshake through."""
        kind = scope(self.client, self.request, "websocket", "ws")
        offered = tokens(self.request, b"sec-websocket-protocol")
        code = 1000
        try:
            kind["subprotocols"] = [name.decode() for name in offered]
            await self.client.app(kind, self.inbox.get, self.send)
        except Exception:  # noqa: BLE001  # of an app anything can come
            if not self.client.left and self.protocol.state is State.OPEN:
                traceback.print_exc()
            code = 1011
        finally:
            if self.reading is not None:
                self.reading.cancel()
        if self.reading is None and not self.refused:
            raise Refusal(500, "the app neither accepted nor refused the socket")
        await self.close(code)
        await self.await_close()

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            await self.accept(message)
        elif message["type"] == "websocket.close" and self.reading is None:
            self.refused = True
            await self.client.write(Refusal(403, "closed before it was accepted").response())
        elif message["type"] == "websocket.close":
            await self.close(message.get("code", 1000), message.get("reason") or "")
        elif self.protocol.state is not State.OPEN:
            raise ConnectionResetError("the socket is closed")
        elif message.get("text") is not None:
            self.protocol.send_text(message["text"].encode())
            await self.flush()
        else:
            self.protocol.send_binary(message["bytes"])
            await self.flush()

    async def accept(self, message: Message) -> None:
        fields = Headers(
            (k.decode("latin-1"), v.decode("latin-1")) for k, v in self.request.headers
        )
        response = self.protocol.accept(HandshakeRequest(self.request.target.decode(), fields))
        if response.status_code != 101:
            raise Refusal(400, "malformed fields in the handshake")
        if message.get("subprotocol"):
            response.headers["Sec-WebSocket-Protocol"] = message["subprotocol"]
        for name, value in message.get("headers", ()):
            response.headers[name.decode("latin-1")] = value.decode("latin-1")
        await self.client.write(response.serialize())
        self.reading = asyncio.create_task(self.read_frames())

    async def read_frames(self) -> None:
        """Fill the inbox; wait while it is full, so that the client has to wait too."""
        data = self.client.buffer  # what came in one segment with the handshake
        while True:
            self.protocol.receive_data(data)
            await self.flush()
            for frame in self.protocol.events_received():
                assert isinstance(frame, Frame)
                await self.take(frame)
            if self.protocol.eof_sent or not (data := await self.client.read()):
                break
        close = self.protocol.close_rcvd
        await self.inbox.put(
            {"type": "websocket.disconnect", "code": close.code if close else 1006}
        )

    async def take(self, frame: Frame) -> None:
        """Join fragments into a message and hand it to the app; control frames are answered."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self.is_text = frame.opcode is Opcode.TEXT
            self.message = bytes(frame.data)
        elif frame.opcode is Opcode.CONT:
            self.message += frame.data
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT) or not frame.fin:
            return
        try:
            content = {"text": self.message.decode()} if self.is_text else {"bytes": self.message}
        except UnicodeDecodeError:
            self.protocol.fail(1007)
            return await self.flush()
        await self.inbox.put({"type": "websocket.receive", **content})

    async def flush(self) -> None:
        if data := b"".join(self.protocol.data_to_send()):
            await self.client.write(data)

    async def close(self, code: int, reason: str = "") -> None:
        if self.reading is not None and self.protocol.state is State.OPEN:
            self.protocol.send_close(code, reason)
            with suppress(ConnectionError):
                await self.flush()

    async def await_close(self) -> None:
        """Drop what still comes until the client answers the Close frame or leaves."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                while self.reading and not self.protocol.eof_sent:
                    if not (data := await self.client.read()):
                        return
                    self.protocol.receive_data(data)
                    self.protocol.events_received()
                    await self.flush()


# The server


async def serve(app: App, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then let what is in flight finish."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    clients: dict[asyncio.Task[None], Client] = {}

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if stopping.is_set():
            return writer.close()
        client = Client(app, reader, writer)
        task = asyncio.create_task(client.run())
        clients[task] = client
        task.add_done_callback(clients.pop)

    async with lifespan(app):
        listener = await asyncio.start_server(connected, host, port, backlog=1024)
        await stopping.wait()
        listener.close()
        for task, client in list(clients.items()):
            client.stop(task)
        if clients:
            _, late = await asyncio.wait(clients, timeout=GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    """Tell the app when serving starts and ends; one that returns or raises does not care."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    replies: asyncio.Queue[Message] = asyncio.Queue()

    async def run() -> None:
        with suppress(Exception):
            await app({"type": "lifespan", "asgi": ASGI}, inbox.get, replies.put)
        replies.put_nowait({"type": "lifespan.none"})

    running = asyncio.create_task(run())
    for event in ("startup", "shutdown"):
        inbox.put_nowait({"type": f"lifespan.{event}"})
        reply = await replies.get()
        if reply["type"].endswith(".failed"):
            sys.exit(f"{event} failed: {reply.get('message', '')}")
        if event == "startup":
            yield
        if reply["type"] == "lifespan.none":
            break
    running.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve app:app from the current folder.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    sys.path.insert(0, "")
    from app import app  # type: ignore[import-not-found]  # the served folder's

    asyncio.run(serve(app, options.host, options.port))


if __name__ == "__main__":
    main()
