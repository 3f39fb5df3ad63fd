"""WebSocket echoes by picows: each socket sends its next message when the reply has come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.processes import Contender, Invalid, Stopwatch, Taken

WITHIN = 30.0
MESSAGE = b"a token of about thirty characters"
REPLY = b"echo: " + MESSAGE


class Socket(WSListener):
    """One socket, and the echoes that it still waits for."""

    transport: WSTransport

    def __init__(self) -> None:
        self.left = 0
        self.sent = 0.0
        self.seconds: list[float] = []
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def start(self, echoes: int) -> asyncio.Future[None]:
        """Send the first message; what is returned is done when so many echoes have come."""
        self.left = echoes
        self.finished = asyncio.get_running_loop().create_future()
        self.send()
        return self.finished

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.send(WSMsgType.TEXT, MESSAGE)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.seconds.append(time.perf_counter() - self.sent)
        if frame.msg_type is not WSMsgType.TEXT or frame.get_payload_as_bytes() != REPLY:
            seen = (frame.msg_type.name, frame.get_payload_as_bytes()[:80])
            return self.fail(f"the reply was {seen}, wanted {('TEXT', REPLY)}")
        self.left -= 1
        if self.left > 0:
            self.send()
        elif self.left == 0:
            self.finished.set_result(None)
        else:
            self.fail("a reply came that nobody had asked for")

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.left:
            self.fail("the socket was closed meanwhile")

    def fail(self, reason: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(Invalid(reason))
        self.left = 0


async def connect(contender: Contender, count: int) -> list[Socket]:
    """Open so many sockets."""
    sockets = []
    try:
        async with asyncio.timeout(WITHIN):
            for _ in range(count):
                _, socket = await ws_connect(Socket, f"ws://{contender.host}:{contender.port}/ws")
                assert isinstance(socket, Socket)
                sockets.append(socket)
    except (OSError, WSError) as error:
        for socket in sockets:
            close(socket)
        raise Invalid(f"socket {len(sockets) + 1} of {count} did not open: {error!r}") from None
    return sockets


def close(socket: Socket) -> None:
    socket.left = 0
    socket.transport.disconnect(graceful=False)


@contextmanager
def closing(sockets: list[Socket]) -> Iterator[list[Socket]]:
    try:
        yield sockets
    finally:
        for socket in sockets:
            close(socket)


async def echo(contender: Contender, echoes: int, connections: int, waves: int) -> Taken:
    """Take `waves` times so many echoes on each of so many sockets.

    The sockets are opened before and closed behind the time that counts.
    """
    watch = Stopwatch(contender)
    with closing(await connect(contender, connections)) as sockets:
        try:
            async with asyncio.timeout(WITHIN):
                with watch.lap():
                    await asyncio.gather(*(socket.start(echoes * waves) for socket in sockets))
        except TimeoutError:
            raise Invalid(f"the echoes did not come within {WITHIN:g} s") from None
    return watch.taken(echoes * waves * connections)
