"""Unmodified clients of the OpenAI API against the relay: what breaks them breaks a product."""

from __future__ import annotations

import pytest

from conformance.conftest import PING_INTERVAL
from conformance.upstream import DONE, Exchange, Upstream, event
from witnesses.witness import Witness

pytestmark = pytest.mark.needs("chat")

# A second for the relay, as in C19, and half a one for the client to go in its own way. A relay that
# waits for a failing ping takes two.
CLOSED_WITHIN = 1.5
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "suite",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Something."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
BUSY = {"error": {"message": "too many", "type": "rate_limit", "code": None, "param": None}}


def begin(client: Witness, upstream: Upstream, scene: str = "stream") -> Exchange:
    client.play(scene)
    model = upstream.next_request(within=15)
    model.start()
    return model


@pytest.mark.case("R1", "OpenAI API reference, Streaming")
def test_streams(client: Witness, upstream: Upstream) -> None:
    """Each token is with the client before the model says the next, and the end is an end."""
    model = begin(client, upstream)
    for token in ("a", "é😀", " \n", "d"):
        model.say(token)
        seen = client.hears()
        assert seen == {"token": token}, f"saw {seen}, wanted the token {token!r}"
    model.finish()

    seen = client.hears()
    assert seen == {"end": True}, f"saw {seen}, wanted the end of the stream"


@pytest.mark.case("R1", "WHATWG HTML 9.2.7")
def test_waits_through_silence(client: Witness, upstream: Upstream) -> None:
    """Pings before and behind the first token are nothing to the client."""
    model = begin(client, upstream)
    for token in ("a", "b"):
        assert client.is_quiet(2.2 * PING_INTERVAL), f"saw {client.hears()}, wanted nothing"
        model.say(token)
        seen = client.hears()
        assert seen == {"token": token}, f"behind pings came {seen}, wanted the token {token!r}"
    model.finish()

    seen = client.hears()
    assert seen == {"end": True}, f"saw {seen}, wanted the end of the stream"


@pytest.mark.case("R1", "OpenAI API reference, Chat Completions")
def test_answers_whole(client: Witness, upstream: Upstream) -> None:
    """An answer without a stream comes whole."""
    client.play("whole")
    upstream.next_request(within=15).respond(200, ANSWER, compressed=True)

    seen = client.hears()
    assert seen == {"answer": "Something."}, f"saw {seen}, wanted the answer"


@pytest.mark.case("R2", "OpenAI API reference, Errors")
def test_refusal_is_an_error(client: Witness, upstream: Upstream) -> None:
    """A refusal by the upstream is an error with its status and its words."""
    client.play("stream")
    upstream.next_request(within=15).respond(429, BUSY)

    seen = client.hears()
    assert seen.get("status") == 429, f"saw {seen}, wanted an error of status 429"
    assert "too many" in seen["error"], f"saw {seen}, wanted the words of the upstream"


@pytest.mark.case("R2", "OpenAI API reference, Streaming")
def test_error_frame_is_an_error(client: Witness, upstream: Upstream) -> None:
    """An error that the model tells in its stream is an error with the model's words."""
    model = begin(client, upstream)
    say_one(client, model)
    model.send(event(BUSY) + event(DONE))

    seen = client.hears()
    assert "too many" in seen.get("error", ""), (
        f"saw {seen}, wanted an error with the model's words"
    )


@pytest.mark.case("R2", "OpenAI API reference, Streaming")
def test_reset_is_an_error(client: Witness, upstream: Upstream) -> None:
    """A model that crashes in mid-stream is an error, not an end."""
    model = begin(client, upstream)
    say_one(client, model)
    model.reset()

    seen = client.hears()
    assert "error" in seen, f"saw {seen}, wanted an error"


@pytest.mark.case("R2", "OpenAI API reference, Streaming")
def test_short_end_is_an_error(client: Witness, upstream: Upstream) -> None:
    """A stream that ends in good order and too early is an error, not an end."""
    model = begin(client, upstream)
    say_one(client, model)
    model.end()

    seen = client.hears()
    assert "error" in seen, f"saw {seen}, wanted an error"


def say_one(client: Witness, model: Exchange) -> None:
    model.say("a")
    seen = client.hears()
    assert seen == {"token": "a"}, f"saw {seen}, wanted the token 'a'"


@pytest.mark.case("R3", "SPEC.md")
def test_leaves(client: Witness, upstream: Upstream) -> None:
    """A client that leaves in its own way stops the model."""
    model = begin(client, upstream, "leave")
    say_one(client, model)

    assert model.is_closed_within(CLOSED_WITHIN), (
        f"open {CLOSED_WITHIN:g} s later, wanted it closed"
    )
