"""Lanes are workers like any other, but forked; they end with the run, however that ends."""

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

from conformance import lanes

COMMAND = (sys.executable, lanes.__file__, "2", "-p", "no:cacheprovider", "-q")
PATIENCE = 60.0


def run(folder: Path, cases: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(cases)
    command = [*COMMAND, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_lanes_are_forks_of_one_process(tmp_path: Path) -> None:
    """Each lane is a worker of its own, a child of one fork server that is none itself."""
    seen = tmp_path / "seen"
    cases = f"""
import os, sys, time, pytest
@pytest.mark.parametrize("number", range(2))
def test(number, worker_id):
    imported = "conformance.frames" in sys.modules
    with open({str(seen)!r}, "a") as file:
        print(worker_id, os.getpid(), os.getppid(), imported, file=file)
    while len(open({str(seen)!r}).readlines()) < 2:
        time.sleep(0.01)
"""
    done = run(tmp_path, cases)

    assert done.returncode == 0, done.stdout + done.stderr
    names, own, parents, imported = zip(*(line.split() for line in seen.read_text().splitlines()))
    assert sorted(names) == ["gw0", "gw1"]
    assert len({*own, *parents}) == 3
    assert imported == ("True", "True")
    assert "warning" not in done.stdout


def test_assertions_of_cases_are_explained(tmp_path: Path) -> None:
    """What the lanes have imported before does not keep pytest from rewriting the cases."""
    done = run(tmp_path, "def test():\n    assert [1, 2] == [1, 3]\n")

    assert done.returncode == 1
    assert "At index 1 diff: 2 != 3" in done.stdout


def test_a_lane_that_dies_is_told(tmp_path: Path) -> None:
    """A lane that exits in the middle of a case fails it, and the run goes on."""
    done = run(tmp_path, "import os\ndef test_a(): os._exit(3)\ndef test_b(): pass\n")

    assert done.returncode == 1
    assert "crashed while running" in done.stdout
    assert "1 failed, 1 passed" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path, number: int) -> None:
    """Killed, pytest takes its fork server, its stand-ins, its lanes and their servers along."""
    pids = stuck(tmp_path, lambda pytest_itself, _: pytest_itself.send_signal(number))

    assert gone(pids), f"still there: {[p for p in pids if psutil.pid_exists(p)]}"


def test_a_killed_stand_in_takes_its_lane_along(tmp_path: Path) -> None:
    """What execnet kills is the stand-in, and what it means is the lane, with its server."""

    def kill(pytest_itself: psutil.Process, _: int) -> None:
        for child in pytest_itself.children():
            if "stand-in" in child.cmdline():
                child.kill()

    pids = stuck(tmp_path, kill)

    assert gone(pids[-2:]), "its lane is still there, or the server of that"


def test_a_terminated_lane_takes_its_server_along(tmp_path: Path) -> None:
    """Who ends a run by SIGTERM to the whole group of its processes leaves no server."""
    pids = stuck(tmp_path, lambda _, lane: os.kill(lane, signal.SIGTERM))

    assert gone(pids[-2:]), "a lane is still there, or the server of that"


def test_at_ctrl_c_lanes_put_away_what_they_have(tmp_path: Path) -> None:
    """Who is interrupted still takes its fixtures down, before it goes."""
    seen, away = tmp_path / "seen", tmp_path / "away"
    cases = f"""
import pathlib, pytest, time
@pytest.fixture
def kept():
    yield
    time.sleep(0.5)
    pathlib.Path({str(away)!r}).write_text("away")
def test(kept):
    pathlib.Path({str(seen)!r}).write_text("seen")
    time.sleep(600)
"""
    (tmp_path / "test_it.py").write_text(cases)
    command = [*COMMAND, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        wait_for(seen)
        os.killpg(run.pid, signal.SIGINT)

    wait_for(away)
    assert run.returncode == 2


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
    with subprocess.Popen([*COMMAND, str(folder)], stdout=subprocess.DEVNULL) as run:
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
