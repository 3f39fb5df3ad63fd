"""h11 goes on with a connection after Content-Length beside Transfer-Encoding (RFC 9112 section 6.3)."""

import h11
from reproduce import verdict

STACK = "asgi-uvicorn-h11"

both = b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
server = h11.Connection(h11.SERVER)
server.receive_data(
    b"POST / HTTP/1.1\r\nHost: a\r\n" + both + b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
)
try:
    while type(server.next_event()) is not h11.EndOfMessage:
        pass
    server.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
    server.send(h11.EndOfMessage())
    server.start_next_cycle()
    seen = repr(server.next_event())
except h11.ProtocolError as error:
    seen = repr(error)
verdict("h11", shows="/hidden" in seen, seen=seen)
