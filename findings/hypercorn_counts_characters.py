"""hypercorn holds the characters of a WebSocket message against its limit, not its bytes."""

from hypercorn.protocol.ws_stream import (  # type: ignore[import-not-found]  # in the stack's venv
    FrameTooLargeError,
    WebsocketBuffer,
)
from reproduce import verdict
from wsproto.events import TextMessage

STACK = "asgi-hypercorn"

buffer = WebsocketBuffer(10)
try:
    buffer.extend(TextMessage("é" * 10))
    seen = "20 bytes are within a limit of 10"
except FrameTooLargeError:
    seen = "20 bytes are over a limit of 10"
verdict("hypercorn", shows="within" in seen, seen=seen)
