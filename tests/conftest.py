"""Tells at the end of a run how many mutants were caught, and how many cases they prove."""

from __future__ import annotations

import pytest

from conformance import cases
from conformance.results import Level
from tests.mutants import all_mutants

MUTANT_TEST = "test_mutant_fails_what_it_names["


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--whole",
        action="store_true",
        help="judge each mutant by all cases, not only by the files of those it names",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    caught = {
        report.nodeid.partition(MUTANT_TEST)[2].removesuffix("]")
        for report in terminalreporter.stats.get("passed", ())
        if MUTANT_TEST in report.nodeid
    }
    if not caught:
        return
    mutants = all_mutants()
    required = {case.id for case in cases.declared() if case.mark.level is Level.REQUIRED}
    proved = {case for mutant in mutants if mutant.name in caught for case in mutant.fails}
    terminalreporter.ensure_newline()
    terminalreporter.write_line(
        f"{len(caught)} of {len(mutants)} mutants failed exactly the cases they name; "
        f"{len(proved & required)} of {len(required)} required cases are killed by one"
    )
