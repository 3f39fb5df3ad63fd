"""A completion that streams: each event of the upstream, in a form that every client reads."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.completions import (
    MESSAGES,
    STREAMING,
    ask,
    conversation,
    said,
    to_the_end,
    tokens,
)
from conformance.conftest import UPSTREAM_TIMEOUT
from conformance.event_stream import Event, Stream
from conformance.upstream import DONE, EVENT_STREAM, Exchange, Upstream, block, completion, event
from conformance.wire import PATIENCE, Address, WireError

pytestmark = pytest.mark.needs("chat")

LONG_LINE = 512 * 1024

USAGE = {"id": "chatcmpl-1", "choices": [], "usage": {"total_tokens": 7}}
CALL = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a": "'}}

# What models send: chunks of every kind, known or not.
CHUNKS: tuple[dict[str, Any], ...] = (
    completion("") | {"system_fingerprint": None},
    completion("Hello") | {"created": 0, "x_unheard_of": [None, {"": []}]},
    completion("data: a\n\ndata: b\r\n: ping\n\nevent: x\nid: 1\nretry: 1"),
    completion('[DONE] {"error": {"message": "none"}} "finish_reason": "stop"'),
    {"choices": [{"index": 1, "delta": {"tool_calls": [CALL]}, "finish_reason": None}]},
    {"choices": [{"delta": {"content": "é😀\u2028\u2029\x85\x0b\x0c\x1c\x00"}, "logprobs": None}]},
    {"object": "unheard.of", "float": -9.87654321012e-05, "large": 2**53 - 1, "true": True},
    {},
    completion(reason="length"),
    USAGE,
)


def assert_relayed(stream: Stream, wanted: Sequence[object]) -> None:
    """Raise unless the next events hold just these chunks, in order."""
    for chunk in wanted:
        seen = said(stream.next())

        assert seen == chunk, f"{shown(chunk)} became {shown(seen)}, wanted it as it is"


def shown(value: object) -> str:
    """Return a value as a failure shows it: whole when short, or both its ends."""
    text = repr(value)
    return text if len(text) < 500 else f"{text[:250]}…{text[-250:]}"


@pytest.mark.case("C7", "WHATWG HTML 9.2.6, OpenAI API reference, Streaming")
def test_each_event_is_data_and_a_blank_line(server: Address, upstream: Upstream) -> None:
    """Each event of the upstream comes as `data:` with equal JSON, in order, however it is told."""
    with conversation(server, upstream) as (stream, model):
        for chunk in CHUNKS:
            text = json.dumps(chunk)
            model.send(event(chunk))
            model.send(block([f"data:{text}"]))
            model.send(block([": comment", f"data: {text}", "unheard of", "x: y"], "\r\n"))
            assert_relayed(stream, [chunk] * 3)
        model.finish()
        last = stream.events_to_the_end()

        assert stream.reader.stray == [], f"saw {stream.reader.stray}, wanted no lines of their own"
        seen = [event.data for event in last]
        assert len(seen) == 2 and seen[1] == DONE, f"the end was {seen}, wanted a reason and [DONE]"
        rest = stream.reader.unfinished
        assert rest == [], f"behind it came {rest}, wanted nothing"


@pytest.mark.case("C7", "WHATWG HTML 9.2.6")
def test_data_lines_are_joined(server: Address, upstream: Upstream) -> None:
    """JSON that the upstream tells in several lines of data is one event."""
    with conversation(server, upstream) as (stream, model):
        for end in ("\n", "\r\n"):
            for chunk in CHUNKS[:5]:
                text = json.dumps(chunk, indent=1, ensure_ascii=False)
                lines = [f"data: {line}" for line in text.split("\n")]
                model.send(block([lines[0], ": comment", *lines[1:]], end))
                assert_relayed(stream, [chunk])


@pytest.mark.case("C8", "SPEC.md", decides="both")
def test_each_event_leaves_as_soon_as_it_comes(server: Address, upstream: Upstream) -> None:
    """An event is with the client before the upstream says the next one, be it small or large."""
    gzip = [("Accept-Encoding", "gzip")]
    for headers in ([], gzip):
        with ask(server, headers=headers) as stream:
            model = upstream.next_request()
            model.start()
            for token in ("a", "b" * 10, "c" * 5_000, "d" * 100_000, "e"):
                model.say(token)
                assert_relayed(stream, [completion(token)])
            model.say("two", "at", "once")
            assert_relayed(stream, [completion(token) for token in ("two", "at", "once")])
            model.send(event(completion(reason="stop")))
            assert_relayed(stream, [completion(reason="stop")])
            model.send(event(USAGE))
            assert_relayed(stream, [USAGE])


@pytest.mark.case("C9", "RFC 3629 3, WHATWG HTML 9.2.6")
def test_split_characters_survive(server: Address, upstream: Upstream) -> None:
    """Characters, line ends and events survive being cut at any byte, and a line of 512 KiB."""

    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
    def relays(text: str) -> None:
        chunk = {"content": f"é€😀\u2028\x85{text}"}
        with conversation(server, upstream) as (stream, model):
            for end in ("\n", "\r\n"):
                model.send_in_pieces(event(chunk, end=end))
                assert_relayed(stream, [chunk])

    relays()
    with conversation(server, upstream) as (stream, model):
        for size, end in ((65_521, "\n"), (2 * LONG_LINE, "\r\n")):
            chunk = {"content": "é😀 " * 70_000}
            chunk["content"] += "x" * (LONG_LINE - len(event(chunk).rstrip()))
            model.send_in_pieces(event(chunk, end=end), size)
            assert_relayed(stream, [chunk])


# What breaks clients, and what models say nonetheless.
NOISE = (
    ["id: 1", f"data: {json.dumps(completion('a'))}"],
    ["event: completion", f"data: {json.dumps(completion('b'))}", "id: 2"],
    ["retry: 10"],
    ["id: 3"],
    ["event: ping"],
    ["data:"],
    ["data: "],
    ["event: ping", "data"],
    ["retry: 10", f"data: {json.dumps(completion('c'))}"],
    [": comment", "id", "event:"],
    ["unheard of: line"],
    ["event: message", f"data: {json.dumps(completion('d'))}"],
)


def through_noise(server: Address, upstream: Upstream) -> Iterator[tuple[Stream, list[Event]]]:
    """Yield two streams that were told all that, and their events; the second one fails."""
    for end in (Exchange.finish, Exchange.reset):
        with conversation(server, upstream) as (stream, model):
            for lines in NOISE:
                model.send(block(lines))
            events: list[Event] = []
            while tokens(told(events))[-1:] != ["d"]:
                events.append(stream.next())
            end(model)
            events += to_the_end(stream)

        seen = tokens(told(events))
        assert seen == ["a", "b", "c", "d"], f"the tokens are {seen}, wanted a, b, c and d"
        yield stream, events


def told(events: list[Event]) -> list[Event]:
    """Return the events that have data."""
    return [event for event in events if event.data.strip()]


@pytest.mark.case("C10", "OpenAI API reference, Streaming")
def test_no_ids(server: Address, upstream: Upstream) -> None:
    """No event has an id, not even where the upstream's has one."""
    for stream, _ in through_noise(server, upstream):
        assert_no_field("id", stream)


@pytest.mark.case("C10", "OpenAI API reference, Streaming")
def test_no_named_events(server: Address, upstream: Upstream) -> None:
    """No event has a name, not even an error, and not where the upstream's has one."""
    for stream, _ in through_noise(server, upstream):
        assert_no_field("event", stream)


def assert_no_field(name: str, stream: Stream) -> None:
    seen = [field for field in stream.reader.fields if field[0] == name]
    assert seen == [], f"the stream holds {seen}, wanted no line with {name!r}"


@pytest.mark.case("C10", "OpenAI API reference, Streaming")
def test_no_lone_retry(server: Address, upstream: Upstream) -> None:
    """No retry stands alone, not even where the upstream's does."""
    for stream, _ in through_noise(server, upstream):
        lone = [field for field in stream.reader.stray if field[0] == "retry"]

        assert lone == [], f"saw {lone} in an event without data, wanted no lone retry"


@pytest.mark.case("C10", "OpenAI API reference, Streaming")
def test_no_empty_data(server: Address, upstream: Upstream) -> None:
    """No event has empty data, not even where the upstream's has."""
    for _, events in through_noise(server, upstream):
        empty = [event for event in events if event not in told(events)]

        assert empty == [], f"the stream holds {empty}, wanted data in every event"


@pytest.mark.case("C10", "WHATWG HTML 9.2.6")
def test_upstream_comments_are_dropped(server: Address, upstream: Upstream) -> None:
    """A comment of the upstream stays there, wherever it stands."""
    lines = [": hush 2", f"data: {json.dumps(completion('a'))}", ":hush 3"]
    with conversation(server, upstream) as (stream, model):
        model.send(b": hush 1\n\n" + block(lines) + b": hush 4\r\n")
        model.finish()
        stream.events_to_the_end()
        seen = [comment for comment in stream.reader.comments if "hush" in comment]

    assert seen == [], f"the client got the upstream's comments {seen}, wanted none"


@pytest.mark.case("C11", "OpenAI API reference, Streaming")
def test_ends_with_one_done(server: Address, upstream: Upstream) -> None:
    """A stream that the upstream finished, by a reason or by its mark, ends with one `[DONE]`."""
    last = {"choices": [{"index": 0}, {"index": 1, "delta": {}, "finish_reason": "tool_calls"}]}
    endings = {
        "a reason and the mark": event(completion(reason="stop")) + event(DONE),
        "a reason": event(completion(reason="length")),
        "a reason of the second choice": event(last),
        "a reason and the usage": event(completion(reason="content_filter")) + event(USAGE),
        "the mark": event(DONE),
        "the mark without a blank": b"data:[DONE]\r\n\r\n",
        "reason, usage, mark": event(completion(reason="stop")) + event(USAGE) + event(DONE),
    }
    for name, ending in endings.items():
        with conversation(server, upstream) as (stream, model):
            model.say("a")
            model.send(ending)
            model.end()
            seen = [event.data for event in stream.events_to_the_end()]

        assert seen.count(DONE) == 1 and seen[-1] == DONE, (
            f"{name} became {seen}, wanted one [DONE], at the end"
        )
        assert len(seen) == ending.count(b"data:") + 1 + (DONE.encode() not in ending), (
            f"{name} became {seen}, wanted every event and [DONE]"
        )


@pytest.mark.case("C12", "WHATWG HTML 9.2.3, RFC 9111 5.2.2, RFC 9110 8.6", decides="both")
def test_headers_are_those_of_sse(server: Address, upstream: Upstream) -> None:
    """The head says 200, `text/event-stream`, not to be cached, no length and no permissive CORS."""
    for kind in (EVENT_STREAM, f"{EVENT_STREAM}; charset=utf-8"):
        with ask(server, headers=[("Origin", "https://evil.example")]) as stream:
            model = upstream.next_request()
            model.start(kind)
            model.say("a")
            head = stream.head
            model.finish()

        seen = (head.header("content-type") or "none").partition(";")[0].strip().lower()
        assert seen == EVENT_STREAM, f"Content-Type is {seen!r}, wanted {EVENT_STREAM!r}"
        cached = re.split(r"\s*,\s*", (head.header("cache-control") or "none").lower())
        assert {"no-cache", "no-store"} & set(cached), (
            f"Cache-Control is {cached}, wanted no-cache or no-store"
        )
        length = head.header("content-length")
        assert length is None, f"Content-Length is {length!r}, wanted none"
        allowed = head.header("access-control-allow-origin")
        assert allowed not in ("*", "https://evil.example"), (
            f"Access-Control-Allow-Origin is {allowed!r}, wanted none"
        )


@pytest.mark.case("C12", "nginx ngx_http_proxy_module proxy_buffering", level="should")
def test_x_accel_buffering_is_no(server: Address, upstream: Upstream) -> None:
    """`X-Accel-Buffering: no` keeps nginx from holding tokens back."""
    with conversation(server, upstream) as (stream, model):
        model.say("a")
        value = stream.head.header("x-accel-buffering")

    assert value is not None and value.lower() == "no", f"X-Accel-Buffering is {value!r}, wanted no"


@pytest.mark.waits(3)
@pytest.mark.case("C13", "WHATWG HTML 9.2.7")
def test_pings_come_before_the_first_token(server: Address, upstream: Upstream) -> None:
    """A model that thinks is waited for, past UPSTREAM_TIMEOUT, and pings break its silence."""
    with conversation(server, upstream) as (stream, model):
        for _ in range(UPSTREAM_TIMEOUT + 1):
            stream.comment()
        model.say("a")
        assert_relayed(stream, [completion("a")])
        model.finish()
        end = stream.events_to_the_end()[-1].data

    assert end == DONE, f"a stream that began late ended with {end!r}, wanted [DONE]"


@pytest.mark.waits(2)
@pytest.mark.case("C13", "WHATWG HTML 9.2.7")
def test_pings_come_between_tokens(server: Address, upstream: Upstream) -> None:
    """Silence between two tokens is broken by a ping, also where the upstream sends comments."""
    with conversation(server, upstream) as (stream, model):
        model.say("a")
        assert_relayed(stream, [completion("a")])
        stream.comment()
        seen = len(stream.reader.comments)
        deadline = time.monotonic() + PATIENCE
        while len(stream.reader.comments) == seen and time.monotonic() < deadline:
            model.send(b": thinking\n\n")
            stream.read_until(time.monotonic() + 0.25)
        more = len(stream.reader.comments) - seen
        model.say("b")
        assert_relayed(stream, [completion("b")])

    assert more > 0, f"{PATIENCE:g} s of comments upstream gave the client none, wanted pings"


@pytest.mark.waits(2)
@pytest.mark.case("C13", "WHATWG HTML 9.2.6")
def test_pings_are_comments(server: Address, upstream: Upstream) -> None:
    """A ping is a comment: it is no event, and it leaves one whole that has half arrived."""
    data = event(completion("é😀"))
    with conversation(server, upstream) as (stream, model):
        for half in (data[:-1], data[: data.index("😀".encode()) + 2]):
            model.send(half)
            stream.comment()
            model.send(data[len(half) :])
            assert_relayed(stream, [completion("é😀")])
        model.finish()
        events = stream.events_to_the_end()

    assert len(events) == 2, f"the end was {events}, wanted a reason and [DONE]"
    assert stream.reader.stray == [], f"saw {stream.reader.stray}, wanted pings to be comments"


@pytest.mark.case("C14", "SPEC.md")
def test_streams_are_independent(server: Address, upstream: Upstream) -> None:
    """Of 20 streams at once each gets its own tokens, and none waits for or ends with another."""
    count = 20
    with ExitStack() as exits:
        streams = []
        for number in range(count):
            messages = [*MESSAGES, {"role": "user", "content": str(number)}]
            streams.append(exits.enter_context(ask(server, STREAMING | {"messages": messages})))
        models = {}
        for _ in range(count):
            model = upstream.next_request()
            models[last_message(model)] = model
        assert len(models) == count, f"{sorted(models)} were asked for upstream, wanted all 20"
        for number in reversed(range(count)):
            models[str(number)].start()
        for turn in ("a", "b"):
            for number in reversed(range(count)):
                models[str(number)].say(f"{turn}{number}")
                assert_relayed(streams[number], [completion(f"{turn}{number}")])
        for number, stream in enumerate(streams):
            models[str(number)].finish()
            seen = stream.events_to_the_end()[-1].data
            assert seen == DONE, f"stream {number} ended with {seen!r}, wanted [DONE]"


def last_message(model: Exchange) -> str:
    try:
        return str(model.json["messages"][-1]["content"])
    except (LookupError, TypeError):
        raise WireError(f"upstream got {model.json}, wanted messages") from None
