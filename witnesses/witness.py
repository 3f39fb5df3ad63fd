"""A real client as a program of its own: it is told a scene, and tells what it sees.

It reads the name of a scene a line and writes JSON, an object a line, as soon as it knows:

    {"ready": true}                                  it has nothing to do
    {"token": "…"}                                   a token of a stream has come
    {"end": true}                                    the stream is over, and well
    {"answer": "…"}                                  a whole answer has come
    {"error": "…", "kind": "…", "status": 429}       it failed; the status, where it knows it

Scenes: `stream` reads a stream to its end, `leave` leaves it behind the first token, `whole` asks
for an answer without a stream.
"""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROGRAMS = {
    "openai_python": (sys.executable, "openai_python.py"),
    "openai_node": ("node", "openai_node.mjs"),
    "ai_sdk": ("node", "ai_sdk.mjs"),
    "curl": (sys.executable, "curl.py"),
}
PATIENCE = 15.0


class Witness:
    """One of `PROGRAMS`, running."""

    def __init__(self, name: str, base_url: str):
        program, script = PROGRAMS[name]
        if shutil.which(program) is None:
            raise RuntimeError(f"{name} needs {program}, which is not installed")
        self.name = name
        self._lines: list[bytes] = []
        self._rest = b""
        self._process = subprocess.Popen(
            [program, str(HERE / script), base_url],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def play(self, scene: str) -> None:
        """Have the scene played, once it is ready for it."""
        assert self.hears() == {"ready": True}
        assert self._process.stdin is not None
        self._process.stdin.write(f"{scene}\n".encode())

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
