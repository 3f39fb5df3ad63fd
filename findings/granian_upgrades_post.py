"""granian upgrades a POST to WebSocket, which RFC 6455 section 4.2.1 has for GET only."""

from reproduce import HANDSHAKE, connect, serving, verdict

STACK = "asgi-granian"


if __name__ == "__main__":
    command = ("granian", "reproduce:app", "--interface", "asgi", "--port", "{port}")
    with serving(*command) as (_, port), connect(port) as connection:
        connection.sendall(HANDSHAKE.replace(b"GET", b"POST"))
        seen = connection.recv(1000)
    verdict("granian", shows=seen.startswith(b"HTTP/1.1 101"), seen=seen)
