"""A small ASGI server that is right where the suite judges: the ground that mutants stand on.

Every server in `servers.toml` fails some case, and says so. A suite that has only been tried on
those could ask for what nobody can do, or miss a fault that they share. So this one passes every
required case, and keeps each duty on a line or two of its own, for a mutant to take away: h11 reads
and writes HTTP, websockets frames, and what the two leave to a server is spelt out.

One coroutine serves one connection. A client is read only when somebody waits for its bytes and
written to only as fast as it reads, so that nothing piles up on either way.

    python server.py --host 127.0.0.1 --port 8000    # serves app:app from the current folder
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import h11
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.http11 import Request as Handshake
from websockets.protocol import State
from websockets.server import ServerProtocol

type Message = dict[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type App = Callable[[dict[str, Any], Receive, Send], Coroutine[Any, Any, None]]

CHUNK = 16_384  # small: compressed frames can hold a thousand times as much
REQUEST_LINE_LIMIT = 16_384  # twice what RFC 9112 section 3 asks for
HEAD_LIMIT = 65_536
UNREAD_LIMIT = 1 << 20  # of a body that the app left; beyond it the connection is closed
MESSAGE_LIMIT = 1 << 20
INBOX = 8  # messages of a socket that wait for the app

HEAD_WITHIN = 20.0  # from one response to the next request's blank line
CLOSE_WITHIN = 2.0  # for the client's answer to a Close frame
LINGER = 1.0
GRACE = 2.5  # for what is in flight at SIGTERM; the contract wants the exit within 5 s

OBSOLETE_FOLDING = re.compile(rb"\n[ \t]")
BARE_CR_OR_LF = re.compile(rb"\r(?!\n)|(?<!\r)\n")
HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")


class Refusal(Exception):
    """A request that the server answers itself; the connection ends behind the answer."""

    def __init__(self, status: int, reason: str, *headers: str):
        super().__init__(reason)
        self.status = HTTPStatus(status)
        self.headers = headers

    def response(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {self.status.phrase}", f"Date: {formatdate(usegmt=True)}"]
        lines += ["Content-Length: 0", "Connection: close", *self.headers, "", ""]
        return "\r\n".join(lines).encode()


class Client:
    """One connection: its bytes, and one request after the other."""

    def __init__(self, app: App, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.app = app
        self.reader = reader
        self.writer = writer
        self.buffer = b""  # received and not yet used
        self.idle = False  # waiting for a request
        self.left = False
        self.stopping = False
        self.socket: Socket | None = None

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
        try:
            if self.writer.is_closing():
                raise ConnectionResetError("the client has left")
            self.writer.write(data)
            await self.writer.drain()
        except OSError:
            self.left = True
            raise

    async def run(self) -> None:
        """Serve the connection to its end."""
        try:
            with suppress(OSError):  # the client has left
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
        with suppress(TimeoutError):
            async with asyncio.timeout(HEAD_WITHIN):
                while True:
                    self.buffer = self.buffer.lstrip(b"\r\n")  # RFC 9112 section 2.2
                    self.idle = not self.buffer
                    if end := end_of_head(self.buffer):
                        head, self.buffer = self.buffer[:end], self.buffer[end:]
                        return head
                    if not (data := await self.read()):
                        break
                    self.buffer += data
        return b""

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


# HTTP


def end_of_head(data: bytes) -> int:
    """Return the length of a request's head, 0 while there is more to come; refuse a huge one."""
    blank = re.search(rb"\r?\n\r?\n", data)
    if len(data.partition(b"\n")[0]) > REQUEST_LINE_LIMIT:
        raise Refusal(414, f"a request line of over {REQUEST_LINE_LIMIT} bytes")
    if (blank.end() if blank else len(data)) > HEAD_LIMIT:
        raise Refusal(431, f"a head of over {HEAD_LIMIT} bytes")
    return blank.end() if blank else 0


def parse_head(head: bytes) -> tuple[h11.Connection, h11.Request]:
    """Return a request, and the h11 connection that reads its body; refuse what is malformed."""
    if OBSOLETE_FOLDING.search(head):
        raise Refusal(400, "a folded field")
    if BARE_CR_OR_LF.search(head):
        raise Refusal(400, "CR without LF, or LF without CR")
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
    http.receive_data(head)
    try:
        # Refuses none or several Hosts, a blank before a colon, lengths that differ; with 501 a
        # transfer coding other than chunked.
        request = http.next_event()
    except h11.RemoteProtocolError as error:
        raise Refusal(error.error_status_hint, str(error)) from None
    assert isinstance(request, h11.Request)
    if not request.http_version.startswith(b"1."):
        raise Refusal(505, "not HTTP/1")
    coded = values(request, b"transfer-encoding") != []
    if coded and values(request, b"content-length"):
        raise Refusal(400, "Content-Length beside Transfer-Encoding")
    if coded and request.http_version == b"1.0":
        raise Refusal(400, "Transfer-Encoding in HTTP/1.0")
    if not all(HOST.fullmatch(host) for host in values(request, b"host")):
        raise Refusal(400, "not a host")
    return http, request


def values(request: h11.Request, name: bytes) -> list[bytes]:
    return [value for key, value in request.headers if key == name]


def members(request: h11.Request, name: bytes) -> list[str]:
    """Return the members of a list field."""
    lists = b",".join(values(request, name)).decode("latin-1").split(",")
    return [member.strip() for member in lists if member.strip()]


def scope(client: Client, request: h11.Request, kind: str, scheme: str) -> dict[str, Any]:
    target = re.sub(rb"^https?://[^/?]*", b"", request.target)  # RFC 9112 section 3.2.2
    path, _, query = target.partition(b"?")
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": request.http_version.decode(),
        "method": request.method.decode(),
        "scheme": scheme,
        "path": unquote(path.decode()) or "/",
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(request.headers),
        "subprotocols": members(request, b"sec-websocket-protocol"),
        "client": client.writer.get_extra_info("peername"),
        "server": client.writer.get_extra_info("sockname"),
    }


class Exchange:
    """One request and its response."""

    def __init__(self, client: Client, http: h11.Connection, request: h11.Request):
        self.client = client
        self.http = http
        self.request = request
        self.scope = scope(client, request, "http", "http")
        self.started = False
        self.ended = False

    async def run(self) -> bool:
        """Have the app answer; return whether the connection can carry another request."""
        if self.client.buffer:  # to h11, b"" is the end of the stream
            self.http.receive_data(self.client.buffer)
            self.client.buffer = b""
        try:
            await self.client.app(self.scope, self.receive, self.send)
        except Exception:  # noqa: BLE001  # an app raises anything
            if self.client.left:
                return False
            traceback.print_exc()
        if not self.started:
            raise Refusal(400 if self.http.their_state is h11.ERROR else 500, "no response")
        if not self.ended:
            self.client.writer.transport.abort()  # half a response must not look like a whole one
            return False
        return self.http.our_state is h11.DONE and await self.drop_unread_body()

    async def receive(self) -> Message:
        if self.http.their_state is h11.SEND_BODY:
            if self.http.they_are_waiting_for_100_continue:
                await self.transmit(h11.InformationalResponse(status_code=100, headers=[]))
            with suppress(h11.RemoteProtocolError):
                data = await self.next_piece()
                more = data is not None
                return {"type": "http.request", "body": data or b"", "more_body": more}
        while not self.ended and self.http.their_state is not h11.ERROR:
            if not (data := await self.client.read()):
                break
            self.client.buffer += data  # of a request that was sent early
            if len(self.client.buffer) > HEAD_LIMIT:
                await self.client.writer.wait_closed()
        return {"type": "http.disconnect"}

    async def next_piece(self) -> bytes | None:
        """Return the next piece of the request's body, None for its end."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.client.read())
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if b"date" not in dict(headers):
                headers.append((b"date", formatdate(usegmt=True).encode()))
            if self.client.stopping or self.http.they_are_waiting_for_100_continue:
                # After a final answer to Expect nobody knows whether the body will still come.
                headers.append((b"connection", b"close"))
            self.started = True
            await self.transmit(h11.Response(status_code=message["status"], headers=headers))
            return
        body = message.get("body", b"")
        if body and self.request.method != b"HEAD":
            await self.transmit(h11.Data(data=body))
        if not message.get("more_body", False):
            self.ended = True
            await self.transmit(h11.EndOfMessage())

    async def transmit(self, event: h11.Event) -> None:
        """Send what h11 makes of an event: it chunks for HTTP/1.1 and closes for HTTP/1.0."""
        if data := self.http.send(event):
            await self.client.write(data)

    async def drop_unread_body(self) -> bool:
        """Read what the app left of the body, so that it is never taken for the next request."""
        unread = 0
        with suppress(h11.RemoteProtocolError, TimeoutError):
            async with asyncio.timeout(HEAD_WITHIN):
                while self.http.their_state is h11.SEND_BODY:
                    unread += len(await self.next_piece() or b"")
                    if unread > UNREAD_LIMIT:
                        return False
            self.client.buffer = self.http.trailing_data[0] + self.client.buffer
            return True
        return False


# WebSocket


def is_handshake(request: h11.Request) -> bool:
    """Return whether a request opens a WebSocket; anything else, POST say, is plain HTTP."""
    return (
        request.method == b"GET"
        and request.http_version != b"1.0"
        and "websocket" in map(str.lower, members(request, b"upgrade"))
        and "upgrade" in map(str.lower, members(request, b"connection"))
        and not values(request, b"transfer-encoding")
        and values(request, b"content-length") in ([], [b"0"])
    )


class Socket:
    """One WebSocket, from its handshake on."""

    def __init__(self, client: Client, request: h11.Request):
        if values(request, b"sec-websocket-version") != [b"13"]:
            offer = ("Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: upgrade")
            raise Refusal(426, "not version 13", *offer)
        fields = Headers((k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers)
        # Masks, reserved bits and opcodes, the form of control frames, close codes, inflating and
        # the limit of a message are its business.
        self.protocol = ServerProtocol(
            state=State.OPEN,
            extensions=[ServerPerMessageDeflateFactory()],
            max_size=MESSAGE_LIMIT,
        )
        self.response = self.protocol.accept(Handshake(request.target.decode(), fields))
        if self.response.status_code != 101:
            raise Refusal(400, "a key that is not 16 bytes in base64, or malformed fields")
        self.client = client
        self.scope = scope(client, request, "websocket", "ws")
        self.inbox: asyncio.Queue[Message] = asyncio.Queue(INBOX)
        self.reading: asyncio.Task[None] | None = None  # from accept on
        self.closing: asyncio.Task[None] | None = None
        self.refused = False
        self.opcode = Opcode.TEXT
        self.message = bytearray()

    async def run(self) -> None:
        """Have the app serve the socket, then see the closing handshake through."""
        self.inbox.put_nowait({"type": "websocket.connect"})
        code = 1000
        try:
            await self.client.app(self.scope, self.inbox.get, self.send)
        except Exception:  # noqa: BLE001  # an app raises anything
            if not self.client.left and self.protocol.state is State.OPEN:
                traceback.print_exc()
            code = 1011
        finally:
            if self.reading is not None:
                self.reading.cancel()
        if self.reading is not None:
            await self.see_out(code)
        elif not self.refused:
            raise Refusal(500, "neither accepted nor closed")

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            await self.accept(message)
        elif message["type"] == "websocket.close" and self.reading is None:
            self.refused = True
            await self.client.write(Refusal(403, "closed before accepted").response())
        elif message["type"] == "websocket.close":
            await self.close(message.get("code", 1000), message.get("reason") or "")
        elif self.protocol.state is not State.OPEN:
            raise ConnectionResetError("the socket is closed")
        else:
            if (text := message.get("text")) is not None:
                self.protocol.send_text(text.encode())
            else:
                self.protocol.send_binary(message["bytes"])
            await self.flush()

    async def accept(self, message: Message) -> None:
        if subprotocol := message.get("subprotocol"):
            self.response.headers["Sec-WebSocket-Protocol"] = subprotocol
        for name, value in message.get("headers", ()):
            self.response.headers[name.decode("latin-1")] = value.decode("latin-1")
        await self.client.write(self.response.serialize())
        self.reading = asyncio.create_task(self.read_frames())

    async def read_frames(self) -> None:
        """Fill the inbox, and wait while it is full, so that the client has to wait too."""
        data = self.client.buffer  # what came in one segment with the handshake
        with suppress(OSError):
            while True:
                self.protocol.receive_data(data)
                await self.flush()  # a Pong, or the answer to a Close
                for frame in self.protocol.events_received():
                    assert isinstance(frame, Frame)
                    await self.take(frame)
                if self.protocol.eof_sent or not (data := await self.client.read()):
                    break
        close = self.protocol.close_rcvd
        code = close.code if close else 1006
        await self.inbox.put({"type": "websocket.disconnect", "code": code})

    async def take(self, frame: Frame) -> None:
        """Join fragments to messages for the app; control frames are answered already."""
        if frame.opcode not in DATA_OPCODES:
            return
        if frame.opcode is not Opcode.CONT:
            self.opcode = frame.opcode
            self.message.clear()
        self.message += frame.data
        if not frame.fin:
            return
        message: Message = {"type": "websocket.receive"}
        try:
            if self.opcode is Opcode.TEXT:
                message["text"] = self.message.decode()
            else:
                message["bytes"] = bytes(self.message)
        except UnicodeDecodeError:
            self.protocol.fail(1007)
            return await self.flush()
        await self.inbox.put(message)

    async def flush(self) -> None:
        if data := b"".join(self.protocol.data_to_send()):
            await self.client.write(data)

    async def close(self, code: int, reason: str = "") -> None:
        if self.reading is not None and self.protocol.state is State.OPEN:
            self.protocol.send_close(code, reason)
            with suppress(ConnectionError):
                await self.flush()

    async def see_out(self, code: int) -> None:
        """Send a Close, and drop what still comes until the client has sent one or has left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self.close(code)
                while not self.protocol.eof_sent and (data := await self.client.read()):
                    self.protocol.receive_data(data)
                    self.protocol.events_received()
                    await self.flush()


# The server


async def serve(app: App, host: str, port: int) -> None:
    """Serve until SIGTERM, then let what is in flight finish."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
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
        await stop(clients)


async def stop(clients: dict[asyncio.Task[None], Client]) -> None:
    """Close what is idle and every open socket; wait for the rest, but not for ever."""
    for task, client in clients.items():
        client.stopping = True
        if client.idle:
            task.cancel()
        elif (socket := client.socket) is not None:
            socket.closing = asyncio.create_task(socket.close(1012, "the server stops"))
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
    running = asyncio.create_task(app({"type": "lifespan"}, inbox.get, replies.put))
    for event in ("startup", "shutdown"):
        inbox.put_nowait({"type": f"lifespan.{event}"})
        reply = asyncio.create_task(replies.get())
        await asyncio.wait({running, reply}, return_when=asyncio.FIRST_COMPLETED)
        if event == "startup":
            yield


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
