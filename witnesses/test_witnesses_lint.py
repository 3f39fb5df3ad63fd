"""httplint, which knows more of HTTP fields than this suite, on what an app answers."""

from __future__ import annotations

import httplint
import pytest
from httplint.note import levels

from conformance.tokens import target
from conformance.wire import Address, Connection, Reader, Response, request

by_httplint = pytest.mark.parametrize("linter", ["httplint"])


def bad_notes(response: Response) -> list[str]:
    """Return what httplint calls bad in a response, in its words."""
    linter = httplint.HttpResponseLinter()
    version = f"HTTP/{response.http_version}".encode()
    linter.process_response_topline(version, str(response.status).encode(), b"OK")
    fields = [(name.encode(), value.encode("latin-1")) for name, value in response.headers]
    linter.process_headers(fields)
    linter.feed_content(response.body)
    linter.finish_content(True)
    return [f"{note.subject}: {note.summary}" for note in linter.notes if note.level is levels.BAD]


def answer(server: Address, path: str) -> Response:
    with Connection(server) as connection:
        connection.send(request(server, target=path))
        return Reader(connection).response()


@by_httplint
@pytest.mark.case("R10", "RFC 9110, RFC 9112", decides="both")
def test_finds_the_greeting_sound(linter: str, server: Address) -> None:
    """Nothing in the greeting is bad."""
    seen = bad_notes(answer(server, "/"))

    assert seen == [], f"{linter} found {seen}, wanted nothing bad"


@by_httplint
@pytest.mark.case("R10", "RFC 9110, RFC 9111, RFC 9112", decides="both")
def test_finds_the_stream_sound(linter: str, server: Address) -> None:
    """Nothing in an event stream is bad."""
    seen = bad_notes(answer(server, target("/sse", text="a b", delay=0)))

    assert seen == [], f"{linter} found {seen}, wanted nothing bad"
