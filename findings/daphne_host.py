"""daphne serves a request without Host, and one with two (RFC 9112 section 3.2)."""

from typing import Any

from reproduce import exchange, serving, verdict

STACK = "asgi-daphne"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


if __name__ == "__main__":
    with serving("daphne", "daphne_host:app", "--port", "{port}") as (_, port):
        seen = [
            exchange(port, b"GET / HTTP/1.1\r\n" + fields + b"Connection: close\r\n\r\n")[:12]
            for fields in (b"", b"Host: a\r\nHost: b\r\n")
        ]
    verdict("daphne", "twisted", shows=seen == [b"HTTP/1.1 200"] * 2, seen=seen)
