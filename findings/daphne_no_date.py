"""daphne sends no Date, which a server with a clock must (RFC 9110 section 6.6.1)."""

from typing import Any

from reproduce import exchange, serving, verdict

STACK = "asgi-daphne"


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


if __name__ == "__main__":
    with serving("daphne", "daphne_no_date:app", "--port", "{port}") as (_, port):
        seen = exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    verdict("daphne", "twisted", shows=b"date:" not in seen.lower(), seen=seen)
