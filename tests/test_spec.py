"""The suite and SPEC.md say the same: each case stands at its paragraph, and back."""

from __future__ import annotations

import re

import pytest

from conformance import cases, results, spec

CASES = cases.declared() + cases.declared("witnesses") + cases.declared("strain")


def test_every_case_is_named_by_its_paragraph() -> None:
    """The paragraph that a case names is the one, and the only one, that names the case."""
    said = {case.id: case.mark.paragraph for case in CASES}
    listed = [(case, rule.number) for rule in spec.paragraphs() for case in rule.cases]

    assert sorted(listed) == sorted(said.items())


def test_paragraphs_are_numbered_once() -> None:
    """No number occurs twice, and a group's numbers share their letter."""
    rules = spec.paragraphs()
    letters = {(rule.group, rule.number[0]) for rule in rules}

    assert len({rule.number for rule in rules}) == len(rules)
    assert len(letters) == len([*results.GROUPS, "witnesses", "fuzz", "soak"])


def test_every_paragraph_has_a_case_and_a_source() -> None:
    """A rule that nothing proves, or that comes from nowhere, is not in SPEC.md."""
    for rule in spec.paragraphs():
        assert rule.cases, f"{rule.number} names no case"
        assert "[" in rule.text, f"{rule.number} names no public spec"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_case_has_a_sentence(case: cases.Case) -> None:
    """A docstring is one sentence that states the rule."""
    assert re.fullmatch(r"\S[^\n]*\.", case.sentence), case.sentence
    assert "should" not in case.sentence
    assert case.mark.refs


def test_level_of_a_case_is_told_in_its_paragraph() -> None:
    """A reader of SPEC.md sees which cases are not required."""
    rules = {rule.number: rule for rule in spec.paragraphs()}
    for case in CASES:
        text = rules[case.mark.paragraph].text.lower()
        if case.mark.level is results.Level.SHOULD:
            assert "should" in text, f"{case.id} is a should, {case.mark.paragraph} does not say so"
        if case.mark.level is results.Level.OBSERVE:
            assert "observed" in text, f"{case.id} is observed, {case.mark.paragraph} is silent"
