"""A started server as the bench sees it: its CPU time, its listener, its core."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from stacks import Running, Stack, StackError


class Invalid(Exception):
    """What was measured is no figure; the text says why."""


@dataclass
class Contender:
    """A server that is measured beside others. `processes` are those it had when it was ready.

    Its `siblings` are servers of the same stack, which take turns with it.
    """

    name: str
    running: Running
    processes: Sequence[psutil.Process] = field(default_factory=list)
    siblings: Sequence[Contender] = ()

    @property
    def stack(self) -> Stack:
        return self.running.stack

    @property
    def host(self) -> str:
        return self.running.host

    @property
    def port(self) -> int:
        return self.running.port

    def settle(self) -> None:
        """Take the process tree as it is now as what is measured; its listener has to be in it."""
        self.processes = self.running.tree()
        check_listener(self.port, {process.pid for process in self.processes})

    def cpu_seconds(self) -> float:
        """CPU time that the process tree has used; raise `Invalid` where one of it has ended."""
        try:
            return sum(map(cpu_seconds, self.processes))
        except (OSError, psutil.NoSuchProcess):
            raise Invalid(f"a process of {self.name} ended meanwhile") from None

    def check_tree(self) -> None:
        """Raise `Invalid` where processes came or went: their CPU time is missing."""
        before, now = {p.pid for p in self.processes}, {p.pid for p in self.running.tree()}
        if before != now:
            raise Invalid(f"had {len(before)} processes, and now has {len(now)} that differ")


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process, its ended threads included.

    Linux tells it in /proc in hundredths of a second, a tenth of a slice. The clock of a process
    counts nanoseconds, and its number is made of the process's: see MAKE_PROCESS_CPUCLOCK in the
    kernel's include/linux/posix-timers_types.h, whose scheduler clock is 2.
    """
    if sys.platform == "linux":
        return time.clock_gettime(~process.pid << 3 | 2)
    times = process.cpu_times()
    return times.user + times.system


def memory_bytes(processes: Iterable[psutil.Process]) -> int:
    """Return the memory of processes; what they share counts once, where the system tells it."""
    total = 0
    for process in processes:
        full = process.memory_full_info()
        total += getattr(full, "pss", full.uss)
    return total


def check_listener(port: int, pids: set[int]) -> None:
    """Raise StackError unless all who listen on a port are among these processes.

    A server that an earlier run left behind answers just as well, and would be measured instead.
    """
    listening = listeners(port, pids)
    if not listening & pids:
        raise StackError(
            f"port {port}: none of {sorted(pids)} listens, but {listening or 'nobody'}"
        )
    if strangers := listening - pids:
        raise StackError(f"port {port}: {strangers} listens too, wanted {sorted(pids)} only")


def listeners(port: int, pids: set[int]) -> set[int | None]:
    """Return who listens on a port, None for a process of somebody else.

    macOS shows a user no others than `pids`, his own.
    """
    try:
        return {c.pid for c in psutil.net_connections("tcp") if _listens(c, port)}
    except psutil.AccessDenied:
        own = {pid: psutil.Process(pid).net_connections("tcp") for pid in pids}
        return {pid for pid, each in own.items() if any(_listens(c, port) for c in each)}


def _listens(connection: Any, port: int) -> bool:
    return bool(connection.status == psutil.CONN_LISTEN and connection.laddr.port == port)


# Cores


def cores() -> tuple[set[int], set[int]]:
    """Return the core of the servers and that of the generators, both empty where there is one."""
    if not hasattr(os, "sched_getaffinity"):
        return set(), set()
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return set(), set()
    return {usable[-1]}, {usable[0]}


@contextmanager
def pinned(to: set[int]) -> Iterator[None]:
    """Keep this thread, and what it starts meanwhile, on some cores; an empty set changes nothing."""
    if not to:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, to)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# Addresses

# <linux/personality.h>
_ASK = 0xFFFFFFFF
_ADDR_NO_RANDOMIZE = 0x0040000


@contextmanager
def laid_out_alike() -> Iterator[bool]:
    """Have all that is started meanwhile lay out its memory alike; give whether the system lets it.

    At random addresses one process in ten is up to 4 % slower or faster than its twin, for as long
    as it lives. Only Linux can be told, and a container may forbid it; then the A/A pair shows it.
    """
    if sys.platform != "linux":
        yield False
        return
    libc = ctypes.CDLL(None)
    before = libc.personality(_ASK)
    try:
        yield libc.personality(before | _ADDR_NO_RANDOMIZE) != -1
    finally:
        libc.personality(before)


# A slice


@dataclass(frozen=True)
class Taken:
    """What a slice came to."""

    units: int
    wall_seconds: float
    server_cpu_seconds: float
    generator_cpu_seconds: float


class Stopwatch:
    """Adds up laps: what they took, and the CPU time that the server and this process used."""

    def __init__(self, contender: Contender):
        self.contender = contender
        self.wall = self.server = self.generator = 0.0

    @contextmanager
    def lap(self) -> Iterator[None]:
        """Count what the block takes; a block that raises is not counted."""
        server, generator = self.contender.cpu_seconds(), generator_cpu_seconds()
        start = time.perf_counter()
        yield
        self.wall += time.perf_counter() - start
        self.generator += generator_cpu_seconds() - generator
        self.server += self.contender.cpu_seconds() - server

    def taken(self, units: int) -> Taken:
        return Taken(units, self.wall, self.server, self.generator)


def generator_cpu_seconds() -> float:
    """CPU time of this process and of those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def printed(words: Sequence[str], within: float, folder: Path | None = None) -> str:
    """Return what a generator prints; raise `Invalid` where it fails or takes too many seconds."""
    name = Path(words[0]).name
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
            start_new_session=True,  # Ctrl-C ends the run behind this slice, which has to be whole
        )
    except subprocess.TimeoutExpired:
        raise Invalid(f"{name} got not all answers within {within:g} s") from None
    if done.returncode:
        raise Invalid(f"{name} exited with {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout
