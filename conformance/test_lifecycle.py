"""How a server starts and stops, and what is left of a client that has gone."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import psutil
import pytest

from conformance import frames
from conformance.conftest import PING_INTERVAL, Start
from conformance.remains import FREED_WITHIN, at_rest, left_over
from conformance.sockets import opened
from conformance.wire import (
    PATIENCE,
    Address,
    Closed,
    Connection,
    Reader,
    Response,
    WireError,
    exchange,
    request,
)
from stacks import READY_WITHIN, Running, Stack, StackError, port_is_free

# What an operator waits between SIGTERM and SIGKILL, at the least.
STOPS_WITHIN = 5.0

# Two tokens: the first comes at once, then nothing is due for 30 s.
SILENT_STREAM = "/sse?text=a%20b&delay=30"


# Starting


@pytest.mark.case("L1", "SPEC.md", decides="both")
def test_ready_means_hello_is_200(start: Start) -> None:
    """The first connection that is accepted gets 200, and so do the next ones."""
    with start(ready=False) as running:
        with first_accepted(running) as connection:
            connection.send(request(running))
            statuses = [Reader(connection).response(within=READY_WITHIN).status]
        statuses += [exchange(running).status for _ in range(3)]

    assert statuses == [200] * 4, f"the first four connections got {statuses}, wanted 200 each"


def first_accepted(running: Running) -> Connection:
    """Return the first connection that the server accepts."""
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        with suppress(ConnectionRefusedError):
            return Connection(running)
        assert running.process.poll() is None, (
            f"it exited with {running.process.poll()} before it listened, wanted it to go on"
        )
        time.sleep(0.002)
    raise WireError(f"no connection was accepted for {READY_WITHIN:g} s, wanted one")


# Stopping


@pytest.mark.case("L2", "SPEC.md", decides="server")
def test_sigterm_idle_exits(ending: Running) -> None:
    """A server that has nothing to do exits within 5 s of SIGTERM."""
    ending.terminate()

    assert_exits(ending, STOPS_WITHIN)


def assert_exits(running: Running, within: float) -> None:
    try:
        running.wait(within)
    except TimeoutError:
        seen = f"it was still running {STOPS_WITHIN:g} s after SIGTERM"
        raise WireError(f"{seen}, wanted it to exit") from None


@pytest.mark.case("L2", "SPEC.md", decides="server")
def test_exit_leaves_no_child(ending: Running) -> None:
    """No process that the server started outlives it."""
    exchange(ending)
    known = ending.tree()
    ending.terminate()
    with suppress(TimeoutError):  # whether it exits is another case
        ending.wait(STOPS_WITHIN)
    # A child may be one that notices the end of its parent.
    deadline = time.monotonic() + 1
    while (left := living_children(ending, known)) and time.monotonic() < deadline:
        time.sleep(0.02)

    assert left == [], f"after SIGTERM there still were {left}, wanted no process"


def living_children(running: Running, known: Sequence[psutil.Process]) -> list[str]:
    """Return the command lines of children that live: known ones, and others of the session."""
    leader = running.process.pid
    lines = []
    for process in {*known, *session(leader)}:
        # A zombie holds nothing: it waits for whoever adopted it to ask for its exit status.
        with suppress(psutil.NoSuchProcess):
            is_alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
            if is_alive and process.pid != leader:
                lines.append(" ".join(process.cmdline()))
    return lines


def session(leader: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(OSError):
            if os.getsid(process.pid) == leader:
                yield process


@pytest.mark.waits(1)
@pytest.mark.case("L2", "RFC 9293 3.6.1", decides="server")
def test_restarts_on_the_same_port_at_once(ending: Running, start: Start) -> None:
    """A server that was stopped under a live connection is followed by one on the same port."""
    # The server is the side that closes, so its end of the connection lingers in the system and
    # keeps the port, unless the next server says that this is no matter.
    with Connection(ending) as connection:
        connection.send(request(ending))
        Reader(connection).response()
        ending.terminate()
        assert_exits(ending, STOPS_WITHIN)
    assert port_is_free(ending.port), f"something still listens on {ending.port}, wanted nothing"
    with start(port=ending.port, ready=False) as second:
        try:
            second.wait_until_ready()
        except StackError as error:
            raise WireError(f"the second server on the port: {error}") from None
        status = exchange(second).status

    assert status == 200, f"the second server on the port gave {status}, wanted 200"


@pytest.mark.waits(1)
@pytest.mark.case("L3", "RFC 9112 9.6", decides="server")
def test_sigterm_finishes_request_in_flight(ending: Running) -> None:
    """Answers that are due when SIGTERM comes are still given whole; then the server exits."""
    with polls_in_flight(ending, 0.6, 1) as connections:
        ending.terminate()
        for connection in connections:
            assert_is_second_token(Reader(connection).response())
            connection.close()
        assert_exits(ending, STOPS_WITHIN)


@contextmanager
def polls_in_flight(running: Running, *delays: float) -> Iterator[list[Connection]]:
    """Send polls whose answers are due in `delays` seconds; return when they are being served."""
    with ExitStack() as exits:
        connections = [exits.enter_context(Connection(running)) for _ in delays]
        for connection, delay in zip(connections, delays, strict=True):
            connection.send(request(running, target=f"/poll?text=a%20b&after=1&delay={delay:g}"))
        # Whoever has answered a later connection has accepted these; the rest is for a server with
        # more than one process or thread, where those may not have read the requests yet.
        exchange(running)
        time.sleep(0.2)
        yield connections


def assert_is_second_token(response: Response) -> None:
    assert response.status == 200 and b'"b"' in response.body, (
        f"the poll in flight got {response}, wanted 200 and the token 'b'"
    )


@pytest.mark.waits(2)
@pytest.mark.case("L3", "SPEC.md", decides="server")
def test_stops_accepting_while_draining(ending: Running) -> None:
    """While a request in flight is being finished, new connections are not served."""
    statuses = []
    with polls_in_flight(ending, 2) as [connection]:
        ending.terminate()
        # The signal takes a moment to arrive, so it is the tries just before the answer that count.
        while not select.select([connection.socket], [], [], 0.1)[0]:
            statuses.append(status_beside(ending, connection))

    assert 200 not in statuses[-2:], f"new connections got {statuses}, wanted no service in the end"


def status_beside(running: Running, in_flight: Connection) -> int | None:
    """Return the status that a new connection gets while another waits, None where it gets none."""
    with suppress(Closed, OSError), Connection(running) as connection:
        connection.send(request(running, headers=[("Connection", "close")]))
        sockets = [connection.socket, in_flight.socket]
        if in_flight.socket not in select.select(sockets, [], [], PATIENCE)[0]:
            return Reader(connection).response().status
    return None


@pytest.mark.waits(3)
@pytest.mark.case("L4", "SPEC.md", decides="server")
def test_sigterm_with_open_stream_exits(ending: Running) -> None:
    """An event stream that would go on for half a minute does not keep the server alive."""
    with open_stream(ending):
        ending.terminate()

        assert_exits(ending, STOPS_WITHIN)


@contextmanager
def open_stream(address: Address) -> Iterator[Connection]:
    """Open a stream that says one token and is silent; return after its first event."""
    with ask_for_stream(address) as connection:
        await_stream(connection)
        yield connection


def ask_for_stream(address: Address, last: str | None = None) -> Connection:
    connection = Connection(address)
    headers = [] if last is None else [("Last-Event-ID", last)]
    connection.send(request(address, target=SILENT_STREAM, headers=headers))
    return connection


def await_stream(connection: Connection, last: str | None = None) -> None:
    """Read a stream up to its first event, or its head where it is resumed and silent."""
    reader = Reader(connection)
    status = reader.head().status
    assert status == 200, f"GET {SILENT_STREAM} gave {status}, wanted a stream"
    body = b""
    chunks = reader.chunks()
    while last is None and b"data:" not in body:
        body += next(chunks, b"data: the end")


@pytest.mark.waits(1)
@pytest.mark.needs("websocket")
@pytest.mark.case("L4", "RFC 6455 7.4.1", decides="server")
def test_sigterm_with_open_socket_exits_and_says_1001_or_1012(ending: Running) -> None:
    """An open socket is closed with 1001 or 1012, and does not keep the server alive."""
    with opened(ending) as socket:
        socket.assert_echo("a")
        begin = time.monotonic()
        ending.terminate()
        code = socket.receive_close()
        assert code in (1001, 1012), f"the socket was closed with {code}, wanted 1001 or 1012"
        assert_exits(ending, STOPS_WITHIN - (time.monotonic() - begin))


@pytest.mark.waits(1)
@pytest.mark.needs("websocket")
@pytest.mark.case("L4", "RFC 6455 7.1.1", level="should", decides="server")
def test_sigterm_with_deaf_socket_exits(ending: Running) -> None:
    """A client that never answers the Close frame does not keep the server alive."""
    with frames.connect(ending):
        ending.terminate()

        assert_exits(ending, STOPS_WITHIN)


# What a client leaves behind


@pytest.mark.waits(3)
@pytest.mark.case("L5", "CWE-772", decides="both")
def test_thirty_aborted_streams_free_everything(process: Running) -> None:
    """30 streams that are left after their first event, half by FIN and half by RST, are freed."""
    finish_streams(process, 30)
    before = at_rest(process)
    with ExitStack() as exits:
        streams = [exits.enter_context(open_stream(process)) for _ in range(30)]
        for stream in streams[::2]:
            stream.reset()
    left = left_over(process, before, FREED_WITHIN)

    assert left == {}, f"{FREED_WITHIN:g} s later {left} were left of 30 streams, wanted none"


def finish_streams(address: Address, count: int) -> None:
    """Read as many streams to their end: a pool of threads grows by what they need, and stays."""
    with ExitStack() as exits:
        streams = [exits.enter_context(Connection(address)) for _ in range(count)]
        for stream in streams:
            stream.send(request(address, target="/sse?text=a%20b&delay=0.5"))
        for stream in streams:
            Reader(stream).response()


@pytest.mark.waits(1)
@pytest.mark.case("L5", "CWE-772", decides="both")
def test_silent_stream_left_is_freed(process: Running) -> None:
    """A stream that is left while nothing is due on it is freed within three pings."""
    within = 3 * PING_INTERVAL + 2  # for a busy machine
    finish_streams(process, 12)
    before = at_rest(process)
    with ExitStack() as exits:
        lasts = (None, None, "1", "1") * 3
        streams = [exits.enter_context(ask_for_stream(process, k)) for k in lasts]
        for stream, last in zip(streams, lasts, strict=True):
            await_stream(stream, last)
        for stream in streams[::2]:
            stream.reset()
    left = left_over(process, before, within)

    assert left == {}, f"{within:g} s later {left} were left of 12 silent streams, wanted none"


@pytest.mark.waits(1)
@pytest.mark.case("L5", "CWE-772", decides="server")
def test_two_hundred_connections_leave_no_descriptors(process: Running) -> None:
    """200 connections, left in every way a client can, leave no descriptor."""
    for number in range(12):
        come_and_go(process, number)
    before = at_rest(process)
    for number in range(200):
        come_and_go(process, number)
    left = left_over(process, before, FREED_WITHIN)

    assert left == {}, f"{FREED_WITHIN:g} s later {left} were left of 200, wanted none"


def come_and_go(address: Address, number: int) -> None:
    """Leave behind an answer, before it, or in the middle of a request; by FIN or by RST."""
    whole = request(address)
    last = request(address, headers=[("Connection", "close")])
    half_a_body = request(address, "POST", body=b"a=b")[:-2]
    with Connection(address) as connection:
        connection.send((whole, last, whole, half_a_body, whole[:30], b"")[number % 6])
        if number % 6 == 0:
            Reader(connection).response()
        if number % 6 == 1:
            connection.receive_to_end()
        if number % 12 > 5:
            connection.reset()


@pytest.mark.waits(3)
@pytest.mark.case("L6", "SPEC.md", decides="both")
def test_no_traceback_in_the_log(start: Start, stack: Stack) -> None:
    """A run that saw valid traffic only prints no traceback."""
    with start() as running:
        see_valid_traffic(running)
        if "websocket" not in stack.lacks:
            with opened(running) as socket:
                socket.assert_echo("a")
        at_rest(running)
        running.terminate()
        with suppress(TimeoutError):
            running.wait(STOPS_WITHIN)
        lines = running.output.splitlines()

    traces = [line for line in lines if "Traceback" in line]
    assert traces == [], f"the log holds {traces} and ends with {lines[-1]!r}, wanted no traceback"


def see_valid_traffic(running: Running) -> None:
    exchange(running)
    exchange(running, "HEAD")
    exchange(running, "POST", body=b"a=b")
    exchange(running, target="/nowhere")
    exchange(running, target="/poll?text=a%20b&after=1&delay=0")
    exchange(running, target="/poll?text=a&after=1")
    exchange(running, target="/sse?text=a%20b&delay=0")
    exchange(running, target="/sse?text=a", headers=[("Last-Event-ID", "1")])
    with open_stream(running):
        pass
    with open_stream(running) as stream:
        stream.reset()
