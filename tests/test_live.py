"""All stacks at once: what is started, relayed and refused, and that nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import httpx2 as httpx
import psutil
import pytest

import stacks
from bench.relay import Direct
from conformance.event_stream import Stream
from conformance.upstream import Exchange, Upstream
from conformance.wire import Connection, WireError, request
from live.__main__ import Server
from live.fleet import Fleet, Served
from live.page import origins
from tests import live_process
from tests.test_stacks import HELLO

HANGS = "import time; time.sleep(600)"
DIES = "raise SystemExit('no configuration')"

# What a stack is told about a stream that it should say.
SSE = "/sse?text=a+b&delay=30"


# As it is called


def test_unknown_app_is_an_error() -> None:
    """An app that is not there is answered with those that are."""
    done = subprocess.run(
        live_process.command("--apps", "asgi,bottle"), capture_output=True, text=True, check=False
    )

    assert done.stderr.startswith("error: apps/: no app 'bottle'; known: air, asgi")
    assert done.returncode == 1


def test_taken_port_is_an_error() -> None:
    """A port that somebody holds is told, and nothing is started."""
    with socket.create_server((stacks.HOST, 0)) as holder:
        port = holder.getsockname()[1]
        done = subprocess.run(
            live_process.command("--apps", "asgi", "--port", str(port)),
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.stderr == f"error: port {port} is taken; name another, or none to get a free one\n"
    assert done.stdout == ""
    assert done.returncode == 1


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda s: s.name
)
def test_signal_leaves_nothing_behind(sent: signal.Signals) -> None:
    """Ctrl-C, an operator and a closed terminal end every process, though streams are open."""
    with live_process.started("--apps", "asgi,wsgi") as live, ExitStack() as exits:
        status = live.wait_until_all_run()
        relayed = [(one["relay"], f"/stacks/{name}{SSE}") for name, one in status.items()]
        for port, target in [(live.port, "/status"), *relayed]:
            stream = exits.enter_context(Stream(Direct(port), target))
            assert stream.next(live_process.WITHIN).data
        tree = live.tree()
        live.process.send_signal(sent)
        code = live.process.wait(live_process.WITHIN)
        gone, left = psutil.wait_procs(tree, 10)

    assert left == []
    assert len(gone) >= 4  # itself, uvicorn, gunicorn and its worker
    assert code == 0


def test_it_ends_with_the_process_that_started_it() -> None:
    """Where nox is ended, which tells nobody, the page and its stacks end too."""
    start = f"import subprocess; subprocess.run({live_process.command('--apps', 'asgi')!r})"
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True) as nox:
        assert nox.stdout is not None
        address = nox.stdout.readline().partition(" on ")[2].partition(";")[0]
        live_process.Live(address, nox).wait_until_all_run()
        tree = psutil.Process(nox.pid).children(recursive=True)
        nox.kill()
    _, left = psutil.wait_procs(tree, 30)

    assert len(tree) == 2
    assert left == []


# Each stack by itself


@contextmanager
def fleet_of(**scripts: str) -> Iterator[Fleet]:
    """Yield a fleet of servers that run these Python scripts, by name; end it."""
    chosen = [
        stacks.Stack(
            app=name,
            server="script",
            title=name.title(),
            interface="ASGI",
            command=(sys.executable, "-c", text, "{port}"),
        )
        for name, text in scripts.items()
    ]
    with closing(Fleet(chosen, {})) as fleet:
        yield fleet


def becomes(served: Served, state: str, within: float = live_process.WITHIN) -> str:
    """Wait until a stack is in a state; return the detail, or raise AssertionError."""
    deadline = time.monotonic() + within
    while served.state != state:
        assert time.monotonic() < deadline, f"{served.stack} is {served.state}, wanted {state}"
        time.sleep(0.01)
    return served.detail


def test_no_stack_waits_for_another() -> None:
    """Beside one that hangs and one that dies, a third runs; each tells how it is."""
    with fleet_of(hangs=HANGS, dies=DIES, answers=HELLO.format(status=200)) as fleet:
        fleet.start()
        hangs, dies, answers = fleet.served.values()

        assert becomes(answers, "running").startswith("ready in ")
        assert "no configuration" in becomes(dies, "failed")
        assert hangs.state == "starting"
        hangs.kill()
        assert becomes(hangs, "killed").endswith("s after SIGKILL")
        assert answers.state == "running"


def test_stopped_stack_starts_again_on_its_port() -> None:
    """A stack that was stopped says how long it took, and comes back where it was."""
    with fleet_of(answers=HELLO.format(status=200)) as fleet:
        fleet.start()
        [served] = fleet.served.values()
        becomes(served, "running")
        served.stop()
        assert becomes(served, "stopped").endswith("s after SIGTERM")
        assert stacks.port_is_free(served.port)
        served.start()
        becomes(served, "running")

        assert stacks.probe(stacks.HOST, served.port) == "200"


def test_stack_that_ends_by_itself_has_failed() -> None:
    """A server that somebody else ended is told, with its exit status."""
    with fleet_of(answers=HELLO.format(status=200)) as fleet:
        fleet.start()
        [served] = fleet.served.values()
        becomes(served, "running")
        [server] = [c for c in psutil.Process().children() if str(served.port) in c.cmdline()]
        server.kill()

        assert becomes(served, "failed").startswith("exited with -9")


# The relay


class Page:
    """The page of one stack that the test plays itself, as an `Upstream`."""

    def __init__(self) -> None:
        self.port = stacks.free_port()
        self.host = stacks.HOST
        self.stack = Upstream()
        self.fleet = Fleet([stacks.Stack("mine", "test", "Mine", "ASGI")], {})
        [served] = self.fleet.served.values()
        served.port = self.stack.port
        self._server = Server(self.fleet, origins(self.port))
        listener = socket.create_server((self.host, self.port))
        self._thread = threading.Thread(target=self._server.run, args=([listener],))
        self._thread.start()
        httpx.get(f"http://{self.host}:{self.port}/", timeout=live_process.WITHIN, trust_env=False)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.stack.close()

    @contextmanager
    def open(self, *headers: tuple[str, str]) -> Iterator[tuple[Stream, Exchange]]:
        """Yield a client's stream through the relay, and the stack's side of it."""
        with Stream(self, f"/stacks/mine-test{SSE}", headers) as stream:
            yield stream, self.stack.next_request(live_process.WITHIN)


@pytest.fixture
def page() -> Iterator[Page]:
    with closing(Page()) as page:
        yield page


def test_relay_passes_each_piece_on_as_it_comes(page: Page) -> None:
    """What the stack says leaves before it says more, and what the browser asks arrives whole."""
    with page.open(("Last-Event-ID", "7"), ("Origin", origins(page.port)[0])) as (stream, stack):
        stack.start()
        for number in range(3):
            stack.say(str(number))
            assert f'"content": "{number}"' in stream.next().data
        stack.end()

        assert stream.events_to_the_end() == []
        assert stack.target == SSE
        assert stack.headers["last-event-id"] == "7"
        assert stack.headers["accept-encoding"] == "identity"
        assert "origin" not in stack.headers
        assert stream.head.header("access-control-allow-origin") == origins(page.port)[0]


@pytest.mark.parametrize("begun", [False, True], ids=["before_headers", "in_mid_stream"])
def test_relay_leaves_when_the_browser_leaves(page: Page, begun: bool) -> None:
    """A browser that closes its stream takes the stack's connection along."""
    with page.open() as (stream, stack):
        if begun:
            stack.start()
            stack.say("a")
            stream.next()
        assert not stack.is_closed()
        stream.connection.close()

        assert stack.is_closed_within(live_process.WITHIN)


def test_broken_stream_does_not_look_like_an_end(page: Page) -> None:
    """Where the stack breaks off, so does the relay: an EventSource has to come back."""
    with page.open() as (stream, stack):
        stack.start()
        stack.say("a")
        stream.next()
        stack.reset()

        with pytest.raises(WireError):
            stream.events_to_the_end()


def test_cut_drops_what_is_relayed(page: Page) -> None:
    """A person can cut the connections to a stack, of which each side sees the end."""
    with page.open() as (stream, stack):
        stack.start()
        stack.say("a")
        stream.next()
        url = f"http://{page.host}:{page.port}/stacks/mine-test/cut"
        answer = httpx.post(url, headers={"origin": origins(page.port)[0]}, trust_env=False)

        assert answer.json() == {"cut": 1}
        assert stack.is_closed_within(live_process.WITHIN)
        with pytest.raises(WireError):
            stream.events_to_the_end()


def test_stack_that_is_not_there_is_a_502(page: Page) -> None:
    """A stack that refuses is told as that, at once."""
    with page.stack.refusing():
        answer = httpx.get(f"http://{page.host}:{page.port}/stacks/mine-test{SSE}", trust_env=False)

    assert answer.status_code == 502
    assert answer.json()["error"]["message"].startswith("mine-test is stopped: ")


# Who may ask


def test_page_on_another_origin_controls_nothing(page: Page) -> None:
    """A foreign page cannot stop a stack, read a stream, or pass for the page by its Host."""
    base = f"http://{page.host}:{page.port}"
    foreign = {"origin": "http://evil.example"}
    with httpx.Client(base_url=base, trust_env=False) as client:
        assert client.post("/stacks/mine-test/stop", headers=foreign).status_code == 403
        assert client.get("/", headers={"host": "evil.example"}).status_code == 400
        assert "access-control-allow-origin" not in client.get("/", headers=foreign).headers


def test_unknown_stack_and_action_are_404(page: Page) -> None:
    """What is not there is answered with what is."""
    base = f"http://{page.host}:{page.port}/stacks"
    with httpx.Client(trust_env=False) as client:
        stack = client.post(f"{base}/yours-test/stop")
        action = client.post(f"{base}/mine-test/pause")

    assert (stack.status_code, stack.text) == (404, "no such stack; known: mine-test")
    assert action.status_code == 404
    assert action.text == "no action 'pause'; known: start, stop, kill, cut"


def test_page_says_who_serves_it(page: Page) -> None:
    """The framework and the server of the page are named with their versions."""
    text = httpx.get(f"http://{page.host}:{page.port}/", trust_env=False).text

    assert "served by Starlette 1." in text
    assert " on uvicorn 0." in text


def test_head_of_the_status_ends(page: Page) -> None:
    """HEAD of a stream that goes on for ever has no body and ends."""
    with Connection(page) as connection:
        connection.send(request(page, "HEAD", "/status"))
        connection.send(request(page, "HEAD", "/static/live.css"))
        deadline = time.monotonic() + 10
        while connection.received.count(b"HTTP/1.1 200") < 2 and time.monotonic() < deadline:
            connection.received += connection.socket.recv(65536)

    assert connection.received.count(b"HTTP/1.1 200") == 2


def test_model_that_does_not_answer_is_told(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page learns which model the stacks are told to ask, and that it is not there."""
    url = f"http://{stacks.HOST}:{stacks.free_port()}/v1"
    monkeypatch.setitem(os.environ, "UPSTREAM_BASE_URL", url)
    answer = httpx.get(f"http://{page.host}:{page.port}/model", trust_env=False).json()

    assert answer["url"] == url
    assert answer["model"] is None
    assert answer["fault"].startswith("ConnectError: ")
