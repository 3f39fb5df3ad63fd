"""The text that `/sse` and `/poll` cut into tokens, as the suite itself reads the contract."""

from __future__ import annotations

import re
from urllib.parse import quote

import hypothesis.strategies as st

from stacks import Stack

# One over and the limit itself, each beside what it is if bytes, UTF-16 units or what a reader
# takes for one character were counted. All stay below 8,000 octets in a query.
FITTING_TEXTS = ("a" * 1000, "é" * 1000, "\N{GRINNING FACE}" * 600, "e\u0301" * 500, "a " * 500)
LONG_TEXTS = ("a" * 1001, "é" * 1001, "e\u0301" * 501, "a" * 1000 + " ", " " + "a" * 1000)

GOOD_DELAYS = ("0", "0.0", "0.25", "59.999", "60", "60.0")
BAD_DELAYS = (
    *("abc", "", "1x", "x1", "1.2.3", "nan", "NaN", "inf", "Infinity", "-inf", "-Infinity"),
    *("-1", "-0.001", "60.001", "60.5", "61", "100", "1000000000000"),
)

# Spellings that the contract leaves open: only a status from 500 up is wrong.
ODD_QUERIES = (
    *("delay=1e-3", "delay=%2B1", "delay=0_1", "delay=0x1", "delay=.5", "delay=1.", "delay=-0"),
    *("delay=%D9%A3", "delay=%C2%B2", "delay=%201", "delay=1e999", "delay=" + "9" * 5000),
    *("delay=%00", "delay=0.1&delay=abc", "text=%FF", "text=%C3", "text=%ED%A0%80&delay=0"),
    *("text=%", "text=%zz", "text=a&text=b", "text", "=", "&&&", "a[b]=c", "text[]=a"),
)

# What a careless tokenizer, line splitter or decoder trips over.
_TRAPS = (
    *" \t\n\r:\0\v\f\x1c\x1d\x1e\x1f\x7f\x85\xa0\u2028\u2029\u3000\ufeff\u200b\u0301\ufffe",
    *("\r\n", "\n\n", "data: x", "\n\nevent: done\ndata: 0\n\n", "%41", "+", "&", '"', "\\", "é"),
    *("\U0001f600", "\U0010ffff", "\u202e", "</script>", "{", "}"),
)
TEXTS = st.lists(
    st.one_of(st.sampled_from(_TRAPS), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=20,
).map("".join)
# All traps at once, each behind a letter: what the examples happen to hold decides nothing.
TRAPS = "  a" + "a".join(_TRAPS) + "a  "


def make_tables() -> None:
    """Have Hypothesis make its table of all characters, so that whoever is forked later has it.

    That takes a second where the table is not in a file yet, and is not wanted while pytest starts.
    """
    TEXTS.validate()


def tokenize(text: str) -> list[str]:
    """Return the tokens of a text: blanks at the start, then each word with the blanks after it."""
    return re.findall(r"[^ \t\n]+[ \t\n]*|[ \t\n]+", normalize(text))


def normalize(text: str) -> str:
    """Return the text as it is streamed: CRLF and CR are line feeds."""
    return re.sub("\r\n|\r", "\n", text)


def default_text(stack: Stack) -> str:
    """Return what an app streams when it is given no text."""
    return f"Hello from {stack.title}, one token at a time."


def target(path: str, **query: object) -> str:
    """Return a request target, `target("/sse", text="a b", delay=0)`; what is None is left out."""
    given = [(name, str(value)) for name, value in query.items() if value is not None]
    return f"{path}?{'&'.join(f'{name}={quote(value, safe="")}' for name, value in given)}"
