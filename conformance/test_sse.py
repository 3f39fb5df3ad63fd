"""`GET /sse`: its head, its query, and many streams side by side."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from email.message import Message

import pytest

from conformance.event_stream import EventReader, Stream, listen, read, tokens
from conformance.tokens import (
    BAD_DELAYS,
    FITTING_TEXTS,
    GOOD_DELAYS,
    LONG_TEXTS,
    ODD_QUERIES,
    default_text,
    target,
    tokenize,
)
from conformance.wire import (
    TAKES_ALL,
    Address,
    Closed,
    Connection,
    Reader,
    exchange,
    request,
    status,
)
from stacks import Stack

# Spellings of Last-Event-ID that the contract leaves open.
ODD_IDS = ("+1", "01", "1e0", "0x1", "1_0", "²", "٣".encode().decode("latin-1"), "9" * 5000)


@pytest.mark.case("E1", "WHATWG HTML 9.2.3")
def test_type_is_event_stream(server: Address) -> None:
    """A stream is `text/event-stream`."""
    message = Message()
    with listen(server) as stream:
        message["content-type"] = stream.head.header("content-type") or "none"

    seen = message.get_content_type()
    assert seen == "text/event-stream", (
        f"Content-Type is {message['content-type']!r}, wanted 'text/event-stream'"
    )


@pytest.mark.case("E1", "RFC 9110 12.5.1")
def test_accept_changes_nothing(server: Address) -> None:
    """Who does not ask for an event stream by name gets the same one."""
    answers = {}
    where = target("/sse", text="a b", delay=0)
    for accept in ("text/event-stream", *TAKES_ALL):
        answer = exchange(server, target=where, headers=[("Accept", accept)])
        events = EventReader().feed(answer.body)
        answers[accept] = (answer.status, answer.header("content-type"), events)

    wanted = answers["text/event-stream"]
    for accept, seen in answers.items():
        assert seen == wanted, f"Accept: {accept} got {seen}, wanted {wanted}"


@pytest.mark.case("E1", "RFC 9111 5.2.2")
def test_cache_control_is_no_cache_or_no_store(server: Address) -> None:
    """No cache keeps a stream."""
    with listen(server) as stream:
        value = stream.head.header("cache-control") or ""

    directives = re.split(r"\s*,\s*", value.lower())
    assert {"no-cache", "no-store"} & set(directives), (
        f"Cache-Control is {value!r}, wanted no-cache or no-store"
    )


@pytest.mark.case("E1", "RFC 9110 8.6", decides="both")
def test_no_content_length(server: Address) -> None:
    """A stream does not say how long it is."""
    for text, delay in ((None, None), ("a b", 0)):
        with listen(server, text=text, delay=delay) as stream:
            length = stream.head.header("content-length")

        assert length is None, f"Content-Length of {stream.target} is {length!r}, wanted none"


@pytest.mark.case("E2", "nginx ngx_http_proxy_module proxy_buffering", level="should")
def test_x_accel_buffering_is_no(server: Address) -> None:
    """`X-Accel-Buffering: no` keeps nginx from holding events back."""
    with listen(server) as stream:
        value = stream.head.header("x-accel-buffering")

    assert value is not None and value.lower() == "no", f"X-Accel-Buffering is {value!r}, wanted no"


@pytest.mark.case("E3", "WHATWG Fetch 3.3.3")
def test_no_permissive_cors(server: Address) -> None:
    """A page of a foreign origin cannot read a stream."""
    for origin in ("https://evil.example", "null"):
        with listen(server, headers=[("Origin", origin)]) as stream:
            allowed = stream.head.header("access-control-allow-origin")

        assert allowed not in ("*", origin), (
            f"Access-Control-Allow-Origin for {origin} is {allowed!r}, wanted none"
        )


@pytest.mark.case("E4", "RFC 9110 8.4", decides="both")
def test_not_compressed_unless_flushed(server: Address) -> None:
    """To a client that takes gzip, each event still comes before the next one is due."""
    accept = [("Accept-Encoding", "gzip")]
    with listen(server, text="a b", delay=30, headers=accept) as stream:
        first = stream.next()

    assert first.data == "a ", f"the first event held {first.data!r}, wanted 'a '"


@pytest.mark.case("E5", "RFC 9110 15.5.6")
def test_post_is_405(server: Address) -> None:
    """`POST /sse` is 405."""
    for body in (b"", b"text=a&delay=0"):
        seen = exchange(server, "POST", "/sse?text=a&delay=0", body=body).status

        assert seen == 405, f"POST /sse with {len(body)} octets gave {seen}, wanted 405"


@pytest.mark.case("E5", "RFC 9110 9.3.2", decides="both")
def test_head_has_no_body_and_ends(server: Address) -> None:
    """HEAD is 200 or 405, has no body, and waits for no token."""
    with Connection(server) as connection:
        reader = Reader(connection)
        connection.send(request(server, "HEAD", target("/sse", delay=30)))
        head = reader.head("HEAD", within=1)
        list(reader.chunks())
        try:
            connection.send(request(server))
            behind = reader.response().status
        except Closed:
            behind = None

    assert head.status in (200, 405), f"HEAD /sse gave {head.status}, wanted 200 or 405"
    assert behind in (200, None), f"a GET behind it gave {behind}, wanted 200 or the end"


@pytest.mark.case("E6", "SPEC.md")
def test_default_text(server: Address, stack: Stack) -> None:
    """Without a text, the stream greets with the app's title."""
    for delay in (None, 0):
        seen = "".join(tokens(read(server, delay=delay)))

        assert seen == default_text(stack), f"saw {seen!r}, wanted {default_text(stack)!r}"


@pytest.mark.case("E6", "WHATWG URL 5.1")
def test_query_is_form_encoded(server: Address) -> None:
    """`+` and `%20` are blanks, `%2B` is a plus, and each value is decoded once."""
    queries = {
        "text=a+b%20c%2Bd&delay=0": "a b c+d",
        "delay=0&text=%26x%3D1=2": "&x=1=2",
        "text=%2541%252B&delay=0": "%41%2B",
        "text=%c3%a9%E2%82%AC%f0%9f%98%80&delay=0": "é€\N{GRINNING FACE}",
        "delay=0&other=1&text=a": "a",
    }
    for query, wanted in queries.items():
        with Stream(server, f"/sse?{query}") as stream:
            seen = "".join(tokens(stream.events()))

        assert seen == wanted, f"{query} gave {seen!r}, wanted {wanted!r}"


@pytest.mark.case("E6", "RFC 9110 15.6.1")
def test_odd_queries_never_5xx(server: Address) -> None:
    """What the contract leaves open in a query or a Last-Event-ID is never the app's failure."""
    for query in ODD_QUERIES:
        seen = status(server, f"/sse?{query}")

        assert seen < 500, f"GET /sse?{query[:40]} gave {seen}, wanted below 500"
    for value in ODD_IDS:
        seen = status(server, "/sse?delay=0", [("Last-Event-ID", value)])

        assert seen < 500, f"Last-Event-ID: {value[:40]} gave {seen}, wanted below 500"


@pytest.mark.case("E7", "CWE-770")
def test_long_text_is_refused(server: Address) -> None:
    """1,000 characters are streamed and 1,001 refused; a character is a code point."""
    for text in FITTING_TEXTS:
        seen = "".join(tokens(read(server, text=text)))

        assert seen == text, f"{len(text)} times {text[:2]!r} gave {seen[:20]!r}, wanted the text"
    for text in LONG_TEXTS:
        refused = status(server, target("/sse", text=text, delay=0))

        assert refused in (400, 422), (
            f"{len(text)} characters, {text[:2]!r} first, gave {refused}, wanted 400 or 422"
        )


@pytest.mark.case("E7", "CWE-20")
def test_bad_delay_is_refused(server: Address) -> None:
    """A delay is a number from 0 to 60; anything else starts no stream."""
    for delay in GOOD_DELAYS:
        seen = status(server, target("/sse", delay=delay))

        assert seen == 200, f"delay={delay} gave {seen}, wanted 200"
    for delay in BAD_DELAYS:
        for text in ("a b", ""):
            seen = status(server, target("/sse", text=text, delay=delay))

            assert seen in (400, 422), f"delay={delay} gave {seen}, wanted 400 or 422"


@pytest.mark.case("E17", "SPEC.md", decides="both")
def test_streams_are_independent(server: Address) -> None:
    """20 streams that are open at once, half of them resumed, each get their own text."""
    texts = [f"{number} says {number}{number} things" for number in range(20)]
    with ExitStack() as exits:
        streams = [
            exits.enter_context(listen(server, text=text, delay=0.2, last_event_id=number % 2))
            for number, text in enumerate(texts)
        ]
        for number, stream in enumerate(streams):
            seen = tokens(stream.events())
            wanted = tokenize(texts[number])[number % 2 :]

            assert seen == wanted, f"stream {number} of 20 gave {seen}, wanted {wanted}"
        seconds = time.monotonic() - streams[0].sent

    assert seconds < 5, f"20 streams of 0.6 s took {seconds:.1f} s, wanted them side by side"


@pytest.mark.case("E17", "SPEC.md", decides="both")
def test_hello_is_quick_beside_20_open_streams(server: Address) -> None:
    """20 silent streams keep nobody waiting."""
    with ExitStack() as exits:
        streams = [exits.enter_context(listen(server, text="a b", delay=30)) for _ in range(20)]
        for stream in streams:
            stream.next()
        hello = exchange(server, within=2)

    assert hello.status == 200, f"GET / beside 20 streams gave {hello.status}, wanted 200"
