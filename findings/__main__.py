"""Runs every finding, or those named, and fails for a fault that is gone.

A finding runs where the stack that it names in STACK is installed, or, where it has the inline metadata
of a script, in an environment of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import stacks

HERE = Path(__file__).parent
STACK = re.compile(r'^STACK = "(\w+)-([\w-]+)"$', re.MULTILINE)


def main(names: list[str]) -> int:
    """Return 0 when each fault shows."""
    status = 0
    for path in sorted(HERE.glob("*.py")):
        if (names and path.stem not in names) or not (command := runner(path)):
            continue
        done = subprocess.run(
            [*command, path], capture_output=True, text=True, timeout=120, check=False
        )
        told = (done.stdout or done.stderr).strip().splitlines()
        print(f"{path.stem}: {told[-1] if told else 'said nothing'}", flush=True)
        status |= done.returncode
    return status


def runner(path: Path) -> list[str]:
    """Return the command that runs a finding; nothing where the file is none."""
    text = path.read_text()
    if match := STACK.search(text):
        stack = stacks.find(*match.groups())
        stacks.install(stack)
        return [str(stack.environment / "bin" / "python")]
    if text.startswith("# /// script"):
        return [os.environ.get("UV", "uv"), "run", "--quiet", "--script"]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
