"""The upstream that the suite plays: it sees what a client does to it, and says what it is told."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import httpx2 as httpx
import pytest

from conformance.upstream import DONE, FLOODED, Exchange, Upstream, block, chunk, completion, event
from conformance.wire import Closed, Silence, WireError
from stacks import HOST

WITHIN = 2.0
SILENCE = 0.05
BODY = b'{"a": "\xc3\xa9"}'
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nX-Field: b\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def client(upstream: Upstream) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, upstream.port), WITHIN) as client:
        yield client


def asked(upstream: Upstream, client: socket.socket) -> Exchange:
    client.sendall(REQUEST)
    return upstream.next_request(WITHIN)


def received(client: socket.socket) -> bytes:
    """Return what comes up to the end, which a reset is too."""
    data = b""
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionResetError:
        data += b"<reset>"
    return data


def test_a_request_arrives_byte_by_byte(upstream: Upstream, client: socket.socket) -> None:
    """A request is there when its last byte is."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for position in range(len(REQUEST)):
        assert upstream.hears_nothing(0)
        client.sendall(REQUEST[position : position + 1])
    exchange = upstream.next_request(WITHIN)

    assert (exchange.method, exchange.target) == ("POST", "/v1/chat/completions")
    assert exchange.headers["x-field"] == "b"
    assert exchange.json == {"a": "é"}


def test_a_chunked_request_is_whole_after_its_last_chunk(
    upstream: Upstream, client: socket.socket
) -> None:
    """A body may be chunked, and its sender may wait for 100."""
    client.sendall(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    )
    assert upstream.hears_nothing(SILENCE)
    assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(chunk(b"[1,") + chunk(b"2]"))
    assert upstream.hears_nothing(SILENCE)
    client.sendall(chunk(b""))

    assert upstream.next_request(WITHIN).json == [1, 2]


def test_idle_connections_are_passed_over(upstream: Upstream) -> None:
    """The request that comes first is the next one, whichever connection was there before."""
    with (
        socket.create_connection((HOST, upstream.port)) as idle,
        socket.create_connection((HOST, upstream.port)) as client,
        socket.create_connection((HOST, upstream.port)) as left,
    ):
        left.close()
        assert asked(upstream, client).json == {"a": "é"}
        assert upstream.busy == 1
        assert asked(upstream, idle).json == {"a": "é"}
        assert upstream.busy == 2


def test_what_is_no_request_is_the_apps_fault(upstream: Upstream, client: socket.socket) -> None:
    """Bytes that are not HTTP, or a body that is not JSON, are told as what the app did."""
    client.sendall(REQUEST.replace(BODY, b"*" * len(BODY)))
    with pytest.raises(WireError, match="wanted JSON"):
        _ = upstream.next_request(WITHIN).json
    with socket.create_connection((HOST, upstream.port)) as other:
        other.sendall(b"hello\r\n\r\n")
        with pytest.raises(WireError, match="wanted HTTP/1.1"):
            upstream.next_request(WITHIN)


def test_silence_is_told(upstream: Upstream) -> None:
    """Where no request comes, that is what is said."""
    with pytest.raises(Silence, match="no request came"):
        upstream.next_request(SILENCE)


def test_refusing_and_back(upstream: Upstream) -> None:
    """Connections are refused as long as the block runs, and made again on the same port."""
    with upstream.refusing(), pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, upstream.port))
    with socket.create_connection((HOST, upstream.port)) as client:
        assert asked(upstream, client).method == "POST"


def test_forget_drops_what_nobody_accepted(upstream: Upstream, client: socket.socket) -> None:
    """What an earlier case left behind is never taken for a request of the next one."""
    client.sendall(REQUEST)
    upstream.forget()

    assert upstream.hears_nothing(SILENCE)
    assert received(client) in (b"", b"<reset>")


def fin(client: socket.socket) -> None:
    client.close()


def rst(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("leave", [fin, rst])
def test_a_client_that_leaves_is_seen(
    upstream: Upstream, client: socket.socket, leave: Callable[[socket.socket], None]
) -> None:
    """FIN and RST close an exchange, before and after something was said."""
    exchange = asked(upstream, client)
    exchange.start()
    assert not exchange.is_closed_within(SILENCE)
    timer = threading.Timer(SILENCE, leave, [client])
    timer.start()
    assert exchange.is_closed_within(WITHIN)
    timer.join()

    assert upstream.busy == 0


def test_saying_something_to_who_has_left(upstream: Upstream, client: socket.socket) -> None:
    """A token for a client that has left is told as such."""
    exchange = asked(upstream, client)
    rst(client)
    with pytest.raises(Closed, match="has left"):
        for _ in range(10):
            exchange.say("a")


def test_a_stream_is_chunked(upstream: Upstream, client: socket.socket) -> None:
    """What is said comes in chunks, each as it was told, and ends as it was told."""
    exchange = asked(upstream, client)
    exchange.start()
    exchange.say("a", "b")
    exchange.send_in_pieces(b"xyz", 2)
    exchange.finish()
    head, _, body = received(client).partition(b"\r\n\r\n")

    assert b"transfer-encoding: chunked" in head.lower()
    assert b"connection: close" in head.lower()
    two = event(completion("a")) + event(completion("b"))
    end = event(completion(reason="stop")) + event(DONE)
    assert body == b"".join(map(chunk, (two, b"xy", b"z", end, b"")))


@pytest.mark.parametrize(
    ("end", "seen"),
    [
        pytest.param(Exchange.end, b"0\r\n\r\n", id="good_end"),
        pytest.param(Exchange.close, b"\n\n\r\n", id="fin"),
        pytest.param(Exchange.reset, b"<reset>", id="rst"),
        pytest.param(lambda e: e.leave_in_a_chunk(b"abcdef"), b"6\r\nabcde", id="in_a_chunk"),
    ],
)
def test_ways_to_end(
    upstream: Upstream, client: socket.socket, end: Callable[[Exchange], None], seen: bytes
) -> None:
    """A stream ends well, or by FIN or RST in the middle."""
    exchange = asked(upstream, client)
    exchange.start()
    exchange.say("a")
    assert client.recv(65536).endswith(b"\n\n\r\n")
    end(exchange)

    assert (b"\n\n\r\n" + received(client)).endswith(seen)
    assert exchange.is_closed()


def test_a_flood_stalls_and_goes_on(upstream: Upstream, client: socket.socket) -> None:
    """A flood ends where the client takes no more; what is said next follows whole."""
    exchange = asked(upstream, client)
    exchange.start()
    taken = exchange.flood(1 << 30)
    assert 0 < taken < 1 << 30
    reader = threading.Thread(target=lambda: data.append(received(client)))
    data: list[bytes] = []
    reader.start()
    exchange.say("last")
    exchange.end()
    reader.join()
    body = data[0].partition(b"\r\n\r\n")[2]

    flooded, last = chunk(event(FLOODED)), chunk(event(completion("last"))) + chunk(b"")
    assert body.endswith(last)
    assert set(body.removesuffix(last).split(flooded)) == {b""}
    assert exchange.accepted == len(data[0])


def test_a_flood_has_a_limit(upstream: Upstream, client: socket.socket) -> None:
    """A client that takes everything is flooded up to the limit."""
    exchange = asked(upstream, client)
    exchange.start()
    reader = threading.Thread(target=received, args=[client])
    reader.start()

    assert exchange.flood(1 << 24) >= 1 << 24
    exchange.close()
    reader.join()


@pytest.mark.parametrize("offered", ["gzip", "identity"])
def test_compressed_where_offered(upstream: Upstream, offered: str) -> None:
    """A compressed answer goes to who offers gzip, and a stream is flushed with each event."""
    headers = {"accept-encoding": offered}
    told: list[Exchange] = []

    def play() -> None:
        exchange = upstream.next_request(WITHIN)
        exchange.respond(200, {"a": 1}, compressed=True)
        told.append(upstream.next_request(WITHIN))
        told[0].start(compressed=True)
        told[0].say("a")

    player = threading.Thread(target=play)
    player.start()
    with httpx.Client(trust_env=False, headers=headers, timeout=WITHIN) as client:
        whole = client.get(upstream.url)
        with client.stream("GET", upstream.url) as stream:
            chunks = stream.iter_bytes()
            first = next(chunks)
            told[0].end()
            rest = b"".join(chunks)
    player.join()

    assert (whole.json(), first, rest) == ({"a": 1}, event(completion("a")), b"")
    coding = "gzip" if offered == "gzip" else None
    assert whole.headers.get("content-encoding") == coding
    assert stream.headers.get("content-encoding") == coding


def test_an_event_is_lines_and_a_blank_one() -> None:
    """Data is JSON unless it is text already; every line has the end that is asked for."""
    assert event(DONE) == b"data: [DONE]\n\n"
    assert event({"a": "é"}, ": b", end="\r\n") == 'data: {"a": "é"}\r\n\r\n'.encode().join(
        [b": b\r\n", b""]
    )
    assert block(["a", "b"]) == b"a\nb\n\n"
    assert json.loads(event(completion("a"))[len("data: ") :])["choices"][0]["delta"] == {
        "content": "a"
    }
