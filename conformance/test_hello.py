"""`GET /`, and what a server owes any request."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime

import pytest

from conformance.wire import (
    TAKES_ALL,
    Address,
    Closed,
    Connection,
    Reader,
    Silence,
    WireError,
    exchange,
    request,
    tail,
)
from stacks import Stack

IMF_FIXDATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)


def greeting(stack: Stack) -> bytes:
    return f"Hello from {stack.title} ({stack.interface})!".encode()


@pytest.mark.case("H1", "SPEC.md")
def test_body_is_exact(server: Address, stack: Stack) -> None:
    """`GET /` gives 200 and the greeting, to the byte."""
    response = exchange(server)

    assert response.status == 200, f"GET / gave {response.status}, wanted 200"
    assert response.body == greeting(stack), f"saw {response.body!r}, wanted {greeting(stack)!r}"


@pytest.mark.case("H1", "RFC 9110 8.3")
def test_content_type_names_utf8(server: Address) -> None:
    """The greeting is `text/plain; charset=utf-8`."""
    message = Message()
    message["content-type"] = exchange(server).header("content-type") or "none"

    seen = (message.get_content_type(), message.get_content_charset())
    assert seen == ("text/plain", "utf-8"), (
        f"Content-Type is {message['content-type']!r}, wanted 'text/plain; charset=utf-8'"
    )


@pytest.mark.case("H1", "RFC 9110 8.6, RFC 9112 6.2", decides="both")
def test_content_length_equals_body(server: Address, stack: Stack) -> None:
    """Content-Length counts the body's octets and never stands beside Transfer-Encoding."""
    response = exchange(server)
    length = response.header("content-length")
    coding = response.header("transfer-encoding")

    assert length is None or coding is None, (
        f"saw Content-Length {length!r} beside Transfer-Encoding {coding!r}, wanted one of them"
    )
    wanted = str(len(greeting(stack)))
    assert length in (None, wanted), f"Content-Length is {length!r}, wanted {wanted!r}"


@pytest.mark.case("H2", "RFC 9110 9.3.2", decides="both")
def test_head_matches_get_without_body(server: Address) -> None:
    """HEAD gives GET's status and fields, and no body."""
    get = exchange(server)
    with Connection(server) as connection:
        connection.send(request(server, "HEAD"))
        reader = Reader(connection)
        head = reader.response("HEAD")
        behind = next_on(connection, reader, server)

    assert head.status == get.status, f"HEAD / gave {head.status}, GET / {get.status}"
    assert head.header("content-type") == get.header("content-type"), (
        f"HEAD's Content-Type is {head.header('content-type')!r}, "
        f"GET's {get.header('content-type')!r}"
    )
    lengths = (head.header("content-length"), get.header("content-length"))
    assert lengths[0] in (None, lengths[1]), (
        f"HEAD's Content-Length is {lengths[0]!r}, GET's {lengths[1]!r}"
    )
    assert behind in (None, get.body), f"behind HEAD's response came {behind!r}, wanted nothing"


def next_on(
    connection: Connection, reader: Reader, server: Address, in_front: bytes = b""
) -> bytes | None:
    """Return the body of a further `GET /` on the connection, None where the server closed it."""
    try:
        connection.send(in_front + request(server))
        return reader.response().body
    except Closed:
        return None


@pytest.mark.case("H3", "RFC 9110 15.5.6")
def test_post_is_405_with_allow(server: Address) -> None:
    """`POST /` is 405, and Allow lists GET."""
    response = exchange(server, "POST", body=b"")
    allowed = re.split(r"\s*,\s*", response.header("allow") or "")

    assert response.status == 405, f"POST / gave {response.status}, wanted 405"
    assert "GET" in allowed, f"Allow lists {allowed}, wanted GET among them"


@pytest.mark.case("H3", "RFC 9110 9.1", decides="both")
def test_unknown_method_is_4xx_or_501(server: Address) -> None:
    """A method that nobody knows is refused as such."""
    status = exchange(server, "BREW").status

    assert 400 <= status < 500 or status == 501, f"BREW / gave {status}, wanted 4xx or 501"


@pytest.mark.case("H3", "RFC 9110 15.5.5")
def test_unknown_path_is_404(server: Address) -> None:
    """A path that is not in the contract is 404, also one that begins or ends as one that is."""
    nowhere = ("/nowhere", "/hello", "/index.html", "/static/app.py")
    lookalikes = ("/sse/more", "/sse.txt", "/more/sse", "/poll/more", "/polls", "/more/poll")
    for target in (*nowhere, *lookalikes):
        status = exchange(server, target=target).status

        assert status == 404, f"GET {target} gave {status}, wanted 404"


@pytest.mark.case("H4", "SPEC.md")
def test_query_changes_nothing(server: Address, stack: Stack) -> None:
    """`GET /` ignores its query."""
    for target in ("/?", "/?name=you", "/?text=a&delay=abc&after=-1", "/?%00=%ff"):
        response = exchange(server, target=target)

        assert (response.status, response.body) == (200, greeting(stack)), (
            f"GET {target} gave {response.status} {response.body!r}, wanted the greeting"
        )


@pytest.mark.case("H4", "RFC 9110 12.5.1")
def test_accept_changes_nothing(server: Address) -> None:
    """There is one greeting, whatever else a client would rather accept."""
    wanted = exchange(server)
    for accept in TAKES_ALL:
        seen = exchange(server, headers=[("Accept", accept)])

        assert (seen.status, seen.header("content-type"), seen.body) == (
            wanted.status,
            wanted.header("content-type"),
            wanted.body,
        ), f"Accept: {accept} got {seen}, wanted {wanted} as without it"


@pytest.mark.case("H4", "RFC 9110 15.6.1", decides="both")
def test_odd_paths_never_500(server: Address) -> None:
    """No path makes the app or the server stumble."""
    for target in ("//", "/%2e%2e", "/%00", "/" + "a" * 8191):
        status = exchange(server, target=target).status

        assert status < 500, f"GET {target[:20]} gave {status}, wanted below 500"


@pytest.mark.case("H5", "RFC 9110 3.3", decides="both")
def test_parallel_requests_all_exact(server: Address, stack: Stack) -> None:
    """50 requests that are open at the same time all get the greeting."""
    with ExitStack() as exits:
        connections = [exits.enter_context(Connection(server)) for _ in range(50)]
        for connection in connections:
            connection.send(request(server))
        bodies = Counter(Reader(connection).response().body for connection in connections)

    assert bodies == {greeting(stack): 50}, f"saw {dict(bodies)}, wanted 50 greetings"


@pytest.mark.case("H5", "RFC 9110 3.3")
def test_requests_leave_no_state(server: Address, stack: Stack) -> None:
    """The greeting is the same after requests of every kind."""
    before = exchange(server)
    others = itertools.product(("GET", "HEAD", "POST", "BREW"), ("/", "/nowhere", "/sse", "/poll"))
    for method, path in others:
        target = f"{path}?name=changed&text=changed&delay=0"
        exchange(server, method, target, [("Cookie", "name=changed"), ("Accept-Language", "de")])
    after = exchange(server)

    for field in ("status", "body"):
        assert getattr(after, field) == getattr(before, field), (
            f"{field} was {getattr(before, field)!r}, afterwards {getattr(after, field)!r}"
        )
    assert after.body == greeting(stack), f"saw {after.body!r}, wanted {greeting(stack)!r}"


@pytest.mark.case("H6", "RFC 9112 9.3", decides="server")
def test_connection_is_reused(server: Address, stack: Stack) -> None:
    """Ten requests are answered on one connection."""
    with Connection(server) as connection:
        reader = Reader(connection)
        for number in range(1, 11):
            connection.send(request(server))
            body = reader.response().body

            assert body == greeting(stack), f"answer {number} was {body!r}, wanted the greeting"


@pytest.mark.waits(2)
@pytest.mark.case("H6", "RFC 9110 7.6.1, RFC 9112 9.6", decides="server")
def test_connection_close_is_honoured(server: Address) -> None:
    """The server closes behind the response to a request that has the option `close`."""
    for options in ("close", "Close", "keep-alive, close"):
        with Connection(server) as connection:
            connection.send(request(server, headers=[("Connection", options)]))
            Reader(connection).response()
            behind = connection.receive_to_end()

        assert behind == b"", f"behind {options!r} came {tail(behind)}, wanted the end"


@pytest.mark.case("H6", "RFC 9112 9.3.2", decides="server")
def test_pipelined_pair_in_order(server: Address, stack: Stack) -> None:
    """Two requests in one segment get their answers in the order of the requests."""
    with Connection(server) as connection:
        connection.send(request(server, target="/poll?text=first&after=0") + request(server))
        reader = Reader(connection)
        first, second = reader.response(), reader.response()

    assert b"first" in first.body, f"the first answer was {first}, wanted the token 'first'"
    assert second.body == greeting(stack), f"the second was {second}, wanted the greeting"


@pytest.mark.case("H11", "RFC 9112 2.1, RFC 9293 3.8", decides="server")
def test_pieces_make_one_request(server: Address, stack: Stack) -> None:
    """A request is what it is, whichever two segments it comes in."""
    data = request(server)
    with ExitStack() as exits:
        begun = {cut: exits.enter_context(Connection(server)) for cut in range(1, len(data))}
        for cut, connection in begun.items():
            connection.send(data[:cut])
        exchange(server)  # who has answered a later request has read these
        for cut, connection in begun.items():
            connection.send(data[cut:])
            response = Reader(connection).response()
            pieces = f"{tail(data[:cut])} and {tail(data[cut:])}"
            assert (response.status, response.body) == (200, greeting(stack)), (
                f"{pieces} gave {response}, wanted the greeting"
            )


@pytest.mark.case("H6", "RFC 9112 9.3", decides="server")
def test_unread_body_does_not_desync(server: Address, stack: Stack) -> None:
    """A body that the app does not read is never taken for the next request."""
    hidden = request(server, target="/poll?text=smuggled")
    length = ("Content-Length", str(len(hidden)))
    chunked = ("Transfer-Encoding", "chunked")
    chunk = f"{len(hidden):x}\r\n".encode() + hidden + b"\r\n0\r\n\r\n"
    for field, body, is_late in (
        (length, hidden, False),
        (chunked, chunk, False),
        (length, hidden, True),
    ):
        with Connection(server) as connection:
            connection.send(request(server, "POST", headers=[field]) + (b"" if is_late else body))
            reader = Reader(connection)
            answered_early = is_late and is_answered(reader, "POST", within=1)
            if not answered_early:
                connection.send(body if is_late else b"")  # a server may wait for it
                reader.response("POST")
            behind = next_on(connection, reader, server, in_front=body if answered_early else b"")

        assert behind in (None, greeting(stack)), (
            f"behind a body with {field[0]} came {behind!r}, wanted the greeting or the end"
        )


def is_answered(reader: Reader, method: str, within: float) -> bool:
    """Return whether the response comes within so many seconds, having read it."""
    try:
        reader.response(method, within)
    except Silence:
        return False
    return True


@pytest.mark.case("H7", "RFC 9110 6.6.1", decides="server")
def test_date_is_imf_fixdate(server: Address) -> None:
    """Date is there, is an IMF-fixdate, and says what time it is."""
    date = exchange(server).header("date")

    assert date is not None, "saw no Date, wanted one in IMF-fixdate"
    assert IMF_FIXDATE.fullmatch(date), f"Date is {date!r}, wanted IMF-fixdate"
    now = datetime.now(UTC)
    try:
        told = datetime.strptime(date[5:], "%d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        raise WireError(f"Date is {date!r}, wanted a day that exists") from None
    assert format_datetime(told, usegmt=True) == date, f"Date is {date!r}, not that day of the week"
    assert abs(now - told) < timedelta(minutes=10), f"Date is {date!r}, wanted {now:%c} GMT"


@pytest.mark.case("H8", "RFC 9112 3.2", decides="server")
def test_missing_host_is_400(server: Address) -> None:
    """A request for HTTP/1.1 without Host is 400."""
    assert_400(server, b"GET / HTTP/1.1\r\n\r\n", "without Host")


@pytest.mark.case("H8", "RFC 9112 3.2", decides="server")
def test_duplicate_host_is_400(server: Address) -> None:
    """A request with two Host fields is 400."""
    own = f"{server.host}:{server.port}"
    for first, second in ((own, "other.example"), ("other.example", own), (own, own)):
        hosts = f"Host: {first}\r\nHost: {second}\r\n"
        assert_400(server, f"GET / HTTP/1.1\r\n{hosts}\r\n".encode(), f"for {first} and {second}")


def assert_400(server: Address, data: bytes, what: str) -> None:
    with Connection(server) as connection:
        connection.send(data)
        status = Reader(connection).response().status

    assert status == 400, f"a request {what} gave {status}, wanted 400"


@pytest.mark.case("H9", "RFC 9112 6.1", decides="server")
def test_http10_client_gets_no_chunks(server: Address) -> None:
    """A client that speaks HTTP/1.0 gets no Transfer-Encoding."""
    for target in ("/", "/sse?delay=0"):
        with Connection(server) as connection:
            host = f"Host: {server.host}:{server.port}"
            connection.send(f"GET {target} HTTP/1.0\r\n{host}\r\n\r\n".encode())
            coding = Reader(connection).response().header("transfer-encoding")

        assert coding is None, f"GET {target} by HTTP/1.0 got Transfer-Encoding {coding!r}"


@pytest.mark.case("H10", "RFC 9110 10.1.1", decides="server")
def test_expect_continue_is_answered(server: Address) -> None:
    """A client that waits for 100 before it sends its body gets 100 or a final status."""
    headers = [("Expect", "100-continue"), ("Content-Length", "5")]
    with Connection(server) as connection:
        connection.send(request(server, "POST", headers=headers))
        line = connection.receive()

    assert re.match(rb"HTTP/1\.[01] (100|[2-5]\d\d)\b", line), (
        f"saw {tail(line)}, wanted a line with 100 or a final status"
    )
