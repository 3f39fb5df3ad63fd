"""Requests by autocannon, a load generator in Node, a process a slice; where there is no h2load.

It reaches less than h2load does, which the ceiling of the same run shows and marks.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.processes import Contender, Invalid, Stopwatch, Taken, printed
from stacks import StackError

HERE = Path(__file__).parent
WITHIN = 60.0


def install() -> None:
    """Install what the lock beside this file says, once; raise StackError where that cannot be."""
    if (HERE / "node_modules" / "autocannon").exists():
        return
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise StackError("autocannon needs Node and npm, which are not installed")
    done = subprocess.run(
        [npm, "ci", "--silent"], cwd=HERE, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StackError(f"npm ci in {HERE.name} failed: {done.stderr.strip()[-500:]}")


def version() -> str:
    package = json.loads((HERE / "package.json").read_text())
    return str(package["dependencies"]["autocannon"])


def send(
    contender: Contender, targets: Sequence[str], body_bytes: int, count: int, connections: int
) -> Taken:
    """Send `count` requests, as `h2load.send` says."""
    urls = [f"http://{contender.host}:{contender.port}{target}" for target in targets]
    watch = Stopwatch(contender)
    with watch.lap():
        told = printed(["node", "send.mjs", str(count), str(connections), *urls], WITHIN, HERE)
    seconds = check(told, count, body_bytes * count // len(targets))
    return dataclasses.replace(watch.taken(count), wall_seconds=seconds)


def check(told: str, count: int, body_bytes: int) -> float:
    """Return the seconds; raise `Invalid` unless `count` answers were good, with so many bytes."""
    seen = json.loads(told)
    if (seen["good"], seen["errors"]) != (count, 0):
        raise Invalid(
            f"{seen['good']} of {count} answers were 2xx, {seen['other']} were not, and "
            f"{seen['errors']} requests failed by the connection"
        )
    if seen["body_bytes"] != body_bytes:
        raise Invalid(f"the bodies held {seen['body_bytes']} bytes, wanted {body_bytes}")
    return float(seen["seconds"])
