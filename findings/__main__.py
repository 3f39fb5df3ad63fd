"""Runs every finding, or those named, where its stack is installed; fails for a fault that is gone."""

from __future__ import annotations

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
        match = STACK.search(path.read_text())
        if match is None or (names and path.stem not in names):
            continue
        stack = stacks.find(*match.groups())
        stacks.install(stack)
        python = stack.environment / "bin" / "python"
        done = subprocess.run(
            [python, path], capture_output=True, text=True, timeout=120, check=False
        )
        told = (done.stdout or done.stderr).strip().splitlines()
        print(f"{path.stem}: {told[-1] if told else 'said nothing'}", flush=True)
        status |= done.returncode
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
