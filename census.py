"""A census of processes: what they hold of the system at one moment."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields

import psutil


@dataclass(frozen=True)
class Census:
    """What a process tree holds: counts, `memory` in bytes (resident), `cpu` in seconds.

    `sockets` are its connections; one that listens is a descriptor alone.
    """

    processes: int
    sockets: int
    descriptors: int
    threads: int
    memory: int
    cpu: float


class Enumerator:
    """Takes census after census of the same processes.

    To list a process's connections, the system walks through a table of all that there are, which
    takes it 25 ms where memory is large. Whoever waits for them to end asks twenty times a second,
    so what a socket is gets looked up once, and from then on its descriptors are counted.
    """

    def __init__(self) -> None:
        self._is_connection: dict[str, bool] = {}

    def census(self, processes: Iterable[psutil.Process]) -> Census:
        """Count what these processes hold now; one that ends meanwhile is left out."""
        counts = []
        for process in processes:
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied), process.oneshot():
                times = process.cpu_times()
                counts.append(
                    Census(
                        1,
                        self._connections(process),
                        process.num_fds(),
                        process.num_threads(),
                        process.memory_info().rss,
                        times.user + times.system,
                    )
                )
        columns = [[getattr(c, kind.name) for c in counts] for kind in fields(Census)]
        return Census(*(sum(column) for column in columns))

    def _connections(self, process: psutil.Process) -> int:
        sockets = sockets_of(process.pid)
        if sockets is None:
            return len(connections(process))
        if not self._is_connection.keys() >= {*sockets.values()}:
            connected = connections(process)
            still = sockets_of(process.pid) or {}
            # A number may have gone to another socket meanwhile, which the next census looks up.
            same = {number: name for number, name in sockets.items() if still.get(number) == name}
            self._is_connection |= {name: number in connected for number, name in same.items()}
        return sum(self._is_connection.get(name, True) for name in sockets.values())


def connections(process: psutil.Process) -> set[int]:
    """Return the descriptors that are TCP connections, in any state, of a process."""
    found = process.net_connections(kind="tcp")
    return {c.fd for c in found if c.status != psutil.CONN_LISTEN}


def sockets_of(pid: int) -> dict[int, str] | None:
    """Return the names of a process's sockets by descriptor, None where the system has no /proc."""
    folder = f"/proc/{pid}/fd"
    try:
        numbers = os.listdir(folder)
    except OSError:
        return None
    names = {}
    for number in numbers:
        with suppress(OSError):  # closed meanwhile
            names[int(number)] = os.readlink(f"{folder}/{number}")
    return {number: name for number, name in names.items() if name.startswith("socket:")}
