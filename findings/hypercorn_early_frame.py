"""hypercorn never tells an app that its client has gone when a frame came with the handshake."""

import time
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from reproduce import HANDSHAKE, exchange, serving, text_frame, verdict

STACK = "asgi-hypercorn"
ENDED = Path(gettempdir(), "hypercorn_early_frame.ended")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        ENDED.touch()


if __name__ == "__main__":
    ENDED.unlink(missing_ok=True)
    command = (
        "hypercorn",
        "hypercorn_early_frame:app",
        "--bind",
        "127.0.0.1:{port}",
        "-k",
        "uvloop",
    )
    with serving(*command) as (_, port):
        answer = exchange(port, HANDSHAKE + text_frame(b"early"))
        time.sleep(5)
        ended = ENDED.exists()
    seen = f"{answer[:12]!r}, and 5 s after the client the app has {'' if ended else 'not '}ended"
    verdict("hypercorn", shows=not ended, seen=seen)
