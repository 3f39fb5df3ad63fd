"""Runs cases side by side: `--lanes 8` forks pytest into as many processes once it has collected.

A lane is given its next case when it is done with the one before, so that it stands idle only when
there are no more. What it imports, configures and collects it has from the process that it is forked
from; with pytest-xdist, where each worker does that anew, it takes longer than ten cases do.

    pytest                                lane
      | -- the number of a case ----------> |
      | <--------------- its reports ------ |
      | <------------------------ None ---- |  done: give me another
      | -- None --------------------------> |  takes its fixtures down, and exits
      | (dies) ---------------------------> |  ends what it has started, and exits
"""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Literal, NoReturn

import psutil
import pytest

FORK = multiprocessing.get_context("fork")
# What only pytest's own process tells and records; a lane has its reports to send.
TELLERS = ("terminalreporter", "recorder")
PUT_AWAY_WITHIN = 15.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lanes", type=int, default=0, metavar="N", help="run cases in N processes")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Literal[True] | None:
    """Have lanes run what was collected, unless there is nothing to run or nobody to run it."""
    option = session.config.option
    if not option.lanes or option.collectonly or session.testsfailed:
        return None
    # One folder for what all lanes write, as this run's own. pytest has no public name for it.
    session.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    gc.collect()
    gc.freeze()  # what a collection does not look at, forks go on sharing
    run = Run(session)
    try:
        run.to_its_end(option.lanes)
    finally:
        run.end()
    return True


class Idle:
    """Says whether half a processor, or more, had nothing to do for a tenth of a second."""

    SPAN = 0.1

    def __init__(self, processors: int):
        self.busy = 100 * (1 - 0.5 / processors)
        self.looked = time.monotonic()
        psutil.cpu_percent()  # the share of all processors, since the call before

    def __call__(self) -> bool:
        if time.monotonic() - self.looked < self.SPAN:
            return False
        self.looked = time.monotonic()
        return psutil.cpu_percent() < self.busy


class Run:
    """Hands the cases of a session out to lanes, and takes their reports."""

    def __init__(self, session: pytest.Session):
        self.session = session
        self.hook = session.config.hook
        self.left = deque(session.items)
        self.numbers = {item: number for number, item in enumerate(session.items)}
        self.lanes: dict[Connection, multiprocessing.process.BaseProcess] = {}
        self.running: dict[Connection, pytest.Item] = {}
        self.unheard: set[Connection] = set()

    def to_its_end(self, count: int) -> None:
        """Run all cases on up to `count` lanes.

        What a lane needs at first takes a processor for a while. So no more of them than there are
        processors begin at once; and behind the first third each begins while a processor is idle.
        """
        processors = os.process_cpu_count() or 1
        idle = Idle(processors)
        while self.left or self.lanes:
            room = count if idle() else (count + 2) // 3
            while self.left and len(self.lanes) < room and len(self.unheard) < processors:
                self.begin_lane()
            for lane in wait(self.lanes, Idle.SPAN):
                assert isinstance(lane, Connection)
                self.unheard.discard(lane)
                try:
                    message = lane.recv()
                except (EOFError, ConnectionResetError):
                    self.bury(lane)
                else:
                    self.heard(lane, message)

    def begin_lane(self) -> None:
        ours, theirs = FORK.Pipe()
        process = FORK.Process(target=be_lane, args=(self.session, theirs))
        with theirs:
            process.start()
        self.lanes[ours] = process
        self.unheard.add(ours)
        self.hand_out(ours)

    def hand_out(self, lane: Connection, *, last: bool = False) -> None:
        """Give a lane its next case, or have it end where there is none."""
        item = self.left.popleft() if self.left and not last else None
        if item is not None:
            self.running[lane] = item
            self.hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        with suppress(BrokenPipeError):  # then it is buried
            lane.send(None if item is None else self.numbers[item])

    def heard(self, lane: Connection, message: dict[str, Any] | None) -> None:
        if message is not None:
            self.tell(
                self.hook.pytest_report_from_serializable(config=self.session.config, data=message)
            )
            return
        item = self.running.pop(lane)
        self.hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        self.hand_out(lane, last=item.get_closest_marker("last") is not None)

    def tell(self, report: pytest.TestReport) -> None:
        self.hook.pytest_runtest_logreport(report=report)
        if self.session.shouldfail:
            raise self.session.Failed(self.session.shouldfail)
        if self.session.shouldstop:
            raise self.session.Interrupted(self.session.shouldstop)

    def bury(self, lane: Connection) -> None:
        """Take a lane away that has ended; where it did so amid a case, that has failed."""
        process = self.lanes.pop(lane)
        process.join()
        if process.exitcode == pytest.ExitCode.INTERRUPTED:
            raise KeyboardInterrupt  # amid a fork, Python would not have told this process of it
        if (item := self.running.pop(lane, None)) is None:
            if process.exitcode:
                raise RuntimeError(
                    f"a lane took its fixtures down and exited with {process.exitcode}"
                )
            return
        seen = f"the lane exited with {process.exitcode} during this case, wanted it to go on"
        self.tell(pytest.TestReport(item.nodeid, item.location, {}, "failed", seen, "call"))

    def end(self) -> None:
        """Interrupt the lanes that are amid a case; leave none."""
        for lane, process in self.lanes.items():
            lane.close()
            interrupt(process)
        for process in self.lanes.values():
            process.join(PUT_AWAY_WITHIN)
            process.terminate()
            process.join(PUT_AWAY_WITHIN)
            process.kill()
            process.join()


def interrupt(process: multiprocessing.process.BaseProcess) -> None:
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)


# The lane's side


class Sender:
    """Has a lane's reports go to pytest's process."""

    def __init__(self, config: pytest.Config, channel: Connection):
        self.config = config
        self.channel = channel

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.channel.send(
            self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        )


def be_lane(session: pytest.Session, channel: Connection) -> None:
    """Run the cases whose numbers come, then take down what they shared."""
    end_with_parent()
    signal.signal(signal.SIGINT, interrupted)
    begin_capture(session.config)
    plugins = session.config.pluginmanager
    for name in TELLERS:
        if plugins.has_plugin(name):
            plugins.unregister(name=name)
    plugins.register(Sender(session.config, channel))
    # pytest has no public name for what takes fixtures down.
    state = session._setupstate
    try:
        for number in iter(channel.recv, None):
            item = session.items[number]
            # Which case is next is not known yet. What it has in common with this one is the session.
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=session)
            channel.send(None)
    except (EOFError, ConnectionResetError, BrokenPipeError):
        pass  # pytest's process has ended the run, or is about to
    except KeyboardInterrupt:
        sys.exit(pytest.ExitCode.INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        state.teardown_exact(None)


def begin_capture(config: pytest.Config) -> None:
    """Write what cases print to files of this lane's own: forked ones share where they write to."""
    if (capture := config.pluginmanager.getplugin("capturemanager")) is not None:
        capture.stop_global_capturing()
        capture.start_global_capturing()


def interrupted(*_: object) -> NoReturn:
    """Take Ctrl-C once: its terminal and pytest's process may both send it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def end_with_parent() -> None:
    """Have this process end at SIGTERM, and as soon as pytest's process has."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    for number in (signal.SIGIO, signal.SIGTERM):
        signal.signal(number, end)
    # A lane that is forked later holds the other end of this pipe too, so the last one ends first.
    fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(
        parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC
    )


def end(*_: object) -> NoReturn:
    """Leave no server: each has a session of its own, and would go on."""
    for number in (signal.SIGINT, signal.SIGIO, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # or an interrupt would end this first
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(1)
