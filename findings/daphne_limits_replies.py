"""daphne's limit of incoming messages also holds for those that the app sends."""

from typing import Any

from reproduce import HANDSHAKE, connect, receive, receive_until, serving, text_frame, verdict

STACK = "asgi-daphne"


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "text": "x" * 11})


if __name__ == "__main__":
    command = ("daphne", "daphne_limits_replies:app", "--port", "{port}")
    limit = ("--websocket-max-message-size", "10")
    with serving(*command, *limit) as (_, port), connect(port) as connection:
        connection.sendall(HANDSHAKE)
        receive_until(connection, b"\r\n\r\n")
        connection.sendall(text_frame(b"short"))
        seen = receive(connection)
    verdict("daphne", "autobahn", shows=b"x" * 11 not in seen, seen=seen)
