"""Unmodified clients of pages, streams and sockets: what people have in a terminal and a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from conformance.conftest import PING_INTERVAL
from conformance.tokens import target, tokenize
from conformance.wire import Address
from stacks import Stack
from witnesses.line import Line
from witnesses.witness import Witness

# Words of any script, lines, an empty one too, and blanks at both ends.
TEXT = "  One naïve 😀 \N{LINE SEPARATOR} two\n\nlines:  data: x\tend "
# None over 64 KiB, where websocat cuts a message in two.
MESSAGES = ["a", "naïve 😀", "  blanks  ", "x" * 300, "a"]


def visited_by(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("visitor", names, indirect=True)


def address(server: Address, path: str, scheme: str = "http", **query: object) -> str:
    return f"{scheme}://{server.host}:{server.port}{target(path, **query) if query else path}"


type Told = Mapping[str, object]


def hears(visitor: Witness, *wanted: Told) -> None:
    for thing in wanted:
        seen = visitor.hears()
        assert seen == thing, f"saw {seen}, wanted {thing}"


def tokens(*words: str) -> list[Told]:
    return [{"event": "token", "data": word} for word in words]


def done(count: int) -> Told:
    return {"event": "done", "data": str(count)}


@visited_by("curl", "eventsource", "chromium")
@pytest.mark.case("R5", "WHATWG HTML 9.2.6")
def test_reads_the_text(visitor: Witness, server: Address) -> None:
    """The tokens of a text arrive as they are and in order, and `done` behind them."""
    words = tokenize(TEXT)
    visitor.play("listen", address(server, "/sse", text=TEXT, delay=0))

    hears(visitor, *tokens(*words), done(len(words)))


@visited_by("curl", "eventsource", "chromium")
@pytest.mark.case("R5", "SPEC.md")
def test_reads_a_token_before_the_next(visitor: Witness, server: Address) -> None:
    """A token is with the client while the next one is 30 s away."""
    visitor.play("listen", address(server, "/sse", text="a b", delay=30))

    hears(visitor, *tokens("a "))


@visited_by("curl", "eventsource", "chromium")
@pytest.mark.case("R5", "WHATWG HTML 9.2.7")
def test_hears_nothing_of_pings(visitor: Witness, server: Address) -> None:
    """Pings between two tokens are nothing to the client."""
    visitor.play("listen", address(server, "/sse", text="a b", delay=2.2 * PING_INTERVAL))

    hears(visitor, *tokens("a ", "b"), done(2))


@visited_by("eventsource", "chromium")
@pytest.mark.waits(5)
@pytest.mark.case("R6", "WHATWG HTML 9.2.3 and 9.2.4")
def test_resumes_where_it_was_cut(visitor: Witness, line: Line) -> None:
    """After its connection broke, a client goes on behind the last token that it has."""
    visitor.play("listen", address(line, "/sse", text="a b c", delay=1))
    hears(visitor, *tokens("a "))
    line.cut()

    hears(visitor, *tokens("b ", "c"), done(3))


@visited_by("eventsource", "chromium")
@pytest.mark.waits(4)
@pytest.mark.case("R6", "WHATWG HTML 9.2.3")
def test_stops_at_the_end(visitor: Witness, server: Address) -> None:
    """A client that asks on when it has everything is told to stop, and does."""
    visitor.play("listen", address(server, "/sse", text="a b", delay=0))

    hears(visitor, *tokens("a ", "b"), done(2), {"over": True})


@visited_by("websocat", "wscat", "chromium")
@pytest.mark.needs("websocket")
@pytest.mark.case("R7", "RFC 6455 5.4 and 5.6")
def test_gets_its_echoes_in_order(visitor: Witness, server: Address) -> None:
    """Each message comes back once, behind the prefix, in its turn; then the client can go."""
    url = address(server, "/ws", "ws")
    visitor.play("talk", {"url": url, "messages": MESSAGES})

    hears(visitor, *({"message": f"echo: {message}"} for message in MESSAGES), {"over": True})


@visited_by("chromium")
@pytest.mark.needs("websocket")
@pytest.mark.case("R8", "RFC 6455 10.2, WHATWG Fetch 3.3")
def test_page_of_another_origin_reads_nothing(visitor: Witness, server: Address) -> None:
    """A page that came from elsewhere opens no socket and reads no stream with its visitor."""
    elsewhere = f"http://localhost:{server.port}/"
    socket, stream = address(server, "/ws", "ws"), address(server, "/sse", text="a", delay=0)
    visitor.play("intrude", {"page": elsewhere, "socket": socket, "stream": stream})
    seen = [visitor.hears() for _ in range(3)]

    assert seen == [{"error": "closed with 1006"}, {"over": True}, {"error": "Failed to fetch"}], (
        f"a page of {elsewhere} saw {seen}, wanted it to be refused the socket and both reads"
    )


@visited_by("curl", "chromium")
@pytest.mark.case("R9", "RFC 9110 15.3.1")
def test_gets_the_greeting(visitor: Witness, server: Address, stack: Stack) -> None:
    """The greeting arrives as a page."""
    visitor.play("get", address(server, "/"))

    hears(visitor, {"status": 200, "body": f"Hello from {stack.title} ({stack.interface})!"})


@visited_by("curl", "chromium")
@pytest.mark.case("R9", "RFC 9110 15.3.5")
def test_polls_to_the_end(visitor: Witness, server: Address) -> None:
    """One poll after the other gives the text, and the one behind the last token nothing."""
    words = tokenize(TEXT)
    for number, word in enumerate(words, 1):
        visitor.play("get", address(server, "/poll", text=TEXT, after=number - 1, delay=0))
        seen = visitor.hears()
        wanted = {"id": number, "token": word, "done": number == len(words)}
        assert json.loads(seen["body"]) == wanted, f"saw {seen}, wanted {wanted}"
    visitor.play("get", address(server, "/poll", text=TEXT, after=len(words), delay=0))

    hears(visitor, {"status": 204, "body": ""})
