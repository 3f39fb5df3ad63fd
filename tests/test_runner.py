"""The runner as it is called: what it is given, what it says and how it exits."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import stacks
from conformance import results

HELLO = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"Hello from Mine (WSGI)!"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "conformance", "--quiet"]
    return subprocess.run([*command, *options], capture_output=True, text=True, check=False)


@pytest.fixture
def mine(tmp_path: Path) -> tuple[str, ...]:
    """Options for a server that greets rightly and does nothing else."""
    (tmp_path / "serve.py").write_text(HELLO)
    command = f"{sys.executable} {tmp_path / 'serve.py'} {{port}}"
    return ("--command", command, "--title", "Mine", "--interface", "WSGI")


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """A folder outside the house with the ASGI reference in it."""
    folder = shutil.copytree(stacks.APPS / "asgi", tmp_path / "mine")
    yield folder
    shutil.rmtree(stacks.find(folder).environment, ignore_errors=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param((), "name what to judge: one of --app, --command and --url", id="nothing"),
        pytest.param(("--app", "bottle"), "no app 'bottle'; known: air, asgi", id="app"),
        pytest.param(("--app", "no/such"), "no app 'no/such'; known: air, asgi", id="folder"),
        pytest.param(("--app", "tests"), "tests has no pyproject.toml", id="manifest"),
        pytest.param(("--app", "asgi", "--server", "x"), "no server 'x'; known: ", id="server"),
        pytest.param(("--command", "x {port}"), "--command needs --title", id="title"),
        pytest.param(
            ("--command", "x", "--title", "X", "--interface", "ASGI"),
            "--command needs {port}",
            id="port",
        ),
        pytest.param(
            ("--command", "no-such {port}", "--title", "X", "--interface", "ASGI"),
            "cannot start no-such",
            id="program",
        ),
        pytest.param(
            ("--command", "false {port}", "--title", "X", "--interface", "ASGI"),
            "exited with 1 before it answered",
            id="dies",
        ),
        pytest.param(
            ("--url", "http://127.0.0.1:9", "--title", "X", "--interface", "ASGI"),
            "GET / gave ConnectionRefusedError",
            id="url",
        ),
        pytest.param(
            ("--url", "https://127.0.0.1", "--title", "X", "--interface", "ASGI"),
            "give http://HOST:PORT",
            id="tls",
        ),
    ],
)
def test_wrong_call(options: tuple[str, ...], message: str) -> None:
    """What cannot be judged is told in a line, with a status of its own."""
    done = run(*options)

    assert message in done.stderr + done.stdout
    assert done.returncode == pytest.ExitCode.USAGE_ERROR


def test_exit_is_1_when_a_required_case_fails(mine: tuple[str, ...], tmp_path: Path) -> None:
    """One required case that fails is enough, and it is named with what was seen and wanted."""
    record = tmp_path / "record.json"
    done = run(*mine, "-k", "body_is_exact or post_is_405_with", "--results", str(record))
    cases = results.read(record)["cases"]

    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "failed: hello/post_is_405_with_allow: POST / gave 501, wanted 405" in done.stdout
    assert cases["hello/body_is_exact"]["outcome"] == "passed"
    assert cases["hello/post_is_405_with_allow"]["outcome"] == "failed"


def test_exit_is_0_when_all_chosen_cases_pass(mine: tuple[str, ...]) -> None:
    """A run whose cases all pass is green."""
    assert run(*mine, "--only", "hello", "-k", "body_is_exact").returncode == 0


def test_lacks_is_neither_red_nor_left_out(mine: tuple[str, ...], tmp_path: Path) -> None:
    """A case that the stack lacks the capability for is recorded as such."""
    record = tmp_path / "record.json"
    done = run(*mine, "--lacks", "websocket", "-k", "echoes_with", "--results", str(record))

    assert done.returncode == 0
    assert results.read(record)["cases"]["websocket/echoes_with_prefix"]["outcome"] == "lacks"


def test_url_judges_what_runs_there(mine: tuple[str, ...], tmp_path: Path) -> None:
    """A server that runs elsewhere is judged, except for what needs its process."""
    record = tmp_path / "record.json"
    stack = stacks.Stack(
        "mine",
        "command",
        "Mine",
        "WSGI",
        command=(sys.executable, str(tmp_path / "serve.py"), "{port}"),
    )
    with stacks.serve(stack) as running:
        running.wait_until_ready()
        choice = ("-k", "body_is_exact or sigterm_idle_exits", "--results", str(record))
        done = run("--url", running.url, "--title", "Mine", "--interface", "WSGI", *choice)
    cases = results.read(record)["cases"]

    assert done.returncode == 0
    assert cases["hello/body_is_exact"]["outcome"] == "passed"
    assert cases["lifecycle/sigterm_idle_exits"]["outcome"] == "lacks"


def test_partial_run_replaces_no_record(mine: tuple[str, ...], tmp_path: Path) -> None:
    """A run with -k does not overwrite the record of a whole one in a folder of results."""
    done = run(*mine, "-k", "body_is_exact", "--results", str(tmp_path))

    assert "not recorded: " in done.stdout
    assert not list(tmp_path.glob("*.json"))


def declare(folder: Path, case: str) -> None:
    manifest = folder / "pyproject.toml"
    entry = f'[tool.stack.fails.uvicorn]\n"{case}" = {{ reason = "Why.", link = "https://x" }}\n'
    manifest.write_text(f"{manifest.read_text()}\n{entry}")


def test_folder_outside_the_house(copy: Path) -> None:
    """Any folder with a manifest is judged in a virtualenv of its own."""
    done = run("--app", str(copy), "-k", "body_is_exact or missing_host")

    assert done.returncode == 0
    assert "expected-failure: hello/missing_host_is_400" in done.stdout


def test_an_app_that_cannot_be_served_is_told_once(copy: Path, tmp_path: Path) -> None:
    """The first lane that gets no server ends the run: no case is judged, and nothing recorded."""
    (copy / "app.py").write_text("raise SystemExit('no model, no service')")
    record = tmp_path / "record.json"
    options = ("-c", "pyproject.toml", "conformance", "--app", str(copy), "--results", str(record))
    command = [sys.executable, "-m", "pytest", "--lanes", "3", *options, "--quiet", "--tb=no"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert (done.stdout + done.stderr).count("no model, no service") == 1
    assert "harness-error" not in done.stdout
    assert not record.exists()


def test_stale_declaration_is_red(copy: Path) -> None:
    """A case that is declared to fail and passes makes the run fail."""
    declare(copy, "hello/body_is_exact")
    done = run("--app", str(copy), "-k", "body_is_exact")

    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "unexpected-pass: hello/body_is_exact: passed, but is declared" in done.stdout


def test_a_case_that_does_not_apply_stands_in_nobodys_way(mine: tuple[str, ...]) -> None:
    """Between a case of its own module and one of another it leaves nothing set up."""
    words = "restarts_on or deaf_socket or trace_and_connect"
    done = run(*mine, "--lacks", "websocket", "-k", words)

    assert "harness-error" not in done.stdout
    assert "2 passed, 1 skipped" in done.stdout


@pytest.mark.parametrize(
    "case", ["hello/body_is_exakt", "fuzz/survives", "autobahn/7.1.5", "nobody/at_all"]
)
def test_unknown_case_is_an_error(copy: Path, case: str) -> None:
    """A declaration of a case that does not exist lists those that do."""
    declare(copy, case)
    done = run("--app", str(copy), "-k", "body_is_exact")

    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"no case '{case}'; known:" in done.stderr
    assert "hello/body_is_exact\n" in done.stderr
