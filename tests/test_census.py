"""A census counts what a process holds, and looks up what a socket is only once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

import census
from census import Enumerator


@contextmanager
def connections(count: int) -> Iterator[list[socket.socket]]:
    """Open so many connections whose two ends are this process's, among sockets that are none."""
    with ExitStack() as exits:
        for end in (*socket.socketpair(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)):
            exits.enter_context(end)
        listener = exits.enter_context(socket.create_server(("127.0.0.1", 0)))
        clients = [
            exits.enter_context(socket.create_connection(listener.getsockname()))
            for _ in range(count)
        ]
        yield clients + [exits.enter_context(listener.accept()[0]) for _ in range(count)]


@pytest.mark.parametrize("proc", [True, False], ids=["by_proc", "by_psutil"])
def test_connections_are_counted(proc: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that come and go are counted, a listener and other sockets are not."""
    if not proc:
        monkeypatch.setattr(census, "sockets_of", lambda pid: None)
    enumerator, this = Enumerator(), [psutil.Process()]
    before = enumerator.census(this).sockets
    seen = []
    with connections(3) as ends:
        seen.append(enumerator.census(this).sockets)
        for end in ends[:2]:
            end.close()
        seen.append(enumerator.census(this).sockets)
    with connections(1):
        seen.append(enumerator.census(this).sockets)
    seen.append(enumerator.census(this).sockets)

    assert [count - before for count in seen] == [6, 4, 2, 0]


def test_sockets_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's table of connections is read when a socket is new, and not again."""
    looked_up = []

    def recorded(process: psutil.Process) -> set[int]:
        looked_up.append(process.pid)
        return original(process)

    original = census.connections
    monkeypatch.setattr(census, "connections", recorded)
    enumerator, this = Enumerator(), [psutil.Process()]
    with connections(2) as ends:
        for end in ends[1:]:
            enumerator.census(this)
            end.close()

    assert looked_up == [os.getpid()]


def test_process_that_ended_is_left_out() -> None:
    """A process that is gone by the time that it is asked counts for nothing."""
    gone = psutil.Popen(["true"])
    gone.wait()

    assert Enumerator().census([gone, psutil.Process()]).processes == 1
