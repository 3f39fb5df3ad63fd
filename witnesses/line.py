"""A TCP line to a server that can be cut while it is in use, as networks are."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from conformance.wire import Address
from stacks import HOST


class Line:
    """An address that leads to `server`. It passes bytes on as they come, and knows nothing of them."""

    def __init__(self, server: Address):
        self._server = (server.host, server.port)
        self._listener = socket.create_server((HOST, 0))
        self._ends: list[socket.socket] = []
        self.host: str = HOST
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection that there is; later ones get through again."""
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):  # it has gone already
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(self._server)
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=(source, target), daemon=True).start()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes until either side ends; then end both."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
