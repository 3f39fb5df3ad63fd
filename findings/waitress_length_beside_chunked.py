"""waitress goes on with a connection after Content-Length beside Transfer-Encoding (RFC 9112 6.3)."""

from typing import Any

from reproduce import exchange, serving, verdict

STACK = "wsgi-waitress"


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = [] if environ["REQUEST_METHOD"] == "HEAD" else [b"hello"]
    start_response("200 OK", [("Content-Length", "5")] if body else [])
    return body


if __name__ == "__main__":
    with serving("waitress", "--listen=127.0.0.1:{port}", "waitress_length_beside_chunked:app") as (
        _,
        port,
    ):
        both = b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        hidden = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
        answer = exchange(port, b"POST / HTTP/1.1\r\nHost: a\r\n" + both + hidden)
    seen = answer.count(b"HTTP/1.1 200")
    verdict("waitress", shows=seen == 2, seen=f"{seen} answers, the second to the hidden request")
