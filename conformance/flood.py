"""A flood of pings beside which somebody else wants an answer."""

from __future__ import annotations

import select
import socket
import time

from wsproto.frame_protocol import Opcode

from conformance import frames
from conformance.memory import MIB

# More than the buffers of two sockets take before one of them is read.
FULL = 16 * MIB

# What may go by before somebody else is answered. Seen: up to 50 MiB.
LIMIT = 128 * MIB
SECONDS = 30


class Pings:
    """Sends pings for as long as the other side takes them, whether it reads the pongs or not."""

    def __init__(self, connection: socket.socket, *, reads: bool):
        connection.setblocking(False)
        self.writers = [connection]
        self.readers = [connection] if reads else []
        self.pings = memoryview(frames.frame(Opcode.PING, b"p" * 125) * 500)
        self.sent = 0
        self.moved = 0  # bytes of pings and of what came back

    def fill(self) -> None:
        """Send until nothing more is taken, so that the other side has pings before it to read."""
        most = self.moved + FULL
        try:
            while self.writers and self.moved < most:
                self.send(*self.writers)
        except BlockingIOError:
            pass
        except OSError:
            self.end()

    def until_readable(self, other: socket.socket) -> bool:
        """Flood until another connection has something to read; return whether that came.

        An event loop turns a few times for one request, and may take megabytes of pings at each. How
        long that lasts is the machine's; how much it comes to is not, so bytes are counted first.
        """
        limit = self.moved + LIMIT
        deadline = time.monotonic() + SECONDS
        while self.moved < limit and (left := deadline - time.monotonic()) > 0:
            readable, writable, _ = select.select([other, *self.readers], self.writers, [], left)
            if other in readable:
                return True
            try:
                for connection in readable:
                    self.receive(connection)
                for connection in writable:
                    self.send(connection)
            except OSError:
                self.end()
        return False

    def end(self) -> None:
        """Send no more: the server has had enough of it, as it may."""
        self.writers, self.readers = [], []

    def receive(self, connection: socket.socket) -> None:
        pongs = connection.recv(1 << 20)
        if not pongs:
            raise ConnectionError("closed by the server")
        self.moved += len(pongs)

    def send(self, connection: socket.socket) -> None:
        taken = connection.send(self.pings[self.sent % len(self.pings) :])
        self.sent += taken
        self.moved += taken
