"""Reads SPEC.md: its numbered paragraphs and the cases that each one is proved by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).parent / "SPEC.md"

_HEADING = re.compile(r"^## (?P<group>[a-z]+)\b")
_NUMBER = re.compile(r"^\*\*(?P<number>[A-Z]+\d+)\*\* ")
_CASES = re.compile(r"^Cases: (?P<ids>.*)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Paragraph:
    """A rule of the contract: its number (`W4`), its text and the ids of its cases."""

    number: str
    group: str
    text: str
    cases: tuple[str, ...]


def paragraphs(text: str | None = None) -> list[Paragraph]:
    """Return the numbered paragraphs of SPEC.md, or of `text`, in order."""
    found = []
    group = ""
    for block in re.split(r"\n{2,}", PATH.read_text() if text is None else text):
        if heading := _HEADING.match(block):
            group = heading["group"]
        if number := _NUMBER.match(block):
            cases = _CASES.search(block)
            words = re.findall(r"`(\w+)`", cases["ids"]) if cases else []
            ids = tuple(f"{group}/{word}" for word in words)
            found.append(Paragraph(number["number"], group, block, ids))
    return found
