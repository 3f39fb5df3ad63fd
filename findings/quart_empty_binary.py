"""Quart: an empty binary WebSocket message ends the connection with a KeyError.

ASGI has `bytes` or `text` in a message, and the other one may be missing. Quart takes `text` whenever
`bytes` is falsy (asgi.py, `event.get("bytes") or event["text"]`), so `b""` reaches a missing key.
Wanted: `websocket.receive()` returns `b""`. Exits 0 while the fault shows.
"""

import asyncio
import sys
from importlib.metadata import version

from quart import Quart, websocket

STACK = "quart-uvicorn"

app = Quart(__name__)
received = []


@app.websocket("/")
async def view() -> None:
    received.append(await websocket.receive())


async def main() -> str:
    messages = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "bytes": b""},
        {"type": "websocket.disconnect", "code": 1005},
    ]
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "path": "/",
        "query_string": b"",
        "scheme": "ws",
        "headers": [],
    }

    async def receive() -> dict:
        await asyncio.sleep(0)  # lets the view run between two messages
        return messages.pop(0)

    async def send(message: dict) -> None:
        pass

    try:
        await app(scope, receive, send)
    except ExceptionGroup as errors:
        return f"it raised {errors.exceptions[0]!r}"
    return f"the view received {received}"


seen = asyncio.run(main())
print(f"quart {version('quart')}, an empty binary message: {seen}; wanted [b''] received")
sys.exit("it is mended" if received == [b""] else 0)
