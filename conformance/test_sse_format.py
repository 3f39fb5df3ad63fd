"""What events look like: their fields, their tokens, and text that tries to be more than text."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conformance.event_stream import Event, listen, read, tokens
from conformance.tokens import TEXTS, TRAPS, normalize, tokenize
from conformance.wire import Address

KNOWN_FIELDS = {"event", "data", "id", "retry"}
TWELVE = "a b c d e f g h i j k l"
MANY = "a " * 450

# Blanks for other rules than the contract's: Unicode's, Python's, JavaScript's, a regex's `\s`.
NOT_BLANK = "\v\f\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\ufeff\0"
# Line ends for Unicode and for Python's `splitlines`, but not in an event stream.
NOT_LINE_ENDS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"

TOKENS = {
    "a": ["a"],
    "a b": ["a ", "b"],
    "a  b ": ["a  ", "b "],
    "a\tb\nc": ["a\t", "b\n", "c"],
    "a \t\n b": ["a \t\n ", "b"],
    " a": [" ", "a"],
    "\n\t a": ["\n\t ", "a"],
    "   ": ["   "],
    "\n": ["\n"],
    "a,b.c-d": ["a,b.c-d"],
    "a\u3000 b": ["a\u3000 ", "b"],
    "\xa0a \xa0 b": ["\xa0a ", "\xa0 ", "b"],
}


def data_lines(event: Event) -> list[str]:
    return [value for name, value in event.fields if name == "data"]


@pytest.mark.case("E8", "SPEC.md")
def test_token_boundaries(server: Address) -> None:
    """A token is a word with the blanks behind it; only space, tab and line feed are blanks."""
    for text, parts in (TOKENS | {f"a{c}b c": [f"a{c}b ", "c"] for c in NOT_BLANK}).items():
        seen = tokens(read(server, text=text))

        assert seen == parts, f"{text!r} gave {seen}, wanted {parts}"

    @given(st.text("ab \t\n\v\x85\xa0\u2028\u3000", min_size=1, max_size=12))
    def cuts(text: str) -> None:
        seen = tokens(read(server, text=text))

        assert seen == tokenize(text), f"{text!r} gave {seen}, wanted {tokenize(text)}"

    cuts()


@pytest.mark.case("E8", "SPEC.md")
def test_carriage_return_counts_as_line_feed(server: Address) -> None:
    """CR and CRLF in the text are line feeds, and so they are blanks."""
    texts = {
        "a\rb": ["a\n", "b"],
        "a\r\nb": ["a\n", "b"],
        "a\r\rb": ["a\n\n", "b"],
        "a\r\r\nb": ["a\n\n", "b"],
        "a\n\rb": ["a\n\n", "b"],
        "\ra\r": ["\n", "a\n"],
        "\r\n": ["\n"],
    }
    for text, parts in texts.items():
        seen = tokens(read(server, text=text))

        assert seen == parts, f"{text!r} gave {seen}, wanted {parts}"


@pytest.mark.case("E8", "SPEC.md")
def test_data_joins_to_the_text(server: Address) -> None:
    """The data of all tokens, joined, is the text, whatever characters it holds."""

    @given(TEXTS)
    @example(TRAPS)
    @example("\ufeffa")
    @example(" \n")
    @example("é")
    def joins(text: str) -> None:
        seen = "".join(tokens(read(server, text=text)))

        assert seen == normalize(text), f"{text!r} came as {seen!r}, wanted the text"

    joins()


@pytest.mark.case("E9", "WHATWG HTML 9.2.6")
def test_ids_count_from_one(server: Address) -> None:
    """Each token has its number as id, from 1, and `done` has none."""
    for text in (TWELVE, " a", "\0 b", "a\nb\nc", MANY):
        seen = [event.id for event in read(server, text=text)]

        ids = [*(str(n) for n, _ in enumerate(tokenize(text), start=1)), None]
        assert seen == ids, f"{text!r} gave the ids {seen}, wanted {ids}"


@pytest.mark.case("E9", "WHATWG HTML 9.2.6")
def test_event_names(server: Address) -> None:
    """Every event is `token`, but for the last, which is `done`."""
    with listen(server, text=TWELVE, delay=0) as stream:
        seen = [event.name for event in stream.events()]

    names = ["token"] * 12 + ["done"]
    assert seen == names, f"saw {seen}, wanted {names}"


@pytest.mark.case("E9", "WHATWG HTML 9.2.6")
def test_only_known_fields(server: Address) -> None:
    """A stream holds comments and the fields of the standard, and no other line."""
    with listen(server, text="a\n b", delay=0) as stream:
        stream.events()
        seen = {name for name, _ in stream.reader.fields}

    assert seen <= KNOWN_FIELDS, f"saw the fields {sorted(seen)}, wanted {sorted(KNOWN_FIELDS)}"


@pytest.mark.case("E9", "WHATWG HTML 9.2.6")
def test_every_event_ends_with_a_blank_line(server: Address) -> None:
    """A blank line ends every event, the last one too, or a browser drops it."""
    with listen(server, text="a b", delay=0) as stream:
        seen = tokens(stream.events())
        unfinished = stream.reader.unfinished

    assert (seen, unfinished) == (["a ", "b"], []), (
        f"saw {seen} and the unfinished lines {unfinished}, wanted ['a ', 'b'] and none"
    )


@pytest.mark.case("E10", "WHATWG HTML 9.2.6")
def test_line_feed_becomes_data_lines(server: Address) -> None:
    """A token with n line feeds has n + 1 data lines."""
    texts = {"a\nb": ["a", ""], "a\n\n\nb": ["a", "", "", ""], "\n\na": ["", "", ""]}
    for text, lines in texts.items():
        seen = data_lines(read(server, text=text)[0])

        assert seen == lines, f"{text!r} began with the data lines {seen}, wanted {lines}"


@pytest.mark.case("E10", "WHATWG HTML 9.2.6")
def test_leading_space_survives(server: Address) -> None:
    """A blank at the start of a data line is not taken for the optional one behind the colon."""
    for text in (" a", "   a", " \n  a", "a\n b", "a\n  \n b", "\t a"):
        seen = "".join(tokens(read(server, text=text)))

        assert seen == text, f"{text!r} came as {seen!r}, wanted the text"


@pytest.mark.case("E10", "WHATWG HTML 9.2.5")
def test_unicode_line_separators_are_data(server: Address) -> None:
    """Only CR and LF end a line of the stream; other separators are characters."""
    for character in NOT_LINE_ENDS:
        text = f"a{character}{character}b{character}"
        seen = [data_lines(event) for event in read(server, text=text)[:-1]]

        told = "".join("".join(lines) for lines in seen)
        assert told == text and all(len(lines) == 1 for lines in seen), (
            f"{text!r} gave the data lines {seen}, wanted one a token"
        )


@pytest.mark.case("E10", "WHATWG HTML 9.2.5")
def test_wire_is_utf8(server: Address) -> None:
    """Characters of every plane stand in the stream as UTF-8."""
    for text in ("é", "€", "\N{GRINNING FACE}", "e\u0301", "\ufeff", "\U0010ffff", "\x7f\x80"):
        with listen(server, text=text, delay=0) as stream:
            seen = tokens(stream.events())

        assert seen == [text], f"{text!r} came as {seen}, wanted it in UTF-8: {stream.text}"


@pytest.mark.case("E10", "CWE-93")
def test_data_cannot_forge_an_event(server: Address) -> None:
    """No line end in the text starts a field, and no blank line in it ends an event."""
    for end in ("\r", "\n", "\r\n", "\n\r", "\r\n\r", "\u2028", "\x85", "\v", "\0"):
        for forged in ("{}event:done{}data:0{}{}x", "{}{}event: done{}data: 0{}{}", "{}id:9{}:{}"):
            text = "a" + forged.replace("{}", end)
            seen = "".join(tokens(read(server, text=text)))

            assert seen == normalize(text), f"{text!r} came as {seen!r}, wanted the text"


@pytest.mark.case("E11", "SPEC.md")
def test_done_counts_all_tokens(server: Address) -> None:
    """`done` tells the number of the text's tokens, also after a resume."""
    asked = ((TWELVE, None), (" a", None), (TWELVE, 1), (TWELVE, 11), ("a", 0), (MANY, 440))
    for text, last_event_id in asked:
        last = read(server, text=text, last_event_id=last_event_id)[-1]

        count = str(len(tokenize(text)))
        assert (last.name, last.data) == ("done", count), (
            f"{text!r} from {last_event_id} ended with {last.name} {last.data!r}, wanted {count}"
        )


@pytest.mark.case("E11", "SPEC.md")
def test_empty_text_is_done_at_once(server: Address) -> None:
    """An empty text has no tokens, and `done` does not wait."""
    with listen(server, text="", delay=30) as stream:
        seen = [(event.name, event.data) for event in stream.events()]

    assert seen == [("done", "0")], f"the empty text gave {seen}, wanted done with 0"


@pytest.mark.case("E11", "SPEC.md", decides="both")
def test_done_follows_the_last_token_at_once(server: Address) -> None:
    """No delay stands between the last token and `done`."""
    with listen(server, text="a", delay=30) as stream:
        stream.next()
        behind = stream.next()

    assert behind.name == "done", f"behind the token came {behind.name}, wanted done"


@pytest.mark.case("E11", "RFC 9112 7.1, RFC 9112 8", decides="both")
def test_done_closes_the_stream(server: Address) -> None:
    """The response ends behind `done`, as its framing demands, and nothing follows."""
    with listen(server, text="a b", delay=0) as stream:
        seen = [event.name for event in stream.events_to_the_end()]

    assert seen[-1:] == ["done"], f"the stream held {seen}, wanted done to be the last"
