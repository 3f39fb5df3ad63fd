"""What README.md says of the stacks is what their manifests say."""

from __future__ import annotations

import pytest

import stacks
from report import readme


def test_readme_lists_the_stacks() -> None:
    """Its table is up to date: nox -s report -- --picture writes it."""
    text = readme.PATH.read_text()

    assert readme.with_table(text) == text


def test_every_app_has_a_row_with_its_servers() -> None:
    """No app is left out, and its default server comes first."""
    rows = readme.table().splitlines()[2:]

    assert len(rows) == len(stacks.app_names())
    for row, name in zip(rows, stacks.app_names(), strict=True):
        assert row.split(" | ")[2].split(", ")[0] == stacks.find(name).server


def test_a_text_without_marks_is_an_error() -> None:
    """A README that has lost its marks is not written over."""
    with pytest.raises(ValueError, match="has no <!-- made by"):
        readme.with_table("no table here")
