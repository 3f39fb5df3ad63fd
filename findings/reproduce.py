"""What a finding needs: an app, a server for it, bytes in and bytes out, and a verdict."""

from __future__ import annotations

import importlib.metadata
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).parent
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Accept a WebSocket, and wait for what comes first."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()


@contextmanager
def serving(*command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `python -m COMMAND`, where {port} is a free port; yield once that accepts."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    arguments = [sys.executable, "-m", *(part.format(port=port) for part in command)]
    process = subprocess.Popen(arguments, cwd=HERE, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield process, port
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


def connect(port: int) -> socket.socket:
    """Return a connection that waits for 5 s at the most."""
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def receive(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes, or says nothing for 5 s."""
    seen = b""
    with suppress(OSError):
        while data := connection.recv(65536):
            seen += data
    return seen


def receive_until(connection: socket.socket, end: bytes) -> bytes:
    """Return all that comes up to `end`."""
    seen = b""
    while not seen.endswith(end):
        data = connection.recv(1)
        if not data:
            raise EOFError(f"the connection ended behind {seen!r}, wanted {end!r}")
        seen += data
    return seen


def exchange(port: int, data: bytes) -> bytes:
    """Send bytes on a connection of their own and return all that comes."""
    with connect(port) as connection:
        connection.sendall(data)
        return receive(connection)


def text_frame(text: bytes) -> bytes:
    """Return a client's text frame of under 126 bytes, with a mask that changes nothing."""
    return bytes([0x81, 0x80 | len(text)]) + bytes(4) + text


def verdict(*packages: str, shows: bool, seen: object) -> NoReturn:
    """Tell versions and what was seen; exit with 0 when the fault shows, with 1 when it is gone."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"{versions}: {'the fault shows' if shows else 'the fault is gone'}: {seen}")
    sys.exit(not shows)
