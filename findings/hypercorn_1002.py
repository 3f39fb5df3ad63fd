"""hypercorn does not say 1002 where wsproto finds the client's Close to be wrong (RFC 6455 section 7.4)."""

from reproduce import HANDSHAKE, connect, receive, receive_until, serving, verdict

STACK = "asgi-hypercorn"


if __name__ == "__main__":
    command = ("hypercorn", "reproduce:app", "--bind", "127.0.0.1:{port}")
    with serving(*command) as (_, port), connect(port) as connection:
        connection.sendall(HANDSHAKE)
        receive_until(connection, b"\r\n\r\n")
        connection.sendall(b"\x88\x82" + bytes(4) + b"\0\0")  # Close with the code 0
        seen = receive(connection)
    verdict("hypercorn", "wsproto", shows=not seen.startswith(b"\x88"), seen=seen)
