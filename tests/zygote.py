"""Starts the small server by fork, from a process that has imported all that it needs.

A mutant's server lives for a second or two, and its imports would take half of that. A zygote has a
single thread and has done them once, for all workers of a run; each fork of it becomes a server, with
a session, a folder, an environment and a log of its own, as `subprocess.Popen` would have given it.

    worker                                zygote
      | -- {"argv", "cwd", "env", "log"} --> |  forks
      | <---------------- {"started": pid} - |
      | <--- {"ended": pid, "status": code} -|  when that server has come to an end
      | (closes) --------------------------> |  kills what that worker left, and exits with the last
"""

from __future__ import annotations

import fcntl
import gc
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

import httpcore2 as httpcore

from tests.mutants import ROOT, SOURCES

ANSWERS_WITHIN = 60.0
LISTENS = b"listens\n"


# The worker's side


class Zygote:
    """A worker's way to the zygote of its run, which the first worker that asks for it starts.

    All workers of a run give the same folder, in which the zygote listens.
    """

    def __init__(self, folder: Path) -> None:
        self._started: list[int] = []
        self._statuses: dict[int, int] = {}
        place = folder / "zygote"
        with (folder / "zygote.lock").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            try:
                self._channel = connected(place)
            except (FileNotFoundError, ConnectionRefusedError):  # none yet, or no more
                place.unlink(missing_ok=True)
                self._process = started(place)
                self._channel = connected(place)

    def close(self) -> None:
        self._channel.close()

    def fork(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], log: str) -> int:
        """Have a server started; return the number of its process."""
        self._channel.send({"argv": list(argv), "cwd": str(cwd), "env": dict(env), "log": log})
        deadline = time.monotonic() + ANSWERS_WITHIN
        while not self._started:
            if not self._heard(deadline):
                raise TimeoutError(f"the zygote started nothing within {ANSWERS_WITHIN:g} s")
        return self._started.pop()

    def status(self, pid: int, deadline: float) -> int | None:
        """Return how a server exited, as soon as it has; None if it has not by the deadline."""
        while pid not in self._statuses:
            if not self._heard(deadline):
                return None
        return self._statuses[pid]

    def _heard(self, deadline: float) -> bool:
        if not self._channel.poll(max(deadline - time.monotonic(), 0)):
            return False
        match self._channel.recv():
            case {"started": pid}:
                self._started.append(pid)
            case {"ended": pid, "status": status}:
                self._statuses[pid] = status
        return True


def connected(place: Path) -> Connection:
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(place))
        return Connection(door.detach())


def started(place: Path) -> subprocess.Popen[bytes]:
    """Start a zygote; return when it listens."""
    command = [sys.executable, "-m", "tests.zygote", str(place)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        if process.stdout.readline() != LISTENS:
            raise RuntimeError(f"the zygote exited with {process.wait()}, wanted it to listen")
    return process


class Forked:
    """What `subprocess.Popen` is to a command, this is to a fork: as much as `stacks` asks of it."""

    def __init__(
        self,
        zygote: Zygote,
        args: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: IO[bytes],
        **_: object,
    ):
        self.args = args
        self.zygote = zygote
        self.pid = zygote.fork(args[1:], cwd, env, stdout.name)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        self.returncode = self.zygote.status(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float = ANSWERS_WITHIN) -> int:
        self.returncode = self.zygote.status(self.pid, time.monotonic() + timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(list(self.args), timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


# The zygote's side


def serve(listener: socket.socket) -> dict[str, Any] | None:
    """Fork for each request. Returns it in the child; None in the zygote, when no worker is left."""
    alarm, alarmed = socket.socketpair()
    alarmed.setblocking(False)
    signal.set_wakeup_fd(alarmed.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)  # by default it would wake nobody
    workers: dict[Connection, set[int]] = {}  # with the servers that still run
    while True:
        ready = wait([listener, alarm, *workers], None if workers else ANSWERS_WITHIN)
        if alarm in ready:
            alarm.recv(4096)
            tell_of_ended(workers)
        if listener in ready:
            workers[Connection(listener.accept()[0].detach())] = set()
        for worker in [worker for worker in workers if worker in ready]:
            try:
                request: dict[str, Any] = worker.recv()
            except (EOFError, ConnectionResetError):
                end_all(workers.pop(worker))
                continue
            if not (pid := os.fork()):
                leave_home(listener, alarm, alarmed, *workers)
                return request
            workers[worker].add(pid)
            with suppress(BrokenPipeError):
                worker.send({"started": pid})
        if not workers:
            return None


def tell_of_ended(workers: Mapping[Connection, set[int]]) -> None:
    for worker, running in workers.items():
        for pid, status in ended(running):
            with suppress(BrokenPipeError):  # that it has gone is read later
                worker.send({"ended": pid, "status": status})


def ended(running: set[int]) -> list[tuple[int, int]]:
    """Take those that have exited out of `running`; return them with their exit status."""
    found = []
    for child in list(running):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            running.discard(pid)
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def end_all(running: set[int]) -> None:
    for pid in running:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def leave_home(*doors: Connection | socket.socket) -> None:
    """Take nothing of the zygote's along but its modules."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for door in doors:
        door.close()


def become(request: dict[str, Any]) -> None:
    """Be the server that was asked for, up to its end."""
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, target)
    os.closerange(3, max(log, null) + 1)
    sys.argv = request["argv"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


def main() -> None:
    # An app's client reads the system's certificates, which takes half of its start; there is no TLS.
    httpcore.default_ssl_context = cache(httpcore.default_ssl_context)
    for source in SOURCES.values():
        runpy.run_path(str(source))  # for what it imports
    gc.collect()
    gc.freeze()  # what a collection does not look at, forks go on sharing
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the workers', whose end is ours
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        os.write(1, LISTENS)
        request = serve(listener)
    if request:
        become(request)


if __name__ == "__main__":
    main()
