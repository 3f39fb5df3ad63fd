"""wsproto accepts an opening handshake whose Sec-WebSocket-Key is empty (RFC 6455 section 4.2.1)."""

import wsproto
from reproduce import HANDSHAKE, verdict
from wsproto.events import AcceptConnection

STACK = "asgi-uvicorn-h11"

server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
server.receive_data(HANDSHAKE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b""))
answer = server.send(AcceptConnection()) if list(server.events()) else b""
verdict("wsproto", shows=answer.startswith(b"HTTP/1.1 101"), seen=answer)
