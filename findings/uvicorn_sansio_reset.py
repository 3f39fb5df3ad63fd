"""A client that sends a message over the limit is reset while it sends, behind a Close with 1009."""

import struct
from contextlib import suppress
from typing import Any

from reproduce import HANDSHAKE, connect, receive_until, serving, verdict

STACK = "asgi-uvicorn"
ROUNDS = 20
MESSAGE = bytes([0x81, 0xFF]) + struct.pack("!Q", 16 << 20) + bytes(4)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()


def is_reset(port: int) -> bool:
    """Return whether the connection ends by RST, which may overtake the Close on its way."""
    with connect(port) as connection:
        connection.sendall(HANDSHAKE)
        receive_until(connection, b"\r\n\r\n")
        with suppress(OSError):
            connection.sendall(MESSAGE + bytes(1 << 20))
        try:
            while connection.recv(65536):
                pass
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
        return False


if __name__ == "__main__":
    command = ("uvicorn", "uvicorn_sansio_reset:app", "--ws", "websockets-sansio")
    options = ("--ws-max-size", "1048576", "--lifespan", "off", "--port", "{port}")
    with serving(*command, *options) as (_, port):
        resets = sum(is_reset(port) for _ in range(ROUNDS))
    verdict("uvicorn", "websockets", shows=resets > 0, seen=f"{resets} of {ROUNDS} were reset")
