"""The reader of event streams agrees with WHATWG HTML 9.2, however its bytes are cut."""

from __future__ import annotations

import pytest

from conformance.event_stream import Event, EventReader
from conformance.wire import WireError

# As a browser dispatches them: name, data, last event ID.
VECTORS = [
    pytest.param(b"data: a\n\n", [Event("message", "a")], id="one_event"),
    pytest.param(b"data: a\r\n\r\n", [Event("message", "a")], id="crlf"),
    pytest.param(b"data: a\r\r", [Event("message", "a")], id="cr"),
    pytest.param(b"data: a\rdata: b\ndata: c\r\n\n", [Event("message", "a\nb\nc")], id="mixed"),
    pytest.param(b"data: a\r\n\ndata: b\n\n", [Event("message", "a"), Event("message", "b")],
                 id="crlf_then_lf"),
    pytest.param(b"data: a\n\rdata: b\n\n", [Event("message", "a"), Event("message", "b")],
                 id="lf_then_cr"),
    pytest.param(b"\xef\xbb\xbfdata: a\n\n", [Event("message", "a")], id="bom"),
    pytest.param(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", [], id="second_bom_is_a_field"),
    pytest.param(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Event("message", "a")], id="late_bom"),
    pytest.param(b"data: \xef\xbb\xbfa\n\n", [Event("message", "\ufeffa")], id="bom_in_data"),
    pytest.param(b": one\n:two\n:\ndata: a\n\n", [Event("message", "a")], id="comments"),
    pytest.param(b"data: a\n: between\ndata: b\n\n", [Event("message", "a\nb")], id="comment_within"),
    pytest.param(b"data:a\n\n", [Event("message", "a")], id="no_space"),
    pytest.param(b"data:  a\n\n", [Event("message", " a")], id="one_space_is_dropped"),
    pytest.param(b"data:\ta\n\n", [Event("message", "\ta")], id="a_tab_is_kept"),
    pytest.param(b"data: a \n\n", [Event("message", "a ")], id="blanks_behind_are_kept"),
    pytest.param(b"data\n\n", [Event("message", "")], id="field_without_colon"),
    pytest.param(b"data:\n\n", [Event("message", "")], id="empty_data"),
    pytest.param(b"data\ndata\n\n", [Event("message", "\n")], id="two_empty_lines"),
    pytest.param(b"data: a\ndata:\ndata: b\n\n", [Event("message", "a\n\nb")], id="line_feeds"),
    pytest.param(b"event: x\n\ndata: a\n\n", [Event("message", "a")], id="no_data_no_event"),
    pytest.param(b"event: x\ndata: a\n\ndata: b\n\n", [Event("x", "a"), Event("message", "b")],
                 id="name_is_forgotten"),
    pytest.param(b"event: x\nevent\ndata: a\n\n", [Event("message", "a")], id="empty_name"),
    pytest.param(b"event: x\nevent: y\ndata: a\n\n", [Event("y", "a")], id="last_name_counts"),
    pytest.param(b"id: 1\ndata: a\n\ndata: b\n\n",
                 [Event("message", "a", "1"), Event("message", "b", "1")], id="id_is_remembered"),
    pytest.param(b"id: 1\ndata: a\n\nid\ndata: b\n\n",
                 [Event("message", "a", "1"), Event("message", "b")], id="empty_id_resets"),
    pytest.param(b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",
                 [Event("message", "a", "1"), Event("message", "b", "1")], id="id_with_nul"),
    pytest.param(b"id: 1\n\ndata: a\n\n", [Event("message", "a", "1")], id="id_without_data"),
    pytest.param(b"Data: a\ndata : b\n data: c\nfoo: d\n\n", [], id="unknown_fields"),
    pytest.param(b"data: a: b:c\n\n", [Event("message", "a: b:c")], id="colons_in_data"),
    pytest.param("data: é€\U0001f600\n\n".encode(), [Event("message", "é€\U0001f600")], id="utf8"),
    pytest.param("data: a\u2028b\u2029\x85\v\f\x1c\n\n".encode(),
                 [Event("message", "a\u2028b\u2029\x85\v\f\x1c")], id="other_separators"),
    pytest.param(b"data: \0\n\n", [Event("message", "\0")], id="nul_in_data"),
    pytest.param(b"\n\n\r\n\rdata: a\n\n\n\n", [Event("message", "a")], id="blank_lines"),
    pytest.param(b"data: a\n\ndata: b\n", [Event("message", "a")], id="no_last_blank_line"),
    pytest.param(b"data: a\n\ndata: b", [Event("message", "a")], id="no_last_line_end"),
    pytest.param(b"", [], id="nothing"),
]  # fmt: skip


def read(*chunks: bytes) -> list[Event]:
    reader = EventReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    reader.end()
    return events


@pytest.mark.parametrize(("data", "events"), VECTORS)
def test_vector(data: bytes, events: list[Event]) -> None:
    """Each vector gives its events: whole, cut in two at every place, and octet by octet."""
    assert read(data) == events
    assert read(*(bytes([octet]) for octet in data)) == events
    for cut in range(len(data)):
        assert read(data[:cut], b"", data[cut:]) == events, cut


def test_event_is_there_with_its_blank_line() -> None:
    """An event waits neither for what follows nor for the LF of a CRLF."""
    for end in (b"\n", b"\r", b"\r\n"):
        reader = EventReader()

        assert reader.feed(b"data: a" + end) == []
        assert reader.feed(end[:1]) == [Event("message", "a")]


def test_line_feed_of_a_split_crlf_is_no_blank_line() -> None:
    """The LF that comes in the chunk behind its CR ends no second line."""
    assert read(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [Event("message", "a\nb")]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"data: \xff\n\n", id="no_utf8"),
        pytest.param(b"data: \xc3\n\n", id="cut_character"),
        pytest.param(b"data: \xed\xa0\x80\n\n", id="surrogate"),
        pytest.param(b"data: \xc0\xaf\n\n", id="overlong"),
        pytest.param(b": \xe2\x82", id="cut_at_the_end"),
    ],
)
def test_bad_utf8(data: bytes) -> None:
    """What is not UTF-8 is an error, also in a comment and at the end."""
    with pytest.raises(WireError, match="wanted UTF-8"):
        read(data)


@pytest.mark.parametrize(
    ("value", "retry"),
    [
        pytest.param("1500", 1500, id="digits"),
        pytest.param("0", 0, id="zero"),
        pytest.param("1.5", None, id="fraction"),
        pytest.param("-1", None, id="sign"),
        pytest.param("", None, id="empty"),
        pytest.param("1s", None, id="unit"),
        pytest.param("٣", None, id="other_digits"),
    ],
)
def test_retry(value: str, retry: int | None) -> None:
    """Only ASCII digits set the time, at once and without an event."""
    reader = EventReader()
    events = reader.feed(f"retry: {value}\n".encode())

    assert (events, reader.retry) == ([], retry)


def test_what_a_browser_throws_away_is_kept() -> None:
    """Comments, fields of all kinds and what belongs to no event can be judged."""
    reader = EventReader()
    (event,) = reader.feed(b": c1\nretry: 1\n\nid: 7\nfoo: x\ndata: a\n:c2\n\nevent: lost\n\nid: 8")

    assert reader.comments == [" c1", "c2"]
    assert reader.stray == [("retry", "1"), ("event", "lost")]
    assert reader.fields[1:4] == [("id", "7"), ("foo", "x"), ("data", "a")]
    assert event.fields == (("id", "7"), ("foo", "x"), ("data", "a"))
    assert (event.id, event.last_event_id) == ("7", "7")


def test_id_is_the_events_own() -> None:
    """An event that carries no id has none, though a browser remembers the last one."""
    reader = EventReader()
    first, second = reader.feed(b"id: 1\ndata: a\n\nevent: done\ndata: 1\n\n")

    assert (first.id, second.id, second.last_event_id) == ("1", None, "1")


@pytest.mark.parametrize(
    ("data", "unfinished"),
    [
        pytest.param(b"data: a\n\n", [], id="nothing"),
        pytest.param(b"data: a\n\n: ping", [], id="comment"),
        pytest.param(b"data: a\n\n: ping\n", [], id="comment_line"),
        pytest.param(b"data: a\n", ["data: a"], id="no_blank_line"),
        pytest.param(b"id: 1\ndata: a", ["id: 1", "data: a"], id="no_line_end"),
    ],
)
def test_unfinished(data: bytes, unfinished: list[str]) -> None:
    """The lines of an event that the end cut off are named."""
    reader = EventReader()
    reader.feed(data)

    assert reader.unfinished == unfinished
