"""A server that only answers: what a generator reaches against it is the generator's ceiling.

    python -m bench.ceiling --host HOST --port PORT

It looks at no more of a request than it has to and has every answer at hand, so a stack that comes
near it may be faster than its generator.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import os
import re
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httpx2
import uvloop

from bench import sockets
from conformance.upstream import block, chunk

HELLO = b"Hello from Ceiling (ASGI)!"
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
KEY = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)
FRAME = len(sockets.MESSAGE) + 6  # with its head and mask
ECHO = bytes([0x81, len(sockets.REPLY)]) + sockets.REPLY


class Connection(asyncio.Protocol):
    """Answers one request a segment, and frames of the length that the bench sends."""

    def __init__(self) -> None:
        self.data = b""
        self.upgraded = False
        self.telling: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        if not self.upgraded:
            *requests, self.data = self.data.split(b"\r\n\r\n")
            for request in requests:
                self.answer(request)
        if self.upgraded:
            echoes = len(self.data) // FRAME
            self.data = self.data[echoes * FRAME :]
            self.transport.write(ECHO * echoes)

    def answer(self, request: bytes) -> None:
        target = request.split(b" ", 2)[1].decode()
        if target == "/":
            self.transport.write(respond("text/plain; charset=utf-8", HELLO))
        elif target == "/ws":
            self.upgrade(request)
        elif target.startswith("/poll"):
            self.transport.write(respond("application/json", poll(target)))
        elif target.startswith("/sse"):
            self.telling = asyncio.create_task(self.tell(target))
        else:
            self.telling = asyncio.create_task(self.relay())

    def upgrade(self, request: bytes) -> None:
        key = KEY.search(request)
        assert key is not None, request
        accept = base64.b64encode(hashlib.sha1(key.group(1) + GUID).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: " + accept + b"\r\n\r\n"
        )
        self.upgraded = True

    async def tell(self, target: str) -> None:
        """Send the tokens of `/sse`, each a chunk and a segment of its own."""
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        tokens = words(target)
        for number, token in enumerate(tokens, start=1):
            self.transport.write(chunk(block([f"id: {number}", "event: token", f"data: {token}"])))
            await asyncio.sleep(0)
        self.transport.write(chunk(block(["event: done", f"data: {len(tokens)}"])) + chunk(b""))

    async def relay(self) -> None:
        """Pass the model's bytes on as they are."""
        url = httpx2.URL(os.environ["UPSTREAM_BASE_URL"])
        await asyncio.get_running_loop().create_connection(
            lambda: Pipe(self.transport), url.host, url.port or 80
        )


class Pipe(asyncio.Protocol):
    """Asks the model, and writes whatever it says to a client."""

    def __init__(self, client: asyncio.Transport) -> None:
        self.client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        asking = cast(asyncio.Transport, transport)
        asking.write(b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")

    def data_received(self, data: bytes) -> None:
        self.client.write(data)


def respond(content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def poll(target: str) -> bytes:
    tokens, after = words(target), int(query(target)["after"][0])
    answer = {"id": after + 1, "token": tokens[after], "done": after + 1 == len(tokens)}
    return json.dumps(answer).encode()


def words(target: str) -> list[str]:
    """Return the tokens of a text of the bench's, whose words have one space behind them."""
    return re.findall("[^ ]+ ?", query(target)["text"][0])


def query(target: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(target).query)


async def serve(host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, host, port, backlog=1024)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.ceiling")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.host, options.port))


if __name__ == "__main__":
    main()
