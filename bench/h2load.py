"""Requests by h2load, nghttp2's load generator, a process a slice."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.processes import Contender, Invalid, Stopwatch, Taken, printed

WITHIN = 30.0
INSTALL = "install it with: apt-get install nghttp2-client, or: brew install nghttp2"


def found() -> str | None:
    return shutil.which("h2load")


def version() -> str:
    """Return h2load's version."""
    told = subprocess.run(["h2load", "--version"], capture_output=True, text=True, check=True)
    return told.stdout.split("/")[-1].strip()


def send(
    contender: Contender, targets: Sequence[str], body_bytes: int, count: int, connections: int
) -> Taken:
    """Send `count` requests over so many connections, each of which asks for all targets in turn.

    Raise `Invalid` unless every answer is 2xx, every connection lasts, and the bodies together are
    as long as they have to be: `body_bytes` for all targets once.
    """
    urls = [f"http://{contender.host}:{contender.port}{target}" for target in targets]
    watch = Stopwatch(contender)
    with tempfile.NamedTemporaryFile(prefix="samewire-") as log:
        options = ("--h1", "-n", str(count), "-c", str(connections), f"--log-file={log.name}")
        with watch.lap():
            told = printed(["h2load", *options, *urls], WITHIN)
        check(told, count, body_bytes * count // len(targets))
        wall = seconds(Path(log.name).read_text())
    return dataclasses.replace(watch.taken(count), wall_seconds=wall)


def check(told: str, count: int, body_bytes: int) -> None:
    """Raise `Invalid` unless h2load tells of `count` good answers with so many bytes of bodies."""
    succeeded, failed, errored = numbers(told, r"(\d+) succeeded, (\d+) failed, (\d+) errored")
    good, *others = numbers(told, r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx")
    (length,) = numbers(told, r"\((\d+)\) data")
    if (succeeded, good) != (count, count):
        raise Invalid(
            f"{good} of {count} answers were 2xx, {sum(others)} were not, "
            f"{failed} requests failed and {errored} of them by the connection"
        )
    if length != body_bytes:
        raise Invalid(f"the bodies held {length} bytes, wanted {body_bytes}")


def numbers(told: str, pattern: str) -> list[int]:
    match = re.search(pattern, told)
    if match is None:
        raise Invalid(f"h2load told nothing like {pattern!r}: {told[-200:]!r}")
    return [int(number) for number in match.groups()]


def seconds(log: str) -> float:
    """Return the time from the first request to the last answer, of h2load's log of requests.

    What it prints is rounded, and begins before it has connected.
    """
    rows = [line.split("\t") for line in log.splitlines()]
    starts = [int(row[0]) for row in rows]
    ends = [int(row[0]) + int(row[2]) for row in rows]
    return (max(ends) - min(starts)) / 1e6
