"""What goes upstream from `/v1/chat/completions` and `/v1/models`, and what comes back whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from conformance.completions import (
    JSON,
    MESSAGES,
    MODELS,
    PATH,
    STREAMING,
    WHOLE,
    ask,
    encoded,
    parsed,
    post,
    said,
)
from conformance.conftest import Start
from conformance.upstream import DONE, Exchange, Upstream, completion
from conformance.wire import (
    TAKES_ALL,
    Address,
    Closed,
    Connection,
    Headers,
    Reader,
    request,
)

pytestmark = pytest.mark.needs("chat")

LIMIT = 1024 * 1024

# Numbers that any JSON parser reads alike; beyond 2**53 RFC 8259 promises nothing.
RICH: dict[str, Any] = {
    "model": "suite/größe-😀",
    "messages": [
        {"role": "system", "content": "", "name": None},
        {"role": "user", "content": [{"type": "text", "text": "\u2028\u0000\"\\ é\r\n"}]},
        {"role": "tool", "tool_call_id": "a", "content": "{\"stream\": true}", "x": [[], {}]},
    ],
    "temperature": 0.7,
    "top_p": 1,
    "seed": 2**53 - 1,
    "logit_bias": {"50256": -100},
    "stop": None,
    "stream_options": {"include_usage": True, "unheard_of": False},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"$ref": "#"}}}],
    "provider": {"order": ["a", "b"], "deep": [[[[{"er": 1e-7}]]]]},
    "": "an empty name",
}  # fmt: skip


def relayed(server: Address, upstream: Upstream, body: object, headers: Headers = ()) -> Exchange:
    """Return what a request becomes upstream, where it is answered in the form it asks for."""
    data = encoded(body)
    with ask(server, data, headers) as stream:
        model = upstream.next_request()
        if parsed(data).get("stream"):
            model.start()
            model.finish()
        else:
            model.respond(200, {})
        Reader(stream.connection).response("POST")
    return model


@pytest.mark.case("C1", "SPEC.md")
def test_request_json_arrives_whole(server: Address, upstream: Upstream) -> None:
    """What goes upstream is what came, as JSON: no field is lost, added or changed."""
    bodies: tuple[dict[str, Any], ...] = (
        RICH,
        RICH | {"stream": True},
        RICH | {"stream": False},
        STREAMING,
        {"messages": []},
        {"messages": MESSAGES, "stream": None, "model": None},
    )
    for body in bodies:
        for data in (encoded(body), json.dumps(body, ensure_ascii=False, indent=2).encode()):
            model = relayed(server, upstream, data)

            where = (model.method, model.target)
            assert where == ("POST", PATH), f"{where} was asked upstream, wanted POST {PATH}"
            kind = model.headers.get("content-type", "none").partition(";")[0].strip()
            assert kind == "application/json", f"Content-Type upstream is {kind!r}, wanted JSON"
            assert model.json == body, f"upstream got {model.json}, wanted {body}"


@pytest.mark.case("C2", "RFC 9110 15.5.1, RFC 8259 2")
def test_bad_json_is_400(server: Address, upstream: Upstream) -> None:
    """A body that is not a JSON object is 400, and upstream hears nothing of it."""
    cut = encoded(STREAMING)[:-1]
    quoted = b"{'messages': []}"
    for body in (b"", b" ", b"{", cut, quoted, b"messages=[]", b'{"messages": []} {}'):
        assert_refused(server, body)
    for value in ([], [STREAMING], "messages", 1, None, True):
        assert_refused(server, encoded(value))

    assert upstream.hears_nothing(0.1), "a body that is no JSON object went upstream, wanted none"


@pytest.mark.case("C2", "RFC 9110 15.5.1")
def test_no_messages_is_400(server: Address, upstream: Upstream) -> None:
    """A request without a list of messages is 400, and upstream hears nothing of it."""
    assert_refused(server, {"model": "suite"})
    assert_refused(server, {"model": "suite", "stream": True, "Messages": MESSAGES})
    for messages in ("Say something.", "", {"role": "user", "content": "a"}, {}, None, 0, True):
        assert_refused(server, {"model": "suite", "stream": True, "messages": messages})

    assert upstream.hears_nothing(0.1), "a request without messages went upstream, wanted none"


def assert_refused(server: Address, body: object) -> None:
    status = post(server, body).status
    assert status == 400, f"{encoded(body)!r} gave {status}, wanted 400"


@pytest.mark.case("C3", "RFC 9110 15.5.14, CWE-400", decides="both")
def test_body_over_1_mib_is_413(server: Address, upstream: Upstream) -> None:
    """A body of 1 MiB goes upstream; one byte more is 413, or the connection is closed."""
    fitting = padded(LIMIT)
    model = relayed(server, upstream, fitting)
    assert model.body == fitting or model.json == parsed(fitting), (
        f"{len(model.body)} bytes of a body of {LIMIT} went upstream, wanted all of them"
    )

    for size in (LIMIT + 1, 2 * LIMIT):
        for chunked in (False, True):
            status = status_of_body(server, padded(size), chunked=chunked)
            how = "in chunks" if chunked else "at once"
            assert status in (413, None), (
                f"a body of {size} bytes, {how}, gave {status}, wanted 413 or a closed connection"
            )

    assert upstream.hears_nothing(0.1), f"over {LIMIT} bytes went upstream, wanted nothing"


def padded(size: int) -> bytes:
    """Return a request of `size` bytes, in far fewer characters."""
    body: dict[str, object] = WHOLE | {"user": ""}
    start = json.dumps(body)[:-2].encode()
    room = size - len(start) - 2
    return start + "😀".encode() * (room // 4) + b"." * (room % 4) + b'"}'


def status_of_body(server: Address, body: bytes, *, chunked: bool) -> int | None:
    """Return the status of a request, None where the connection is closed instead."""
    with Connection(server) as connection:
        try:
            for data in pieces(server, body, chunked=chunked):
                connection.send(data)
            return Reader(connection).response("POST").status
        except Closed:
            # Who answers before the body is there may reset the connection, answer and all.
            return None


def pieces(server: Address, body: bytes, *, chunked: bool) -> Iterator[bytes]:
    if not chunked:
        yield request(server, "POST", PATH, [JSON], body)
        return
    yield request(server, "POST", PATH, [JSON, ("Transfer-Encoding", "chunked")])
    for start in range(0, len(body), 1 << 18):
        piece = body[start : start + (1 << 18)]
        yield f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    yield b"0\r\n\r\n"


@pytest.mark.case("C4", "RFC 9110 11.6.2")
def test_authorization_goes_upstream(server: Address, upstream: Upstream) -> None:
    """The client's Authorization is the one that the upstream sees; without, it sees none."""
    for path in (PATH, MODELS):
        for value in ("Bearer sk-client", None, "Basic dXNlcjpwYXNz", "Bearer sk-other"):
            seen = authorization(server, upstream, path, value)

            assert seen == value, f"{path}: {value!r} became {seen!r} upstream, wanted it as it is"


@pytest.mark.case("C4", "SPEC.md")
def test_upstream_api_key_wins(start: Start, upstream: Upstream) -> None:
    """Where UPSTREAM_API_KEY is set, it is what the upstream sees, whatever the client sent."""
    with start(environ={"UPSTREAM_API_KEY": "sk-own"}) as server:
        for path in (PATH, MODELS):
            for value in ("Bearer sk-client", None):
                seen = authorization(server, upstream, path, value)

                assert seen == "Bearer sk-own", (
                    f"{path}: Authorization upstream is {seen!r}, wanted 'Bearer sk-own'"
                )


def authorization(server: Address, upstream: Upstream, path: str, value: str | None) -> str | None:
    """Return the Authorization that the upstream gets where the client sends `value`."""
    headers = [] if value is None else [("Authorization", value)]
    if path == PATH:
        return relayed(server, upstream, WHOLE, headers).headers.get("authorization")
    with Connection(server) as connection:
        connection.send(request(server, "GET", path, headers))
        model = upstream.next_request()
        model.respond(200, {})
        Reader(connection).response()
    return model.headers.get("authorization")


@pytest.mark.case("C5", "OpenAI API reference, List models")
def test_models_are_the_upstreams(server: Address, upstream: Upstream) -> None:
    """`GET /v1/models` gives the upstream's list, asked for anew each time."""
    for names in (["a", "größe-😀"], []):
        listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}
        with Connection(server) as connection:
            connection.send(request(server, "GET", MODELS))
            model = upstream.next_request()
            model.respond(200, listed)
            response = Reader(connection).response()

        where = (model.method, model.target, model.body)
        assert where == ("GET", MODELS, b""), f"{where} was asked upstream, wanted GET {MODELS}"
        assert response.status == 200, f"GET {MODELS} gave {response.status}, wanted 200"
        assert parsed(response.body) == listed, f"saw {response.body!r}, wanted {listed}"


@pytest.mark.case("C5", "OpenAI API reference, Create chat completion")
def test_not_streaming_returns_the_upstreams_json(server: Address, upstream: Upstream) -> None:
    """Without `stream` the answer is the upstream's status and JSON, in one piece."""
    message = {"role": "assistant", "content": "é😀\u2028\n\n data: [DONE]", "refusal": None}
    answer = {
        "id": "chatcmpl-1",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"total_tokens": 7, "cost": 1e-7},
        "x_unheard_of": [None, {"": []}],
    }
    for body in (WHOLE, {"messages": MESSAGES}, WHOLE | {"stream": None}):
        for status in (200, 201):
            with ask(server, body) as stream:
                upstream.next_request().respond(status, answer)
                response = Reader(stream.connection).response("POST")

            assert response.status == status, f"{status} became {response.status}"
            kind = (response.header("content-type") or "none").partition(";")[0]
            assert kind == "application/json", f"Content-Type is {kind!r}, wanted application/json"
            assert parsed(response.body) == answer, f"saw {response.body!r}, wanted {answer}"


@pytest.mark.case("C5", "RFC 9110 12.5.1; OpenAI API reference, stream")
def test_accept_changes_nothing(server: Address, upstream: Upstream) -> None:
    """`stream` decides on the form of an answer; OpenAI's clients accept JSON and get streams."""
    answers = {}
    kinds = ("application/json", "text/event-stream", *TAKES_ALL)
    for body, accept in product((STREAMING, WHOLE), kinds):
        with ask(server, body, [("Accept", accept)]) as stream:
            model = upstream.next_request()
            if body is STREAMING:
                model.start()
                model.finish()
            else:
                model.respond(200, {})
            head = Reader(stream.connection).response("POST")
        answers[body["stream"], accept] = (head.status, head.header("content-type"))

    for (streams, accept), seen in answers.items():
        wanted = answers[streams, "text/event-stream" if streams else "application/json"]
        assert seen == wanted, f"Accept: {accept} got {seen}, wanted {wanted}"


@pytest.mark.case("C5", "RFC 9110 8.4 and 12.5.3")
def test_compressed_answers_are_readable(server: Address, upstream: Upstream) -> None:
    """Where the app offers the upstream gzip, its client still gets what it can read, at once."""
    with ask(server, WHOLE) as stream:
        model = upstream.next_request()
        model.respond(200, RICH, compressed=True)
        response = Reader(stream.connection).response("POST")
    assert response.header("content-encoding") in (None, "identity"), f"the client got {response}"
    assert parsed(response.body) == RICH, f"saw {response.body!r}, wanted {RICH}"

    with ask(server) as stream:
        model = upstream.next_request()
        model.start(compressed=True)
        for token in ("a", "b"):
            model.say(token)
            seen = said(stream.next())
            assert seen == completion(token), f"saw {seen}, wanted {completion(token)}"
        model.finish()
        seen = stream.events_to_the_end()[-1].data
        assert seen == DONE, f"the stream ended with {seen!r}, wanted [DONE]"


@pytest.mark.case("C6", "RFC 6265 5.3", level="should")
def test_cookies_stay_with_nobody(server: Address, upstream: Upstream) -> None:
    """A cookie that the upstream sets for one client is not sent with another's request."""
    with ask(server, WHOLE) as stream:
        upstream.next_request().respond(200, {}, [("Set-Cookie", "session=first; Path=/")])
        Reader(stream.connection).response("POST")
    seen = relayed(server, upstream, WHOLE).headers.get("cookie")

    assert seen is None, f"the next request went upstream with Cookie {seen!r}, wanted none"
