"""How far a server's memory grows while a client asks too much of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from stacks import Running

MIB = 1 << 20

# Between two looks at the processes: a bomb that is inflated whole takes far longer.
INTERVAL = 0.005


class Growth:
    """The most memory that a server's processes have held since it began, above what they had."""

    def __init__(self, running: Running):
        self._processes = running.tree()
        self._before = self._peak = self._resident()

    @property
    def bytes(self) -> int:
        return self._peak - self._before

    def __str__(self) -> str:
        return f"{self.bytes / MIB:.0f} MiB"

    def look(self) -> None:
        self._peak = max(self._peak, self._resident())

    def _resident(self) -> int:
        total = 0
        for process in self._processes:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                total += process.memory_info().rss
        return total


@contextmanager
def growth(running: Running) -> Iterator[Growth]:
    """Watch a server's memory as long as the block runs."""
    seen = Growth(running)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(INTERVAL):
            seen.look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()
        seen.look()
