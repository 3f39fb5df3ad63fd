"""The model behind the relays that are measured: it says the same tokens to everybody.

`conformance.upstream` plays one that is told when to say what; this one has to cost little. Each
token is a chunk and a segment of its own, and it says the next as soon as the socket takes it.
"""

from __future__ import annotations

import asyncio
import re
from typing import cast

from conformance.upstream import DONE, chunk, completion, event

HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    b"connection: close\r\n\r\n"
)
TOKENS = 100
TOKEN = "tok "
SAID = [chunk(event(completion(TOKEN)))] * TOKENS
SAID += [chunk(event(completion(reason="stop"))), chunk(event(DONE)), chunk(b"")]

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Model(asyncio.Protocol):
    """One connection: a request, and the stream that answers it."""

    def __init__(self) -> None:
        self.request = b""
        self.answering: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.request += data
        head, end, body = self.request.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if end and length and len(body) >= int(length.group(1)) and self.answering is None:
            self.answering = asyncio.create_task(self.answer())

    async def answer(self) -> None:
        self.transport.write(HEAD)
        for piece in SAID:
            await self.writable.wait()
            self.transport.write(piece)
            await asyncio.sleep(0)  # so that it leaves before the next is written
        self.transport.close()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        if self.answering is not None:
            self.answering.cancel()
