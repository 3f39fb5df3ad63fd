"""At SIGTERM hypercorn closes open sockets with 1011, an error, where 1001 or 1012 is meant."""

from typing import Any

from reproduce import HANDSHAKE, connect, receive, receive_until, serving, verdict

STACK = "asgi-hypercorn"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()


if __name__ == "__main__":
    command = ("hypercorn", "hypercorn_1011:app", "--bind", "127.0.0.1:{port}", "-k", "uvloop")
    with serving(*command) as (server, port), connect(port) as connection:
        connection.sendall(HANDSHAKE)
        receive_until(connection, b"\r\n\r\n")
        server.terminate()
        seen = receive(connection)
    code = int.from_bytes(seen[2:4])
    verdict("hypercorn", shows=code == 1011, seen=f"Close {code}")
