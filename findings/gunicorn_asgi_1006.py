"""At SIGTERM gunicorn's ASGI worker drops open sockets without a Close frame."""

from reproduce import HANDSHAKE, connect, receive, receive_until, serving, verdict

STACK = "asgi-gunicorn-asgi"


if __name__ == "__main__":
    command = ("gunicorn", "reproduce:app", "-k", "asgi", "--bind", "127.0.0.1:{port}")
    options = ("--graceful-timeout", "2", "--no-control-socket")
    with serving(*command, *options) as (server, port), connect(port) as connection:
        connection.sendall(HANDSHAKE)
        receive_until(connection, b"\r\n\r\n")
        server.terminate()
        seen = receive(connection)
    verdict("gunicorn", shows=not seen.startswith(b"\x88"), seen=seen)
