"""waitress does not see `close` in a list of connection options (RFC 9110 section 7.6.1)."""

from typing import Any

from reproduce import exchange, serving, verdict

STACK = "wsgi-waitress"


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = [] if environ["REQUEST_METHOD"] == "HEAD" else [b"hello"]
    start_response("200 OK", [("Content-Length", "5")] if body else [])
    return body


if __name__ == "__main__":
    with serving("waitress", "--listen=127.0.0.1:{port}", "waitress_connection_list:app") as (
        _,
        port,
    ):
        request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n"
        seen = exchange(port, request * 2).count(b"HTTP/1.1 200")
    verdict("waitress", shows=seen == 2, seen=f"{seen} answers behind `keep-alive, close`")
