"""Runs pytest on lanes that are forked from a process which has imported what they need.

    python conformance/lanes.py 8 PYTEST_OPTION...

pytest-xdist starts each of its workers as a Python of its own, and what that imports takes as long
as ten cases do. Here pytest's process imports first and forks a fork server, which has one thread;
what pytest-xdist then starts is a stand-in that hands its standard streams over and waits.

    pytest                    stand-in                 fork server
      | -- starts --------------> |                        |
      |                           | -- descriptors 0-2 --> |  forks
      | <---------- execnet's messages over 0 and 1 -----> |   a lane
      |                           | <------------ (closes) |   that has come to its end
      |                           | (is killed) ---------> |   that dies with it
      | (ends) ------------------------------------------> |  exits
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from types import CodeType

STREAMS = 3
# What the lanes need beside the cases.
IMPORTED = ("conformance.conftest", "xdist.remote")
# By then it is too late to rewrite assertions, but a case says itself what it saw and wanted.
QUIET = ("-W", "ignore:Module already imported so cannot be rewritten")


def main(count: str, *options: str) -> int:
    """Run pytest with so many lanes; return its exit status."""
    import gc  # here, for a stand-in needs none of these, and there are as many as lanes
    import importlib
    import shlex
    import shutil
    import tempfile
    from pathlib import Path

    import pytest

    sys.path[0] = str(Path(__file__).parent.parent)
    for name in IMPORTED:
        importlib.import_module(name)
    importlib.import_module("conformance.cases").declared()  # imports them all
    bootstrap = compiled_bootstrap()
    gc.collect()
    gc.freeze()  # what a collection does not look at, forks go on sharing
    folder = tempfile.mkdtemp()
    door = socket.socket(socket.AF_UNIX)
    door.bind(f"{folder}/door")
    door.listen(socket.SOMAXCONN)
    life, watched = socket.socketpair()
    if os.fork():
        stand_in = (sys.executable, "-I", "-S", __file__, "stand-in", f"{folder}/door")
        spread = ("--tx", f"{count}*popen//python={shlex.join(stand_in)}", "--dist", "load")
        try:
            return pytest.main([*QUIET, *spread, "--maxschedchunk", "1", *options])
        finally:
            shutil.rmtree(folder)
    life.close()
    if stream := serve(door, watched):
        become_lane(stream, *bootstrap)
    return 0


def serve(door: socket.socket, watched: socket.socket) -> socket.socket | None:
    """Fork for each who knocks. Returns the connection in the lane; None when pytest has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is pytest's, whose end is ours
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that no lane has to be waited for
    while watched not in select.select([door, watched], [], [])[0]:
        stream, _ = door.accept()
        if not os.fork():
            door.close()
            watched.close()
            return stream
        stream.close()
    return None


def compiled_bootstrap() -> tuple[str, CodeType]:
    """Return the source that execnet begins with, of 1,700 lines, and what it compiles to."""
    import inspect

    from execnet import gateway_base

    source = inspect.getsource(gateway_base)
    return source, compile(source, "<execnet>", "exec")


def become_lane(stream: socket.socket, known: str, code: CodeType) -> None:
    """Be the worker whose streams these are, as the command is that execnet gives an interpreter."""
    import ast

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, descriptors, _, _ = socket.recv_fds(stream, 1, STREAMS)
    die_with(stream)
    for target, descriptor in enumerate(descriptors):
        os.dup2(descriptor, target)
        os.close(descriptor)
    sys.argv = ["-c"]
    source = ast.literal_eval(sys.stdin.readline())
    names = {"__name__": "__main__"}
    # To compile it takes longer than the fork did, and one lane is started after the other.
    try:
        if source.startswith(known):
            exec(code, names)  # noqa: S102 what execnet sends
            source = source.removeprefix(known)
        exec(source, names)  # noqa: S102 what execnet sends
    finally:
        end_children()  # where pytest has gone, its worker stumbles before it puts anything away


def die_with(stream: socket.socket) -> None:
    """Have this process end as soon as the other end is closed."""
    for number in (signal.SIGIO, signal.SIGTERM):
        signal.signal(number, end)
    fcntl.fcntl(stream, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(stream, fcntl.F_SETFL, fcntl.fcntl(stream, fcntl.F_GETFL) | os.O_ASYNC)


def end(*_: object) -> None:
    end_children()
    os._exit(1)


def end_children() -> None:
    """Leave no server: each has a session of its own, and would go on."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()


def stand_in(door: str) -> None:
    """Hand the standard streams over to a lane, and be there for as long as it is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at Ctrl-C the lane has things to put away
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(door)
        socket.send_fds(stream, [b"-"], list(range(STREAMS)))
        for descriptor in range(STREAMS):
            os.close(descriptor)  # or nobody would see the lane close them
        stream.recv(1)


if __name__ == "__main__":
    if sys.argv[1] == "stand-in":
        stand_in(sys.argv[2])
    else:
        sys.exit(main(*sys.argv[1:]))
