"""Lanes run cases side by side, as pytest itself would; they end with the run, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from stacks import ROOT

COMMAND = (sys.executable, "-m", "pytest", "-p", "conformance.lanes", "--lanes", "2", "-q")
PATIENCE = 60.0


def run(folder: Path, cases: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(cases)
    command = [*COMMAND, str(folder), *options]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def test_lanes_are_forks_of_pytest(tmp_path: Path) -> None:
    """Cases that wait for one another run side by side, in processes that pytest was forked into."""
    seen = tmp_path / "seen"
    cases = f"""
import os, time, pytest
@pytest.mark.parametrize("number", range(2))
def test(number):
    with open({str(seen)!r}, "a") as file:
        print(os.getpid(), os.getppid(), file=file)
    while len(open({str(seen)!r}).readlines()) < 2:
        time.sleep(0.01)
"""
    done = run(tmp_path, cases)

    assert done.returncode == 0, done.stdout + done.stderr
    own, parents = zip(*(line.split() for line in seen.read_text().splitlines()), strict=True)
    assert len({*own, *parents}) == 3
    assert "warning" not in done.stdout


def test_a_lane_keeps_what_its_session_has(tmp_path: Path) -> None:
    """A fixture of the session lives as long as the lane, and one of a module as long as a case."""
    seen = tmp_path / "seen"
    cases = f"""
import os, pytest
def tell(what):
    with open({str(seen)!r}, "a") as file:
        print(what, file=file)
@pytest.fixture(scope="session")
def of_session():
    yield
    tell("session")
@pytest.fixture(scope="module")
def of_module():
    yield
    tell("module")
@pytest.mark.parametrize("number", range(3))
def test(number, of_session, of_module):
    tell("case")
"""
    done = run(tmp_path, cases, "--lanes", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert seen.read_text().split() == ["case", "module"] * 3 + ["session"]


def test_a_lane_ends_with_a_case_that_is_its_last(tmp_path: Path) -> None:
    """What comes behind such a case runs in another lane."""
    seen = tmp_path / "seen"
    cases = f"""
import os, pytest
@pytest.mark.last
@pytest.mark.parametrize("number", range(3))
def test(number):
    with open({str(seen)!r}, "a") as file:
        print(os.getpid(), file=file)
"""
    done = run(tmp_path, cases, "--lanes", "1", "-W", "ignore::pytest.PytestUnknownMarkWarning")

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(set(seen.read_text().split())) == 3


def test_assertions_and_output_of_cases_are_told(tmp_path: Path) -> None:
    """A case that fails in a lane is explained as everywhere, with what it printed, and it alone."""
    cases = """
def test_a():
    print("from a")
    assert [1, 2] == [1, 3]
def test_b():
    print("from b")
"""
    done = run(tmp_path, cases)

    assert done.returncode == 1
    assert "At index 1 diff: 2 != 3" in done.stdout
    assert "from a" in done.stdout
    assert "from b" not in done.stdout


def test_a_run_ends_with_the_failure_that_is_one_too_many(tmp_path: Path) -> None:
    """`-x` has no further case begin."""
    cases = """
import pytest
@pytest.mark.parametrize("number", range(9))
def test(number):
    assert number
"""
    done = run(tmp_path, cases, "-x", "--lanes", "1")

    assert done.returncode == 1
    assert "stopping after 1 failures" in done.stdout
    assert "1 failed in" in done.stdout


def test_a_lane_that_dies_is_told(tmp_path: Path) -> None:
    """A lane that exits in the middle of a case fails it, and the run goes on."""
    cases = "import os\ndef test_a(): os._exit(3)\ndef test_b(): pass\n"
    done = run(tmp_path, cases, "--lanes", "1")

    assert done.returncode == 1
    assert "the lane exited with 3 during this case, wanted it to go on" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path, number: int) -> None:
    """Killed, pytest takes its lanes and their servers along."""
    pids = stuck(tmp_path, lambda pytest_itself, _: pytest_itself.send_signal(number))

    assert gone(pids), f"still there: {[p for p in pids if psutil.pid_exists(p)]}"


def test_a_terminated_lane_takes_its_server_along(tmp_path: Path) -> None:
    """Who ends a run by SIGTERM to the whole group of its processes leaves no server."""
    pids = stuck(tmp_path, lambda _, lane: os.kill(lane, signal.SIGTERM))

    assert gone(pids[-2:]), "a lane is still there, or the server of that"


@pytest.mark.parametrize("who", ["all", "lane"])
def test_at_ctrl_c_lanes_put_away_what_they_have(tmp_path: Path, who: str) -> None:
    """Who is interrupted still takes its fixtures down, and the run ends, though only a lane hears."""
    seen, away = tmp_path / "seen", tmp_path / "away"
    cases = f"""
import os, pathlib, pytest, time
@pytest.fixture
def kept():
    yield
    time.sleep(0.5)
    pathlib.Path({str(away)!r}).write_text("away")
def test(kept):
    pathlib.Path({str(seen)!r}).write_text(str(os.getpid()))
    time.sleep(600)
"""
    (tmp_path / "test_it.py").write_text(cases)
    command = [*COMMAND, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True
    ) as run:
        wait_for(seen)
        if who == "all":
            os.killpg(run.pid, signal.SIGINT)
        else:
            os.kill(int(seen.read_text()), signal.SIGINT)

    wait_for(away)
    assert run.returncode == pytest.ExitCode.INTERRUPTED


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, f"no {file.name} within {PATIENCE:g} s"
        time.sleep(0.02)


def stuck(folder: Path, end: Callable[[psutil.Process, int], None]) -> list[int]:
    """Have a case wait for ever, and end something of its run.

    Returns all processes; the last are that of a server with its own session, and its lane.
    """
    seen = folder / "seen"
    cases = f"""
import os, pathlib, subprocess, time
def test():
    server = subprocess.Popen(["sleep", "600"], start_new_session=True)
    pathlib.Path({str(seen)!r}).write_text(f"{{server.pid}} {{os.getpid()}}")
    time.sleep(600)
"""
    (folder / "test_it.py").write_text(cases)
    with subprocess.Popen([*COMMAND, str(folder)], cwd=ROOT, stdout=subprocess.DEVNULL) as run:
        wait_for(seen)
        server, lane = map(int, seen.read_text().split())
        process = psutil.Process(run.pid)
        children = {child.pid for child in process.children(recursive=True)}
        end(process, lane)
        if run.poll() is None:
            os.kill(run.pid, signal.SIGINT)
    return [*children - {server, lane}, server, lane]


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while any(map(psutil.pid_exists, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
