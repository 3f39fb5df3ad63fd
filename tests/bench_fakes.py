"""Servers whose figures are known, or wrong, for the tests of the bench."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import stacks
from bench import processes
from bench.figures import Slices
from bench.processes import Contender, Stopwatch, Taken
from bench.scenarios import Scenario
from tests.mutants import SOURCES

BURNER = Path(__file__).with_name("burner.py")
REQUESTS = 5


def columns(
    cpu: list[float], wall: list[float] | None = None, units: int = 1, generator: float = 0.0
) -> Slices:
    """Return slices in which a unit took so many seconds."""
    return Slices(
        round=list(range(len(cpu))),
        units=[units] * len(cpu),
        wall_seconds=[units * each for each in wall or cpu],
        server_cpu_seconds=[units * each for each in cpu],
        generator_cpu_seconds=[generator * units * each for each in wall or cpu],
    )


# A server that burns a known amount of CPU time a request


@contextmanager
def burners(hashes: dict[str, int]) -> Iterator[dict[str, Contender]]:
    """Start a server for each name, which computes so many hashes a request."""
    with ExitStack() as exits:
        contenders = {}
        for name, count in hashes.items():
            command = (sys.executable, str(BURNER), "{port}", str(count))
            stack = stacks.Stack(name, "burner", name, "ASGI", command)
            with processes.laid_out_alike():
                running = exits.enter_context(stacks.serve(stack))
            contenders[name] = Contender(name, running)
        for contender in contenders.values():
            wait_until(contender.running, "listens")
            contender.settle()
        yield contenders


def wait_until(running: stacks.Running, word: str) -> None:
    """Return once a server has printed a word."""
    deadline = time.monotonic() + stacks.READY_WITHIN
    while word not in running.output:
        assert running.process.poll() is None, running.output
        assert time.monotonic() < deadline, f"saw {running.output!r}, wanted {word!r}"
        time.sleep(0.01)


def connect(contender: Contender) -> socket.socket:
    return socket.create_connection((contender.host, contender.port), timeout=15)


def burn(loop: asyncio.Runner, contender: Contender, waves: int) -> Taken:
    watch = Stopwatch(contender)
    with connect(contender) as client, watch.lap():
        for _ in range(REQUESTS * waves):
            client.sendall(b"\n")
            client.recv(100)
    return watch.taken(REQUESTS * waves)


BURN = Scenario("burn", "hello", "request", 1, burn)


# A server that answers wrongly


def reference(folder: Path, old: str = "", new: str = "") -> stacks.Stack:
    """Write the ASGI reference, with one text replaced, and its small server into `folder`."""
    for file, path in SOURCES.items():
        text = path.read_text()
        assert not old or file != "app.py" or text.count(old) == 1, f"{old!r} is not in app.py once"
        (folder / file).write_text(text.replace(old, new) if old and file == "app.py" else text)
    command = (sys.executable, "server.py", "--host", "{host}", "--port", "{port}")
    return stacks.Stack("asgi", "uvicorn", "ASGI", "ASGI", command, folder=folder)
