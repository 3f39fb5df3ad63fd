"""Shows result files as one table in the terminal: groups down, stacks across."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from conformance import results
from conformance.results import Outcome, Result

LEGEND = "passed  !declared failure  ~should that fails  ✗red  –does not apply"


def cell(cases: Sequence[results.Case]) -> Text:
    """Return a group's counts on one stack: `37 !2 ✗1` is 37 passed, 2 declared failures, 1 red."""
    kinds = Counter(kind(case) for case in cases)
    if set(kinds) <= {"lacks"}:
        return Text("–", style="dim")
    text = Text(str(kinds["passed"]), style="green")
    for name, sign, style in (
        ("declared", "!", "yellow"),
        ("should", "~", "yellow"),
        ("red", "✗", "bold red"),
    ):
        if kinds[name]:
            text.append(f" {sign}{kinds[name]}", style=style)
    return text


def kind(case: results.Case) -> str:
    """Return which count of a cell a judgement belongs to."""
    if results.is_red(case["outcome"], case["level"]):
        return "red"
    names = {Outcome.EXPECTED_FAILURE: "declared", Outcome.FAILED: "should"}
    return names.get(Outcome(case["outcome"]), case["outcome"])


def table(stacks: Sequence[Result]) -> Table:
    """Return the table of these results."""
    grid = Table(box=None, pad_edge=False)
    grid.add_column("")
    for result in stacks:
        grid.add_column(f"{result['app']}\n{result['server']}", justify="right", no_wrap=True)
    for group in results.GROUPS:
        cells = [
            cell([case for name, case in result["cases"].items() if name.startswith(f"{group}/")])
            for result in stacks
        ]
        grid.add_row(group, *cells)
    grid.add_row("seconds", *(Text(f"{result['seconds']:.0f}", "dim") for result in stacks))
    return grid


def failures(stacks: Sequence[Result]) -> list[str]:
    """Return a line for every red judgement."""
    return [
        f"{result['app']}-{result['server']} {case['outcome']}: {name}: {case['message']}"
        for result in stacks
        for name, case in sorted(result["cases"].items())
        if results.is_red(case["outcome"], case["level"])
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="conformance.matrix")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--since", default="", help="leave out what was judged before (ISO date)")
    options = parser.parse_args(arguments)
    read = [results.read(path) for path in sorted(options.folder.glob("*.json"))]
    stacks = [result for result in read if result["date"] >= options.since]
    if not stacks:
        parser.exit(message="no complete run to show: run `nox -s conformance` without -k\n")
    console = Console()
    console.print(table(stacks), LEGEND, sep="\n\n")
    for line in failures(stacks):
        console.print(line, style="red", markup=False, highlight=False)


if __name__ == "__main__":
    main()
