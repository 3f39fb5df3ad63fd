"""waitress ends the answer to a HEAD with a last chunk (RFC 9112 section 6.3)."""

from typing import Any

from reproduce import exchange, serving, verdict

STACK = "wsgi-waitress"


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = [] if environ["REQUEST_METHOD"] == "HEAD" else [b"hello"]
    start_response("200 OK", [("Content-Length", "5")] if body else [])
    return body


if __name__ == "__main__":
    with serving("waitress", "--listen=127.0.0.1:{port}", "waitress_head:app") as (_, port):
        seen = exchange(port, b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    verdict("waitress", shows=seen.endswith(b"\r\n\r\n0\r\n\r\n"), seen=seen)
