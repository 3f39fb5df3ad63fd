"""What a hostile client sends, and what it must not get."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from itertools import product

import pytest

from conformance import completions, flood, frames
from conformance.memory import MIB
from conformance.sockets import UPGRADE
from conformance.wire import (
    Address,
    Closed,
    Connection,
    Reader,
    Response,
    Silence,
    WireError,
    exchange,
    request,
    tail,
)

KIB = 1024

# A frame of a traceback, as plain text or HTML: Python's, and what Node, Go and Rust print.
TRACE = re.compile(
    rb"Traceback|\.py\b.{0,60}\bline\b|\.[cm]?[jt]s:\d+:\d+|goroutine \d+ \[|\.go:\d+|panicked at",
    re.DOTALL,
)

# The stream has one token, so with this id after it the answer is 204, and 200 without.
ONE_TOKEN = "/sse?text=a&delay=0"
PAST_THE_END = "Last-Event-ID: 7"

# What a body must not become: a request with an answer that is easy to tell.
HIDDEN_TARGET = "/poll?text=smuggled"


def answer(address: Address, data: bytes, method: str = "GET") -> Response | None:
    """Return the answer to one request, None where the server closes without a word."""
    with Connection(address) as connection:
        connection.send(data)
        try:
            return Reader(connection).response(method)
        except Closed:
            return None


def status_of(address: Address, data: bytes, method: str = "GET") -> int | None:
    response = answer(address, data, method)
    return response.status if response else None


def is_refusal(status: int | None) -> bool:
    return status is None or 400 <= status < 500


# What responses give away


@pytest.mark.case("X1", "CWE-209", decides="both")
def test_no_traceback_in_responses(server: Address) -> None:
    """No request makes a response show where in the code it failed."""
    for data in odd_requests(server):
        with Connection(server) as connection:
            connection.send(data)
            with suppress(WireError):  # only what it gives away is judged here
                Reader(connection).response(within=2)
        seen = connection.received
        trace = TRACE.search(seen)

        assert trace is None, f"{data[:50]!r} gave a traceback: {tail(seen[: trace.end()])}"


def odd_requests(server: Address) -> Iterable[bytes]:
    digits = "9" * 5000  # more than Python's int() takes
    queries = [
        *("delay=abc&after=abc", "delay=1e999", "delay=-1", "delay=%00", "text=%ff%fe&delay=0"),
        *(f"delay=0&after={digits}", "text=%ED%A0%80&delay=0", "&=&&delay=0&%", "text[]=a&delay=0"),
    ]
    for path, query in product(("/", "/sse", "/poll", "/ws"), queries):
        yield request(server, target=f"{path}?{query}")
    for target in ("/%", "/%ff", "/%c0%ae%c0%ae/", "/../app", "/sse/", "//sse", "/sse%00"):
        yield request(server, target=target)
    fields = (
        ("Last-Event-ID", digits),
        ("Cookie", "\xff=\xfe;;="),
        ("Accept-Encoding", "\xff;q=a"),
    )
    for path, field in product(("/", "/sse", "/poll"), fields):
        yield request(server, target=f"{path}?delay=0", headers=[field])
    for method, path in product(("POST", "PUT", "BREW"), ("/", "/sse", "/poll", "/ws")):
        yield request(server, method, path, [("Content-Type", "application/json")], b'{"a": \xff')
    yield request(server, "POST", headers=[("Content-Type", "multipart/form-data")], body=b"--")
    for name in ("Sec-WebSocket-Key", "Sec-WebSocket-Version"):
        for target in ("/ws", "/", "/nowhere"):
            for value in (None, "\xff"):
                yield request(server, target=target, headers=frames.with_field(name, value))
    yield request(server, target="/ws", headers=[*UPGRADE, ("Origin", "http://[")])
    yield request(server, headers=[("Host", "[")])
    yield b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"


@pytest.mark.case("X2", "CWE-113", decides="both")
def test_crlf_in_query_or_header_reaches_no_header(server: Address) -> None:
    """No line end that a client sends, encoded or bare, starts a field of the response."""
    for target, fields in injections():
        data = request(server, target=target, headers=fields)
        response = answer(server, data)
        seen = response.headers if response else []
        injected = [field for field in seen if "injected" in field[0]]

        assert injected == [], f"{target} with {fields} gave {injected}, wanted no such field"
        if target.startswith(("/sse?", "/poll?")) and not fields:
            # A good text. Where the server refuses to send such a field, the app fails instead.
            status = response.status if response else None
            assert status == 200, f"{target} gave {status}, wanted 200"


def injections() -> Iterable[tuple[str, list[tuple[str, str]]]]:
    # The last one is U+560D U+560A: it becomes CR LF where somebody cuts characters to one byte.
    for line_end in ("%0d%0a", "%0a", "%0d", "%E5%98%8D%E5%98%8A"):
        field = f"{line_end}X-Injected:%20yes"
        for path in ("/", "/sse", "/poll", "/nowhere", "/ws"):
            yield f"{path}?text=a{field}&delay=0", []
        for path in ("/sse/", "//host.example/", "/"):
            yield f"{path}{field}", []
        for name in ("Last-Event-ID", "Origin", "Referer", "Cookie", "X-Request-ID", "Host"):
            yield ONE_TOKEN, [(name, f"1{field}")]
    for name in ("Last-Event-ID", "Origin", "Accept-Encoding"):
        yield ONE_TOKEN, [(name, "1\rX-Injected: yes")]
    yield "/ws?text=a%0d%0aX-Injected:%20yes", [*UPGRADE]
    yield "/ws", [*UPGRADE, ("Sec-WebSocket-Protocol", "a%0d%0aX-Injected:%20yes")]


@pytest.mark.case("X3", "RFC 9110 9.3.6 and 9.3.8", decides="both")
def test_trace_and_connect_are_not_2xx(server: Address) -> None:
    """TRACE echoes no request, and CONNECT opens no tunnel."""
    authority = f"{server.host}:{server.port}"
    targets = [("TRACE", "/"), ("TRACE", "/sse?delay=0"), ("TRACE", "/poll"), ("TRACE", "*")]
    for method, target in [*targets, ("CONNECT", authority), ("CONNECT", "/")]:
        status = status_of(server, request(server, method, target), method)

        assert status is None or not 200 <= status < 300, (
            f"{method} {target} gave {status}, wanted a refusal"
        )


# Limits


@pytest.mark.case("X4", "RFC 9110 5.4, RFC 6585 5", decides="server")
def test_header_of_128_kib_is_4xx(server: Address) -> None:
    """A field of 128 KiB is refused with 4xx."""
    assert_large_is_4xx(server, request(server, headers=[("X-Large", "a" * 128 * KIB)]), "field")


@pytest.mark.case("X4", "RFC 9112 3, RFC 9110 15.5.15", decides="server")
def test_uri_of_64_kib_is_4xx(server: Address) -> None:
    """A request target of 64 KiB is refused with 4xx, also where its second piece is all the rest."""
    data = request(server, target="/?".ljust(64 * KIB, "a"))
    assert_large_is_4xx(server, data, "target")
    assert_large_is_4xx(server, data, "target", next_pieces=len(data), pause=0.2)


def assert_large_is_4xx(
    server: Address, data: bytes, what: str, *, next_pieces: int = 8 * KIB, pause: float = 0
) -> None:
    """Send in pieces: a server may answer and close before it has seen all of a request.

    What it said before its RST can still be read; a server that says nothing at all breaks a MUST.
    """
    with Connection(server) as connection:
        connection.send(data[: 8 * KIB])
        for start in range(8 * KIB, len(data), next_pieces):
            if select.select([connection.socket], [], [], pause)[0]:
                break
            try:
                connection.send(data[start : start + next_pieces])
            except Closed:
                break
        status = Reader(connection).response().status

    assert 400 <= status < 500, f"a {what} of {len(data) // KIB} KiB gave {status}, wanted 4xx"


# Where a request ends


@pytest.mark.case("X5", "RFC 9112 6.1, CWE-444", decides="server")
def test_length_beside_chunked_is_refused_or_closes(server: Address) -> None:
    """With both framings a request is the last one of its connection, whatever its answer."""
    body = b"0\r\n\r\n" + request(server, target=HIDDEN_TARGET)
    # By the length, the second request stands behind the body or hides in it.
    for length in (0, 5, len(body)):
        fields = [("Content-Length", str(length)), ("Transfer-Encoding", "chunked")]
        for order in (fields, fields[::-1]):
            statuses, ended = statuses_on(server, request(server, "POST", headers=order) + body)
            shown = f"POST with {order}"

            assert len(statuses) <= 1, f"{shown} and a request gave {statuses}, wanted one answer"
            assert ended or statuses == [400], (
                f"{shown} gave {statuses} and left the connection open"
            )


def statuses_on(server: Address, data: bytes) -> tuple[list[int], bool]:
    """Return the status of each answer, and whether the server closed behind the last one."""
    statuses: list[int] = []
    with Connection(server) as connection:
        connection.send(data)
        reader = Reader(connection)
        try:
            statuses.append(reader.response("POST").status)
            while True:
                statuses.append(reader.response(within=5).status)
        except Closed:
            return statuses, True
        except Silence:
            return statuses, False


@pytest.mark.case("X5", "RFC 9112 6.3", decides="server")
def test_differing_lengths_are_400(server: Address) -> None:
    """Two lengths for one body are refused with 400, in two fields or in one."""
    for fields in ("5\r\nContent-Length: 6", "6\r\nContent-Length: 5", "5, 6", "6, 5"):
        assert_400(server, "POST", f"Content-Length: {fields}", b"hello!")


@pytest.mark.case("X5", "RFC 9112 6.3, RFC 9110 8.6", decides="server")
def test_malformed_length_is_400(server: Address) -> None:
    """A length that is not digits alone is refused with 400, whatever a number it may be elsewhere."""
    for length in ("+3", "-3", "0x3", "0_3", "3.0", "3;", "\xb3", ""):
        assert_400(server, "POST", f"Content-Length: {length}", b"a=b")


def assert_400(server: Address, method: str, field: str, body: bytes = b"") -> None:
    status = status_of(server, with_raw_field(server, method, "/", field) + body, method)

    assert status == 400, f"{method} with {field!r} gave {status}, wanted 400"


def with_raw_field(server: Address, method: str, target: str, field: str) -> bytes:
    host = f"Host: {server.host}:{server.port}"
    return f"{method} {target} HTTP/1.1\r\n{host}\r\n{field}\r\n\r\n".encode("latin-1")


@pytest.mark.needs("chat")
@pytest.mark.case("X5", "RFC 9112 7.1, CWE-444", decides="server")
def test_malformed_chunk_size_is_refused(server: Address) -> None:
    """A size that is not hexadecimal digits alone ends the connection, and nothing more is read."""
    hidden = request(server, target=HIDDEN_TARGET)
    fields = [("Transfer-Encoding", "chunked")]
    head = request(server, "POST", completions.PATH, fields)
    for size in ("+3", "-3", "0x3", "0_3", "g", ""):
        statuses, _ = statuses_on(server, head + f"{size}\r\n{{}}x\r\n0\r\n\r\n".encode() + hidden)

        assert len(statuses) <= 1, (
            f"a chunk of {size!r} octets and a request gave {statuses}, wanted no second answer"
        )


@pytest.mark.case("X5", "RFC 9112 6.1 and 6.3, CWE-444", decides="server")
def test_unknown_transfer_coding_refused(server: Address) -> None:
    """A body in an unknown coding has no known end, so nothing behind the head is a request."""
    hidden = request(server, target=HIDDEN_TARGET)
    codings = ("xchunked", "chunkedx", "gzip", "identity", "chunked, gzip")
    for coding, body in product(codings, (hidden, b"0\r\n\r\n" + hidden)):
        head = request(server, "POST", headers=[("Transfer-Encoding", coding)])
        statuses, _ = statuses_on(server, head + body)
        shown = f"POST with Transfer-Encoding {coding} gave {statuses}"

        assert len(statuses) <= 1, f"{shown}, wanted no answer to what stands in the body"
        for status in statuses:
            assert 400 <= status < 500 or status == 501, f"{shown}, wanted 4xx or 501"


# Where a field ends


@pytest.mark.case("X6", "RFC 9112 5.1", decides="server")
def test_blank_before_colon_is_400(server: Address) -> None:
    """A blank between a field's name and its colon is refused with 400."""
    for field in ("X-Probe : a", "X-Probe\t: a", "Last-Event-ID : 7", "Connection : close"):
        assert_400(server, "GET", field)
    assert_400(server, "POST", "Content-Length : 5", b"hello")
    assert_400(server, "POST", "Transfer-Encoding : chunked", b"0\r\n\r\n")


@pytest.mark.case("X6", "RFC 9112 2.2 and 5.2", decides="server")
def test_obsolete_folding_refused(server: Address) -> None:
    """A folded line is refused, or read as a blank in the value; it is no field of its own."""
    for field in (
        f"X-Probe: a\r\n {PAST_THE_END}",
        f"X-Probe: a\r\n\t{PAST_THE_END}",
        f"X-Probe:\r\n {PAST_THE_END}",
        f"{PAST_THE_END}\r\n 7",  # 77 without the blank, 7 if the line is dropped
        f"{PAST_THE_END}\r\n\t7",
    ):
        assert_has_no_effect(server, with_raw_field(server, "GET", ONE_TOKEN, field))
    host = f"Host: {server.host}:{server.port}"
    first = f"GET {ONE_TOKEN} HTTP/1.1\r\n {PAST_THE_END}\r\n{host}\r\n\r\n"
    assert_has_no_effect(server, first.encode())


@pytest.mark.case("X6", "RFC 9112 2.2", decides="server")
def test_bare_cr_refused(server: Address) -> None:
    """A CR without LF is refused, or read as a blank; it ends no line."""
    for field in (
        f"X-Probe: a\r{PAST_THE_END}",
        f"X-Probe: a\r\r{PAST_THE_END}",
        f"X-Probe: a\r\n\r{PAST_THE_END}",
        f"{PAST_THE_END}\r7",  # 77 without the blank
        PAST_THE_END.replace(":", "\r:"),
    ):
        assert_has_no_effect(server, with_raw_field(server, "GET", ONE_TOKEN, field))
    host = f"Host: {server.host}:{server.port}"
    first = f"GET {ONE_TOKEN} HTTP/1.1\r{PAST_THE_END}\r\n{host}\r\n\r\n"
    assert_has_no_effect(server, first.encode())


def assert_has_no_effect(server: Address, data: bytes) -> None:
    """Raise unless a request is refused or served as if it had no Last-Event-ID."""
    status = status_of(server, data)

    assert is_refusal(status) or status == 200, (
        f"{data!r} gave {status}, wanted a refusal, or 200 as without {PAST_THE_END}"
    )


# Starving others


@pytest.mark.case("X7", "CWE-400", decides="server")
def test_sixty_half_open_requests_starve_nobody(server: Address) -> None:
    """60 clients that do not finish their request keep nobody else from an answer."""
    whole = request(server, headers=[("X-Probe", "a" * 40)])
    with ExitStack() as exits:
        for number in range(60):
            connection = exits.enter_context(Connection(server))
            connection.send(whole[: 1 + number * (len(whole) - 2) // 59])
        statuses = [exchange(server).status for _ in range(3)]

    assert statuses == [200] * 3, f"beside 60 half requests GET / gave {statuses}, wanted 200"


@pytest.mark.needs("websocket")
@pytest.mark.case("X7", "RFC 6455 5.5.2, CWE-400", decides="server")
def test_ping_flood_starves_nobody(server: Address) -> None:
    """A socket that sends pings as fast as it can keeps nobody else from an answer."""
    for reads in (True, False):
        with frames.connect(server) as websocket:
            pings = flood.Pings(websocket.connection.socket, reads=reads)
            pings.fill()
            assert_hello_beside(server, pings)
            websocket.connection.reset()


def assert_hello_beside(server: Address, pings: flood.Pings) -> None:
    with Connection(server) as connection:
        connection.send(request(server))
        before = pings.moved
        came = pings.until_readable(connection.socket)
        moved = (pings.moved - before) / MIB
        assert came, (
            f"GET / got nothing while {moved:.0f} MiB of pings and pongs went by, "
            f"wanted 200 before {flood.LIMIT / MIB:g} MiB and {flood.SECONDS:g} s"
        )
        status = Reader(connection).response().status

    assert status == 200, f"beside a flood of pings GET / gave {status}, wanted 200"


@pytest.mark.waits(1)
@pytest.mark.case("X8", "RFC 9110 15.5.9, CWE-400", level="observe", decides="server")
def test_header_timeout(server: Address, observe: Callable[[str], None]) -> None:
    """The time that a server gives a client for the rest of a head is told, up to 1 s."""
    begin = time.monotonic()
    with Connection(server) as connection:
        connection.send(request(server)[:-2])
        try:
            seen = connection.receive(1)
        except Silence:
            return observe("half a request is still open after 1 s")
    seconds = time.monotonic() - begin
    observe(f"half a request got {tail(seen[:12]) if seen else 'closed'} after {seconds:.1f} s")
