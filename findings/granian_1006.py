"""At SIGTERM granian drops open sockets without a Close frame."""

from reproduce import HANDSHAKE, connect, receive, receive_until, serving, verdict

STACK = "asgi-granian"


if __name__ == "__main__":
    command = ("granian", "reproduce:app", "--interface", "asgi", "--port", "{port}")
    options = ("--workers-kill-timeout", "3")
    with serving(*command, *options) as (server, port), connect(port) as connection:
        connection.sendall(HANDSHAKE)
        receive_until(connection, b"\r\n\r\n")
        server.terminate()
        seen = receive(connection)
    verdict("granian", shows=not seen.startswith(b"\x88"), seen=seen)
