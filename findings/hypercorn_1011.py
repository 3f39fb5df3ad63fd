"""At SIGTERM hypercorn closes open sockets with 1011, an error, where 1001 or 1012 is meant."""

from reproduce import HANDSHAKE, connect, receive, receive_until, serving, verdict

STACK = "asgi-hypercorn"


if __name__ == "__main__":
    command = ("hypercorn", "reproduce:app", "--bind", "127.0.0.1:{port}", "-k", "uvloop")
    with serving(*command) as (server, port), connect(port) as connection:
        connection.sendall(HANDSHAKE)
        receive_until(connection, b"\r\n\r\n")
        server.terminate()
        seen = receive(connection)
    code = int.from_bytes(seen[2:4])
    verdict("hypercorn", shows=code == 1011, seen=f"Close {code}")
