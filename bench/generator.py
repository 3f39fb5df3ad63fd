"""Who generates requests: h2load, or autocannon where there is none."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bench import autocannon, h2load
from bench.processes import Contender, Taken
from stacks import StackError


def prepare() -> None:
    """Have a generator at hand; raise StackError that says what installs the better one."""
    if h2load.found():
        return
    try:
        autocannon.install()
    except StackError as error:
        raise StackError(
            f"h2load, which generates the requests, is not installed; {h2load.INSTALL}. "
            f"In its place: {error}"
        ) from None
    print(
        f"autocannon generates the requests and reaches less than h2load; {h2load.INSTALL}",
        file=sys.stderr,
    )


def versions() -> dict[str, str]:
    if h2load.found():
        return {"h2load": h2load.version()}
    return {"autocannon": autocannon.version()}


def send(
    contender: Contender, targets: Sequence[str], body_bytes: int, count: int, connections: int
) -> Taken:
    """Send `count` requests, as `h2load.send` says."""
    sender = h2load.send if h2load.found() else autocannon.send
    return sender(contender, targets, body_bytes, count, connections)
