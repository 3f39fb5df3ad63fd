"""What the client sees when the upstream fails: never what looks like success."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from conformance.completions import (
    MODELS,
    STREAMING,
    WHOLE,
    ask,
    conversation,
    errors,
    parsed,
    post,
    requests,
    to_the_end,
    tokens,
)
from conformance.conftest import UPSTREAM_TIMEOUT
from conformance.event_stream import Event
from conformance.upstream import DONE, Exchange, Upstream, block, completion, event
from conformance.wire import (
    Address,
    Connection,
    Headers,
    Reader,
    Response,
    exchange,
)

pytestmark = pytest.mark.needs("chat")

# Clocks of two processes may differ by this much.
SLACK = 0.02

FAILURE: dict[str, Any] = {
    "message": "größe 😀\u2028 exceeds the model's context",
    "type": "invalid_request_error",
    "code": "context_length_exceeded",
    "param": "messages",
    "x_unheard_of": [None, {}],
}


# Before the stream


def answers(
    server: Address, upstream: Upstream, status: int, body: object, headers: Headers = ()
) -> Iterator[tuple[str, Response]]:
    """Yield what each way of asking comes to where the upstream answers with `status`."""
    for name, data in requests(server).items():
        with Connection(server) as connection:
            connection.send(data)
            upstream.next_request().respond(status, body, headers)
            yield name, Reader(connection).response()


@pytest.mark.case("C15", "RFC 9110 15.5 and 15.6")
def test_upstream_status_is_kept(server: Address, upstream: Upstream) -> None:
    """An upstream that refuses is believed: its status and its JSON are the answer, asked once."""
    for status in (400, 401, 403, 404, 422, 429, 500, 502, 503, 504, 529):
        for name, response in answers(server, upstream, status, {"error": FAILURE}):
            assert response.status == status, f"{name}: {status} became {response.status}"
            kind = (response.header("content-type") or "none").partition(";")[0]
            assert kind == "application/json", f"{name}: Content-Type is {kind!r}, wanted JSON"
            seen = parsed(response.body)
            assert seen == {"error": FAILURE}, f"{name}: saw {seen}, wanted {FAILURE}"

    assert upstream.hears_nothing(0.1), "the upstream was asked again, wanted its first answer kept"


@pytest.mark.case("C15", "RFC 9110 10.2.3")
def test_retry_after_is_kept(server: Address, upstream: Upstream) -> None:
    """Retry-After and x-request-id of an upstream that refuses reach the client."""
    for status, after in ((429, "7"), (503, "Wed, 21 Oct 2015 07:28:00 GMT"), (500, "0")):
        headers = [("Retry-After", after), ("X-Request-Id", "req_1")]
        for name, response in answers(server, upstream, status, {"error": FAILURE}, headers):
            for field, wanted in (("retry-after", after), ("x-request-id", "req_1")):
                seen = response.header(field)
                assert seen == wanted, f"{name}: {field} is {seen!r}, wanted {wanted!r}"


@pytest.mark.case("C16", "RFC 9110 15.6.3")
def test_upstream_refused_is_502(server: Address, upstream: Upstream) -> None:
    """Where nothing listens upstream, the answer is 502, and the next request is tried anew."""
    with upstream.refusing():
        for name, data in requests(server).items():
            with Connection(server) as connection:
                connection.send(data)
                status = Reader(connection).response().status
            assert status == 502, f"{name} without an upstream gave {status}, wanted 502"
    with ask(server, WHOLE) as stream:
        upstream.next_request().respond(200, {})
        status = Reader(stream.connection).response().status
    assert status == 200, f"when the upstream was back, the answer was {status}, wanted 200"


@pytest.mark.waits(2)
@pytest.mark.case("C16", "RFC 9110 15.6.5")
def test_late_headers_are_504(server: Address, upstream: Upstream) -> None:
    """An upstream that sends no headers for UPSTREAM_TIMEOUT is given up with 504, not before."""
    with ExitStack() as exits:
        waiting = {name: exits.enter_context(Connection(server)) for name in requests(server)}
        start = time.monotonic()
        for name, data in requests(server).items():
            waiting[name].send(data)
        for _ in waiting:
            upstream.next_request()
        for name, connection in waiting.items():
            status = Reader(connection).response().status
            waited = time.monotonic() - start

            assert status == 504, f"{name} gave {status} after {waited:.2f} s, wanted 504"
            assert UPSTREAM_TIMEOUT - SLACK < waited < 2 * UPSTREAM_TIMEOUT, (
                f"{name} was given up after {waited:.2f} s, wanted {UPSTREAM_TIMEOUT} s"
            )


@pytest.mark.case("C17", "OpenAI API reference, Errors")
def test_errors_are_json(server: Address, upstream: Upstream) -> None:
    """An error of the app's own is JSON, `{"error": {"message", "type", "code", "param"}}`."""
    refused = {"no JSON": post(server, b"{"), "no messages": post(server, {"stream": True})}
    with upstream.refusing():
        refused["no upstream"] = post(server, STREAMING)
        refused["no upstream for models"] = exchange(server, target=MODELS)
    for name, response in refused.items():
        kind = (response.header("content-type") or "none").partition(";")[0]
        assert kind == "application/json", f"{name}: Content-Type is {kind!r}, wanted JSON"
        assert_error(name, parsed(response.body))
    with conversation(server, upstream) as (stream, model):
        model.say("a")
        model.reset()
        for error in errors(to_the_end(stream)):
            assert_error("a reset", {"error": error})


def assert_error(name: str, seen: object) -> None:
    error = seen.get("error") if isinstance(seen, dict) else None
    keys = set(error) if isinstance(error, dict) else set()
    wanted = {"message", "type", "code", "param"}
    assert keys >= wanted, f"{name} gave {seen}, wanted an error with {sorted(wanted)}"
    assert isinstance(error, dict)
    assert isinstance(error["message"], str), f"{name} gave {seen}, wanted a text as message"


# In mid-stream


def tell_error(model: Exchange) -> None:
    model.send(event({"error": FAILURE}))
    model.end()


def tell_error_and_wait(model: Exchange) -> None:
    model.send(event({"error": FAILURE}))


def tell_named_error(model: Exchange) -> None:
    model.send(event({"error": FAILURE, "choices": []}, "event: error"))
    model.end()


def tell_error_and_done(model: Exchange) -> None:
    model.send(event({"error": FAILURE}) + event(DONE))
    model.end()


def tell_reason_and_error(model: Exchange) -> None:
    model.send(event(completion(reason="stop")) + event({"error": FAILURE}) + event(DONE))
    model.end()


def reset(model: Exchange) -> None:
    model.reset()


def leave(model: Exchange) -> None:
    model.close()


def leave_in_an_event(model: Exchange) -> None:
    model.send(event(completion("b"))[:-3])
    model.close()


def leave_in_a_chunk(model: Exchange) -> None:
    model.leave_in_a_chunk(event(completion("b")))


def end(model: Exchange) -> None:
    model.end()


def end_in_an_event(model: Exchange) -> None:
    model.send(event(completion("b"))[:-3])
    model.end()


def end_with_words(model: Exchange) -> None:
    """End with all that a search for words would take for a good end."""
    model.send(event(completion('[DONE]\n\ndata: [DONE]\n\n"finish_reason": "stop"')))
    model.send(event({"choices": [], "usage": {"total_tokens": 7}}))
    model.send(block([": [DONE]", "x: [DONE]"]))
    model.end()


TOLD = (
    tell_error,
    tell_error_and_wait,
    tell_named_error,
    tell_error_and_done,
    tell_reason_and_error,
)
RESETS = (reset, leave, leave_in_an_event, leave_in_a_chunk)
SHORT = (end, end_in_an_event, end_with_words)


def failing(
    server: Address, upstream: Upstream, failures: tuple[Callable[[Exchange], None], ...]
) -> Iterator[tuple[str, list[Event]]]:
    """Yield the events of streams that fail in these ways, behind a token."""
    for fail in failures:
        with conversation(server, upstream) as (stream, model):
            model.say("a")
            first = stream.next()
            fail(model)
            yield fail.__name__, [first, *to_the_end(stream)]


@pytest.mark.case("C18", "OpenAI API reference, Errors")
def test_error_frame_is_passed_on(server: Address, upstream: Upstream) -> None:
    """An error that the upstream tells in the stream is told to the client, as it is, and once."""
    for name, events in failing(server, upstream, TOLD):
        seen = errors(events)

        assert seen == [FAILURE], f"{name} gave the errors {seen}, wanted {FAILURE}"
        assert tokens(events)[:1] == ["a"], f"{name} gave {events}, wanted the token before it"


@pytest.mark.case("C18", "SPEC.md")
def test_reset_is_an_error(server: Address, upstream: Upstream) -> None:
    """Where the upstream breaks off, the client is told of an error behind what came before."""
    assert_told(failing(server, upstream, RESETS))


@pytest.mark.case("C18", "SPEC.md")
def test_short_end_is_an_error(server: Address, upstream: Upstream) -> None:
    """An end in good order, but with neither a reason nor `[DONE]`, is an error all the same."""
    assert_told(failing(server, upstream, SHORT))


def assert_told(streams: Iterator[tuple[str, list[Event]]]) -> None:
    for name, events in streams:
        seen = errors(events)

        assert len(seen) == 1 and seen[0], f"{name} gave {events}, wanted one error"
        assert tokens(events)[:1] == ["a"], f"{name} gave {events}, wanted the token before it"
        assert "b" not in tokens(events), f"{name} gave {events}, wanted no event that was cut"


@pytest.mark.case("C18", "OpenAI API reference, Streaming")
def test_error_ends_without_done(server: Address, upstream: Upstream) -> None:
    """A stream that failed closes, and says no `[DONE]`: it must not look like success."""
    for name, events in failing(server, upstream, TOLD + RESETS + SHORT):
        seen = [event.data for event in events]

        assert DONE not in seen, f"{name} gave {seen}, wanted no [DONE]"
