"""hypercorn reads no Close behind a message that is over its limit, so the connection stays open."""

from reproduce import HANDSHAKE, connect, receive_until, serving, text_frame, verdict

STACK = "asgi-hypercorn"
websocket_max_message_size = 1  # this module is its own configuration; there is no flag
CLOSE_1009 = b"\x88\x02\x03\xf1"


if __name__ == "__main__":
    own = ("reproduce:app", "--config", "python:hypercorn_lingers")
    command = ("hypercorn", *own, "--bind", "127.0.0.1:{port}")
    with serving(*command) as (_, port), connect(port) as connection:
        connection.sendall(HANDSHAKE)
        receive_until(connection, b"\r\n\r\n")
        connection.sendall(text_frame(b"ab") + b"\x88\x80" + bytes(4))
        receive_until(connection, CLOSE_1009)
        try:
            seen = f"behind both sides' Close came {connection.recv(1)!r}"
        except TimeoutError:
            seen = "5 s behind both sides' Close the connection is open"
    verdict("hypercorn", shows="open" in seen, seen=seen)
