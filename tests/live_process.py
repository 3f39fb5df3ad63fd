"""`nox -s live` as a process of its own, which a test watches from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2 as httpx
import psutil

import stacks
from live.fleet import Status

WITHIN = 120.0  # for all stacks to start, on a machine that runs the other tests too


@dataclass(frozen=True)
class Live:
    """The running page: its address and its process."""

    url: str
    process: subprocess.Popen[str]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_for(self, states: Mapping[str, str]) -> dict[str, Status]:
        """Return the status of all stacks as soon as the ones that are named are in their states."""
        seen: dict[str, Status] = {}
        with httpx.stream("GET", f"{self.url}/status", timeout=WITHIN, trust_env=False) as events:
            for line in events.iter_lines():
                if line.startswith("data: "):
                    seen = {status["name"]: status for status in json.loads(line[6:])}
                    if all(seen[name]["state"] == state for name, state in states.items()):
                        return seen
        raise AssertionError(f"the status ended with {seen}, wanted {states}")

    def wait_until_all_run(self) -> dict[str, Status]:
        with httpx.stream("GET", f"{self.url}/status", timeout=WITHIN, trust_env=False) as events:
            first = next(line for line in events.iter_lines() if line.startswith("data: "))
        return self.wait_for({status["name"]: "running" for status in json.loads(first[6:])})

    def tree(self) -> list[psutil.Process]:
        """Everything that runs for the page, itself included."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "live", *options]


@contextmanager
def started(*options: str, environ: Mapping[str, str] | None = None) -> Iterator[Live]:
    """Start the page, yield it once it has told its address, and end it."""
    process = subprocess.Popen(
        command(*options),
        cwd=stacks.ROOT,
        env=os.environ | dict(environ or {}),
        stdout=subprocess.PIPE,
        text=True,
    )
    # Its own end kills what it started, so it is asked, and killed only where it does not listen.
    guard = threading.Timer(5 * WITHIN, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
        address = re.search(r"on (http://\S+);", told)
        assert address, f"it told {told!r}, wanted its address"
        yield Live(address[1], process)
    finally:
        process.terminate()
        process.wait()
        guard.cancel()
        assert process.stdout is not None
        process.stdout.close()
