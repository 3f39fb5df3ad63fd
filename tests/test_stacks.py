"""Manifests that are wrong say so, and what is started is watched and leaves nothing behind."""

from __future__ import annotations

import ast
import dataclasses
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

import stacks
from stacks import Stack, StackError

MANIFEST = """
[project]
dependencies = ["nothing"]

[tool.stack]
title = "Mine"
interface = "ASGI"
source = "https://example.org"
servers = ["uvicorn"]
"""

SERVER = """
[mine]
interface = "ASGI"
dependencies = []
command = ["serve", "{servers}/mine.toml"]
"""

HELLO = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status})
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def app(folder: Path, manifest: str = MANIFEST) -> Path:
    (folder / "pyproject.toml").write_text(manifest)
    return folder


def script(folder: Path, text: str) -> Stack:
    """Return a stack that runs a Python script with the port as its argument."""
    path = folder / "serve.py"
    path.write_text(text)
    command = (sys.executable, str(path), "{port}")
    return Stack(app="mine", server="command", title="Mine", interface="ASGI", command=command)


def test_every_app_reads_and_is_locked() -> None:
    """Each app of the house has a manifest without fault, and a lock for each of its servers."""
    found = [
        stack for name in stacks.app_names() for stack in stacks.read_stacks(stacks.APPS / name)
    ]

    assert len(found) >= 7
    for stack in found:
        assert stack.lock is not None and stack.lock.exists(), f"{stack}: run nox -s lock"
        assert stack.versions, f"{stack}: its lock names no version of its dependencies"


def test_links_lead_somewhere() -> None:
    """A fault links to a page, or to a finding of this house."""
    stands = [s for name in stacks.app_names() for s in stacks.read_stacks(stacks.APPS / name)]
    links = {fault.link for stack in stands for fault in {**stack.lacks, **stack.fails}.values()}
    findings = {f"findings/{path.name}" for path in stacks.ROOT.glob("findings/[a-z]*_*.py")}

    assert {link for link in links if not link.startswith("https://")} <= findings


def test_locks_carry_no_address() -> None:
    """A lock names releases, never a registry."""
    for path in [*stacks.APPS.glob("*/requirements*.txt"), *stacks.ROOT.glob("requirements/*.txt")]:
        assert "://" not in path.read_text(), path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("title =", "titel =", "no key 'titel'; known: title, interface", id="key"),
        pytest.param('title = "Mine"', "", "needs the key 'title'", id="missing_key"),
        pytest.param('"ASGI"', '"CGI"', "no interface 'CGI'; known: ASGI, WSGI", id="interface"),
        pytest.param('["uvicorn"]', '["unicorn"]', "no server 'unicorn'; known: ", id="server"),
        pytest.param('["uvicorn"]', '["gunicorn"]', "is ASGI, server gunicorn WSGI", id="mismatch"),
        pytest.param("[tool.stack]", "[tool.stck]", "has no [tool.stack] table", id="table"),
        pytest.param("[project]", "[project", "pyproject.toml: ", id="toml"),
    ],
)
def test_wrong_manifest(tmp_path: Path, old: str, new: str, message: str) -> None:
    """What a manifest gets wrong is named together with what is known."""
    folder = app(tmp_path, MANIFEST.replace(old, new))

    with pytest.raises(StackError) as error:
        stacks.read_stacks(folder)

    assert message in str(error.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param("lacks.sockets = {}", "no capability 'sockets'; known: ", id="capability"),
        pytest.param("fails.daphne = {}", "no server of this app 'daphne'", id="server"),
        pytest.param(
            'fails.uvicorn."hello/body_is_exact" = {reason = "none"}',
            "needs the key 'link'",
            id="link",
        ),
        pytest.param(
            'passes.uvicorn."hello/body_is_exact" = {reason = "Why.", link = "https://x"}',
            "no failure of uvicorn 'hello/body_is_exact'; known: hello/missing_host_is_400",
            id="passes",
        ),
    ],
)
def test_wrong_declaration(tmp_path: Path, table: str, message: str) -> None:
    """A declaration without its reason and link, or of something unknown, is an error."""
    folder = app(tmp_path, MANIFEST + table)

    with pytest.raises(StackError) as error:
        stacks.read_stacks(folder)

    assert message in str(error.value)


def test_app_takes_a_servers_failure_back(tmp_path: Path) -> None:
    """What an app mends on a server is no longer declared, and everything else still is."""
    case = "hello/missing_host_is_400"
    mended = f'passes.uvicorn."{case}" = {{reason = "Why.", link = "https://x"}}'
    [stack] = stacks.read_stacks(app(tmp_path, MANIFEST + mended))

    assert set(stacks.read_servers()["uvicorn"].fails) - set(stack.fails) == {case}


def test_server_lacks_for_all_its_apps(tmp_path: Path) -> None:
    """What a server cannot do, no app on it can."""
    path = tmp_path / "servers.toml"
    path.write_text(SERVER + 'lacks.websocket = {reason = "Why.", link = "https://x"}')

    assert list(stacks.read_servers(path)["mine"].lacks) == ["websocket"]


def test_command_finds_its_files(tmp_path: Path) -> None:
    """{servers} is the folder of what commands need besides."""
    path = tmp_path / "servers.toml"
    path.write_text(SERVER)

    assert stacks.read_servers(path)["mine"].command == ("serve", f"{tmp_path}/servers/mine.toml")


def test_proxy_takes_over_what_it_stands_before(tmp_path: Path) -> None:
    """A proxy's command gets the server's behind it, on another port, and none of its failures."""
    path = tmp_path / "servers.toml"
    path.write_text(f'{SERVER}[proxied]\nbehind = ["proxy", "{{port}}"]\nserver = "mine"\n')
    proxied = stacks.read_servers(path)["proxied"]

    assert proxied.command == ("proxy", "{port}", "serve", f"{tmp_path}/servers/mine.toml")
    assert (proxied.interface, proxied.fails) == ("ASGI", {})


def test_proxy_before_nothing(tmp_path: Path) -> None:
    """A proxy stands before a server that was described above it."""
    path = tmp_path / "servers.toml"
    path.write_text(f'{SERVER}[proxied]\nbehind = ["proxy"]\nserver = "yours"\n')

    with pytest.raises(StackError, match="no server above 'yours'; known: mine"):
        stacks.read_servers(path)


def test_server_behind_a_proxy_has_a_port_of_its_own(tmp_path: Path) -> None:
    """{upstream} is one more free port, and the same wherever it stands."""
    stack = script(tmp_path, "import sys; print(sys.argv[1:])")
    stack = dataclasses.replace(stack, command=(*stack.command, "{upstream}", "{upstream}"))
    log = tmp_path / "log"
    running = stacks.spawn(stack, 20_000, {}, log)
    running.wait(stacks.READY_WITHIN)
    port, *upstream = ast.literal_eval(log.read_text())

    assert port == "20000"
    assert len(upstream) == 2 and len(set(upstream)) == 1 and port not in upstream


def test_no_manifest(tmp_path: Path) -> None:
    """A folder that is no app is told from one that is."""
    with pytest.raises(StackError, match=r"has no pyproject\.toml"):
        stacks.read_stacks(tmp_path)


def test_unknown_app() -> None:
    """An app that is not there is answered with those that are."""
    with pytest.raises(StackError, match="no app 'bottle'; known: air, asgi"):
        stacks.find("bottle")


def test_unknown_server() -> None:
    """A server that the app does not name is answered with those it does."""
    with pytest.raises(StackError, match="no server 'gunicorn'; known: uvicorn"):
        stacks.find("asgi", "gunicorn")


def test_versions_are_read_from_the_lock(tmp_path: Path) -> None:
    """Extras and markers do not hide a version, and what is only indirect is left out."""
    lock = tmp_path / "requirements.txt"
    lock.write_text("# nox -s lock\nh11==0.16.0\nuvicorn==1.2.3 ; sys_platform != 'win32'\n")
    stack = Stack("a", "b", "A", "ASGI", lock=lock, dependencies=("uvicorn[standard]>=1",))

    assert stack.versions == {"uvicorn": "1.2.3"}


def test_ready_stack_is_watched_and_ends(tmp_path: Path) -> None:
    """A server answers once it is ready, shows up in its census, and is gone afterwards."""
    with stacks.serve(script(tmp_path, HELLO.format(status=200))) as running, ExitStack() as exits:
        running.wait_until_ready()
        before = running.census()  # may still hold what asked whether it is ready
        for _ in range(5):
            address = (running.host, running.port)
            client = exits.enter_context(socket.create_connection(address))
            client.sendall(b"GET / HTTP/1.1\r\n")
        assert stacks.probe(running.host, running.port) == "200"  # so the five are served by now
        during = running.census()

    assert before.processes == during.processes == 1
    assert during.sockets - before.sockets >= 4
    assert during.threads - before.threads >= 4
    assert during.memory > 2**20
    assert not psutil.pid_exists(running.process.pid)


def test_dead_command_is_reported_with_its_output(tmp_path: Path) -> None:
    """A process that ends before it answers is reported at once, with what it printed."""
    stack = script(tmp_path, "raise SystemExit('no configuration')")

    with stacks.serve(stack) as running, pytest.raises(StackError) as error:
        running.wait_until_ready()

    assert "exited with 1 before it answered" in str(error.value)
    assert "no configuration" in str(error.value)


def test_wrong_answer_is_reported(tmp_path: Path) -> None:
    """A server that answers, but not with 200, is no time-out without a word."""
    stack = script(tmp_path, HELLO.format(status=503))

    with stacks.serve(stack) as running:
        while stacks.probe(running.host, running.port) != "503":
            time.sleep(0.01)  # on a busy machine it takes its time to listen
        with pytest.raises(StackError) as error:
            running.wait_until_ready(within=0.5)

    assert "GET / gave 503 for 0.5 s, wanted 200" in str(error.value)


def test_missing_program() -> None:
    """A command that cannot be started names itself."""
    stack = Stack("a", "b", "A", "ASGI", command=("no-such-program", "{port}"))

    with pytest.raises(StackError, match="cannot start no-such-program"), stacks.serve(stack):
        pass


def test_taken_port(tmp_path: Path) -> None:
    """A port that somebody holds is not served over."""
    with socket.socket() as holder:
        holder.bind((stacks.HOST, 0))
        holder.listen()
        port = holder.getsockname()[1]

        with (
            pytest.raises(StackError, match=f"port {port} is taken"),
            stacks.serve(script(tmp_path, ""), port=port),
        ):
            pass


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    """Stopping a stack also ends children that would outlive it."""
    child = "import subprocess, sys\nsubprocess.Popen(['sleep', '60'], start_new_session=True)\n"
    with stacks.serve(script(tmp_path, child + HELLO.format(status=200))) as running:
        running.wait_until_ready()
        pids = [process.pid for process in running.tree()]

    deadline = time.monotonic() + 5
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert len(pids) == 2
    assert not any(map(is_alive, pids))


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_environment_of_a_stack_is_its_own() -> None:
    """The suite's virtualenv and paths do not reach an app."""
    stack = stacks.find("asgi")

    assert stack.environment.parent == stacks.ENVIRONMENTS
    assert stack.environment != stacks.find("starlette").environment
    assert os.environ.get("VIRTUAL_ENV") != str(stack.environment)


def test_no_two_processes_are_given_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that was chosen is nobody else's, though nothing listens on it yet."""
    mine = stacks.free_port()
    theirs = f"import stacks; print(stacks._reserve({mine}))"
    seen = subprocess.run(
        [sys.executable, "-c", theirs], cwd=stacks.ROOT, capture_output=True, text=True, check=True
    )

    assert seen.stdout == "False\n"
    monkeypatch.setattr(stacks, "PORTS", range(mine, mine + 1))
    with pytest.raises(StackError, match=f"no port from {mine} to {mine} is free"):
        stacks.free_port()
