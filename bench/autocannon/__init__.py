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

from bench.processes import Contender, Invalid, Stopwatch, Taken
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
    """Send `count` requests over so many connections, each of which asks for all targets in turn.

    Raise `Invalid` unless every answer is 2xx, every connection lasts, and the bodies together are
    as long as they have to be: `body_bytes` for all targets once.
    """
    urls = [f"http://{contender.host}:{contender.port}{target}" for target in targets]
    watch = Stopwatch(contender)
    with watch.lap():
        told = run("node", "send.mjs", str(count), str(connections), *urls)
    seconds = check(told, count, body_bytes * count // len(targets))
    return dataclasses.replace(watch.taken(count), wall_seconds=seconds)


def run(*words: str) -> str:
    """Return what the program beside this file prints."""
    try:
        done = subprocess.run(
            words,
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
            start_new_session=True,  # Ctrl-C ends the run behind this slice, which has to be whole
        )
    except subprocess.TimeoutExpired:
        raise Invalid(f"autocannon got not all answers within {WITHIN:g} s") from None
    if done.returncode:
        raise Invalid(f"autocannon exited with {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout


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
