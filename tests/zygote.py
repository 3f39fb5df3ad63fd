"""Starts the small server by fork, from a process that has imported all that it needs.

A mutant's server lives for a second or two, and its imports would take half of that. A zygote has a
single thread and has done them once; each fork of it becomes a server, with a session, a folder, an
environment and a log of its own, as `subprocess.Popen` would have given it.

    worker                                zygote
      | -- {"argv", "cwd", "env", "log"} --> |  forks
      | <---------------- {"started": pid} - |
      | <--- {"ended": pid, "status": code} -|  when that server has come to an end
      | (closes) --------------------------> |  kills what still runs, and exits
"""

from __future__ import annotations

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
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any

import httpcore2 as httpcore

from tests.mutants import ROOT, SOURCES

ANSWERS_WITHIN = 60.0


# The worker's side


class Zygote:
    """Starts with the first server and ends with its worker, however that ends."""

    def __init__(self) -> None:
        self._channel, theirs = Pipe()
        command = [sys.executable, "-m", "tests.zygote", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        self._started: list[int] = []
        self._statuses: dict[int, int] = {}

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


@cache
def zygote() -> Zygote:
    return Zygote()


class Forked:
    """What `subprocess.Popen` is to a command, this is to a fork: as much as `stacks` asks of it."""

    def __init__(
        self,
        args: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: IO[bytes],
        **_: object,
    ):
        self.args = args
        self.pid = zygote().fork(args[1:], cwd, env, stdout.name)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        self.returncode = zygote().status(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float = ANSWERS_WITHIN) -> int:
        self.returncode = zygote().status(self.pid, time.monotonic() + timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(list(self.args), timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


# The zygote's side


def serve(channel: Connection) -> dict[str, Any] | None:
    """Fork for each request. Returns it in the child; None in the zygote, when its worker has gone."""
    alarm, alarmed = socket.socketpair()
    alarmed.setblocking(False)
    signal.set_wakeup_fd(alarmed.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)  # by default it would wake nobody
    running: set[int] = set()
    while True:
        ready = wait([channel, alarm])
        if alarm in ready:
            alarm.recv(4096)
            for pid, status in ended(running):
                channel.send({"ended": pid, "status": status})
        if channel in ready:
            try:
                request: dict[str, Any] = channel.recv()
            except EOFError:
                end_all(running)
                return None
            if not (pid := os.fork()):
                leave_home(channel, alarm, alarmed)
                return request
            running.add(pid)
            channel.send({"started": pid})


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's, whose end is ours
    if request := serve(Connection(int(sys.argv[1]))):
        become(request)


if __name__ == "__main__":
    main()
