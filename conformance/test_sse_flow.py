"""When events come: each when it is due, alone, and comments while none is."""

from __future__ import annotations

import time

import pytest

from conformance.conftest import PING_INTERVAL
from conformance.event_stream import listen
from conformance.tokens import target
from conformance.wire import Address, Connection, Reader, request

# A timer may fire a little early: one tick for each wait, and the clocks' difference once.
TICK = 0.002
CLOCKS = 0.02
# What a busy machine may be late; less than a second delay or a second ping would add.
LATE = 1.4
# Some apps greet with a comment. What comes later breaks a silence.
GREETING_OVER = 0.5


def assert_due(what: str, seconds: float, waits: int, delay: float) -> None:
    """Assert that something that is due behind so many delays came neither early nor late."""
    due = waits * delay
    assert waits * (delay - TICK) - CLOCKS <= seconds < due + LATE, (
        f"{what} came {seconds:.3f} s in, wanted {due:.1f} s"
    )


@pytest.mark.waits(2)
@pytest.mark.case("E12", "SPEC.md", decides="both")
def test_delay_is_waited(server: Address) -> None:
    """The delay stands before each token but the first, and no more than the delay."""
    with (
        listen(server, text="a b c", delay=0.3) as short,
        listen(server, text="a b", delay=1.5) as long,
    ):
        for waits in range(3):
            short.next()
            seconds = time.monotonic() - short.sent

            assert_due(f"token {waits + 1}", seconds, waits, 0.3)
        long.next()
        long.next()
        seconds = time.monotonic() - long.sent

    assert_due("with delay=1.5 token 2", seconds, 1, 1.5)


@pytest.mark.waits(1)
@pytest.mark.case("E12", "SPEC.md")
def test_default_delay_is_waited(server: Address) -> None:
    """Without a delay, 0.05 s stand between two tokens."""
    with listen(server, text="a " * 21) as stream:
        stream.events()
        seconds = time.monotonic() - stream.sent

    assert_due("token 21", seconds, 20, 0.05)


@pytest.mark.case("E12", "SPEC.md")
def test_resume_waits_before_its_first_event(server: Address) -> None:
    """On a resume the delay stands before the first event too."""
    with listen(server, text="a b c", delay=0.3, last_event_id=1) as stream:
        for waits in (1, 2):
            stream.next()
            seconds = time.monotonic() - stream.sent

            assert_due(f"event {waits}", seconds, waits, 0.3)


@pytest.mark.case("E12", "SPEC.md", decides="both")
def test_headers_come_before_first_event_is_due(server: Address) -> None:
    """A client learns at once that its stream is open, though its first event is 30 s away."""
    with listen(server, text="a b", delay=30, last_event_id=1) as stream:
        seen = stream.head.status

    assert seen == 200, f"a resume gave {seen}, wanted 200"


@pytest.mark.case("E13", "SPEC.md", level="should", decides="both")
def test_head_leaves_at_once(server: Address) -> None:
    """The head of a resume waits for no ping: it is there before another stream's next event."""
    resume = request(server, "GET", target("/sse", text="a b", delay=30), [("Last-Event-ID", "1")])
    with Connection(server) as connection:
        connection.send(resume)
        with listen(server, text="a b", delay=0.6 * PING_INTERVAL) as other:
            other.next()
            other.next()
        head = Reader(connection).head(within=0)

    assert head.status == 200, f"a resume gave {head.status}, wanted 200"


@pytest.mark.case("E12", "SPEC.md", decides="both")
def test_first_event_does_not_wait_for_second(server: Address) -> None:
    """The first event is there though the second is 30 s away."""
    with listen(server, text="a b", delay=30) as stream:
        first = stream.next()

    assert first.data == "a ", f"the first event held {first.data!r}, wanted 'a '"


@pytest.mark.case("E12", "SPEC.md", decides="both")
def test_each_event_arrives_alone(server: Address) -> None:
    """When an event is there, the next one, due half a second later, is not."""
    with listen(server, text="a b c", delay=0.5) as stream:
        for number in (1, 2):
            stream.next()
            behind = stream.at_hand()

            assert behind == [], f"with event {number} came {behind}, wanted it alone"


@pytest.mark.waits(2)
@pytest.mark.case("E15", "WHATWG HTML 9.2.7", decides="both")
def test_ping_breaks_silence(server: Address) -> None:
    """In a silence a comment comes every 15 s, before the first event and after it."""
    with (
        listen(server, text="a b", delay=60, last_event_id=1) as resumed,
        listen(server, text="a b", delay=60) as begun,
    ):
        begun.next()
        for stream in (resumed, begun):
            stream.read_until(begun.sent + GREETING_OVER)
        comments = [stream.comment(within=16) for _ in range(2) for stream in (resumed, begun)]

    assert len(comments) == 4, f"saw the comments {comments}, wanted two a stream"


@pytest.mark.waits(2)
@pytest.mark.case("E16", "SPEC.md", level="should")
def test_ping_interval_is_configurable(server: Address) -> None:
    """PING_INTERVAL says after how many seconds of silence a comment comes."""
    with listen(server, text="a b", delay=30, last_event_id=1) as stream:
        stream.read_until(stream.sent + GREETING_OVER)
        stream.comment()
        stream.comment()
        seconds = time.monotonic() - stream.sent

    assert PING_INTERVAL <= seconds <= 3.5 * PING_INTERVAL, (
        f"two pings took {seconds:.3f} s, wanted one every {PING_INTERVAL} s"
    )


@pytest.mark.waits(2)
@pytest.mark.case("E15", "WHATWG HTML 9.2.6")
def test_ping_is_a_comment_and_harmless(server: Address) -> None:
    """Pings change no event, put none off the clock, and are nothing but comments."""
    delay = 2.2 * PING_INTERVAL
    with listen(server, text="a b", delay=delay) as stream:
        first, second = stream.next(), stream.next()
        seconds = time.monotonic() - stream.sent

    seen = [first.data, second.data]
    assert seen == ["a ", "b"], f"with pings in between came {seen}, wanted ['a ', 'b']"
    stray = [field for field in stream.reader.stray if field[0] != "retry"]
    assert stray == [], f"saw {stray} in no event, wanted nothing but comments"
    assert_due("token 2", seconds, 1, delay)


@pytest.mark.waits(2)
@pytest.mark.case("E15", "WHATWG HTML 9.2.7")
def test_later_silences_have_pings(server: Address) -> None:
    """Where the first silence of a stream has a ping, the next one, as long, has one too."""
    pings = []
    with listen(server, text="a b c", delay=1.3 * PING_INTERVAL) as stream:
        for _ in range(3):
            before = len(stream.reader.comments)
            stream.next()
            pings.append(len(stream.reader.comments) - before)

    assert pings[2] > 0 or pings[1] == 0, f"the two silences had {pings[1:]} pings, wanted one each"


@pytest.mark.waits(66)
@pytest.mark.slow
@pytest.mark.case("E18", "SPEC.md", decides="both")
def test_stream_lives_past_65_seconds(server: Address) -> None:
    """No time-out of the framework or the server ends a stream that is still at work."""
    with listen(server, text="a b c", delay=33) as stream:
        seen = [event.data for event in stream.events(within=90)]

    assert seen == ["a ", "b ", "c", "3"], f"saw {seen}, wanted three tokens and done"
