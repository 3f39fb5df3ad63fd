"""What a case came to, from how its function ended; and the record of a whole run."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import cast

import h11
import httpx2 as httpx
import hypothesis
import pytest
import websockets

from conformance import cases, results
from conformance.results import Level, Outcome, is_red
from stacks import Fault, Stack

# What an app or server can make the suite's clients raise. Anything else is the suite's own error.
JUDGED = (
    AssertionError,
    OSError,
    EOFError,
    h11.RemoteProtocolError,
    httpx.TransportError,
    httpx.DecodingError,
    hypothesis.errors.FlakyFailure,
    websockets.WebSocketException,
)


def judge(
    level: Level,
    declared: Fault | None,
    error: BaseException | None,
    *,
    when: str = "call",
    observed: str = "",
) -> tuple[Outcome, str]:
    """Return the outcome of a case and its message.

    `error` is what its function, or in `setup` and `teardown` a fixture, raised. A stack that
    `declared` the failure has to fail: the declaration is strict both ways.
    """
    seen = first_line(error) if error else observed
    if error is not None and (when == "setup" or not isinstance(error, JUDGED)):
        return Outcome.HARNESS_ERROR, f"{type(error).__name__} in {when}: {seen}"
    if level is Level.OBSERVE:
        return Outcome.OBSERVED, seen
    if declared is None:
        return (Outcome.FAILED, seen) if error else (Outcome.PASSED, "")
    if error is None:
        return Outcome.UNEXPECTED_PASS, f"passed, but is declared to fail: {declared.reason}"
    return Outcome.EXPECTED_FAILURE, f"{seen} ({declared.reason} {declared.link})"


def first_line(error: BaseException) -> str:
    """Return what an exception says; pytest puts its own reading of an assert below that."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# The property of a report by which a lane tells that there is nothing to judge.
UNSERVED = "unserved"


class Recorder:
    """A pytest plugin that collects the judgements of all lanes, tells and records them."""

    def __init__(self, stack: Stack, *, slow: bool, path: Path | None):
        self.stack = stack
        self.slow = slow
        self.path = path
        self.cases: dict[str, results.Case] = {}
        self.note = ""
        self.date = datetime.datetime.now(datetime.UTC)
        self.start = time.monotonic()

    @pytest.hookimpl(tryfirst=True)  # what ends the run, nobody else hears of
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == UNSERVED:  # told once, and not by each case
                raise pytest.UsageError(str(value))
            case = cast(results.Case, value)
            # A teardown that fails outweighs a call that passed.
            if name not in self.cases or is_red(case["outcome"], case["level"]):
                self.cases[name] = case

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if self.path is None or not self.cases or exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        if self.path.suffix == ".json":
            results.write(self.path, self.result())
        elif missing := self.expected() - self.cases.keys():
            self.note = f"not recorded: {len(missing)} cases were left out of this run"
        else:
            results.write(self.path / f"{self.stack}.json", self.result())

    def expected(self) -> set[str]:
        """Return the ids of the cases that a whole run comes to."""
        return {
            case.id
            for case in cases.declared()
            if (self.slow or not case.slow)
            and (case.lacking is None or case.lacking in self.stack.lacks)
        }

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int
    ) -> None:
        if exitstatus == pytest.ExitCode.USAGE_ERROR:
            return
        terminalreporter.ensure_newline()
        for name, case in sorted(self.cases.items()):
            if case["outcome"] not in (Outcome.PASSED, Outcome.LACKS):
                red = is_red(case["outcome"], case["level"])
                level = "" if case["level"] == Level.REQUIRED else f", {case['level']}"
                line = f"{case['outcome']}{level}: {name}: {case['message']}"
                terminalreporter.write_line(line, red=red, yellow=not red)
        if self.note:
            terminalreporter.write_line(self.note, yellow=True)

    def result(self) -> results.Result:
        return results.Result(
            app=self.stack.app,
            server=self.stack.server,
            interface=self.stack.interface,
            suite=results.suite_version(),
            versions=self.stack.versions,
            machine=results.machine(),
            date=self.date.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - self.start, 1),
            cases=self.cases,
        )
