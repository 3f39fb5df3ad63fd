"""waitress serves a request without Host, and one with two (RFC 9112 section 3.2)."""

from typing import Any

from reproduce import exchange, serving, verdict

STACK = "wsgi-waitress"


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = [] if environ["REQUEST_METHOD"] == "HEAD" else [b"hello"]
    start_response("200 OK", [("Content-Length", "5")] if body else [])
    return body


if __name__ == "__main__":
    with serving("waitress", "--listen=127.0.0.1:{port}", "waitress_host:app") as (_, port):
        seen = [
            exchange(port, b"GET / HTTP/1.1\r\n" + fields + b"Connection: close\r\n\r\n")[:12]
            for fields in (b"", b"Host: a\r\nHost: b\r\n")
        ]
    verdict("waitress", shows=seen == [b"HTTP/1.1 200"] * 2, seen=seen)
