"""`GET /sse` with Last-Event-ID: what a browser sends when it comes back."""

from __future__ import annotations

import pytest

from conformance.event_stream import listen, read
from conformance.tokens import target, tokenize
from conformance.wire import Address, status

# As strings, "10" comes before "9".
ELEVEN = "a b c d e f g h i j k"
BAD_IDS = (
    *("abc", "", "-1", "-11", "1.5", "2x", "x2", "1 2", "1,2", "NaN", "Infinity", "null", "None"),
    *("token", "1:2"),
)


@pytest.mark.case("E14", "WHATWG HTML 9.2.4")
def test_last_event_id_resumes_after(server: Address) -> None:
    """A stream goes on with the token behind the last one that the client has seen."""
    for last in (0, 1, 2, 9, 10):
        events = read(server, text=ELEVEN, last_event_id=last)
        seen = [(event.id, event.data) for event in events if event.name != "done"]

        numbered = enumerate(tokenize(ELEVEN)[last:], start=last + 1)
        wanted = [(str(number), token) for number, token in numbered]
        assert seen == wanted, f"Last-Event-ID: {last} gave {seen}, wanted {wanted}"


@pytest.mark.case("E14", "WHATWG HTML 9.2.3")
def test_resume_at_end_is_204(server: Address) -> None:
    """Whoever has seen everything gets 204, which stops a browser for good."""
    for text, last in ((ELEVEN, 11), (ELEVEN, 12), (ELEVEN, 10**12), ("a", 1), ("", 0), ("", 1)):
        path = target("/sse", text=text, delay=0)
        for name in ("Last-Event-ID", "last-event-id"):
            seen = status(server, path, [(name, str(last))])

            assert seen == 204, f"{name}: {last} of {text!r} gave {seen}, wanted 204"


@pytest.mark.case("E14", "WHATWG HTML 9.2.4")
def test_bad_last_event_id_is_ignored(server: Address) -> None:
    """A Last-Event-ID that is no whole number counts as absent: the first token comes at once."""
    for last in BAD_IDS:
        with listen(server, text="a b c", delay=30, last_event_id=last) as stream:
            first = stream.next()

        assert first.data == "a ", f"Last-Event-ID: {last} began with {first.data!r}, wanted 'a '"
    seen = status(server, target("/sse", text=""), [("Last-Event-ID", "abc")])
    assert seen == 200, f"Last-Event-ID: abc of the empty text gave {seen}, wanted 200"
