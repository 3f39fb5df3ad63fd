"""granian upgrades a POST to WebSocket, which RFC 6455 section 4.2.1 has for GET only."""

from typing import Any

from reproduce import HANDSHAKE, connect, serving, verdict

STACK = "asgi-granian"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()


if __name__ == "__main__":
    command = ("granian", "granian_upgrades_post:app", "--interface", "asgi", "--port", "{port}")
    with serving(*command) as (_, port), connect(port) as connection:
        connection.sendall(HANDSHAKE.replace(b"GET", b"POST"))
        seen = connection.recv(1000)
    verdict("granian", shows=seen.startswith(b"HTTP/1.1 101"), seen=seen)
