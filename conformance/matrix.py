"""Shows result files as one table in the terminal: stacks down, groups across."""

from __future__ import annotations

import argparse
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from conformance import results
from conformance.results import Outcome, Result

WIDTH = 110
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
    judged = {name.partition("/")[0] for result in stacks for name in result["cases"]}
    groups = [name for name in results.EVERY if name in judged]
    grid = Table("", "", box=None, pad_edge=False)
    for group in groups:
        grid.add_column(group, justify="right", no_wrap=True)
    for result in stacks:
        cells = [
            cell([case for name, case in result["cases"].items() if name.startswith(f"{group}/")])
            for group in groups
        ]
        grid.add_row(result["app"], result["server"], *cells)
    return grid


def failures(stacks: Sequence[Result]) -> list[str]:
    """Return a line for every red judgement."""
    return [
        f"{result['app']}-{result['server']} {case['outcome']}: {name}: {case['message']}"
        for result in stacks
        for name, case in sorted(result["cases"].items())
        if results.is_red(case["outcome"], case["level"])
    ]


def picture(title: str, width: int, *shown: RenderableType) -> str:
    """Return what a terminal would show as an SVG that needs nothing from the network."""
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(*shown, sep="\n\n")
    drawn = console.export_svg(title=title)
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the matrix of a folder of results, and draw it."""
    parser = argparse.ArgumentParser(prog="conformance.matrix")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--since", default="", help="print only what was judged since (ISO date)")
    parser.add_argument("--picture", type=Path, help="draw the whole folder into this SVG file")
    options = parser.parse_args(arguments)
    stacks = [results.read(path) for path in sorted(options.folder.glob("*.json"))]
    if options.picture and stacks:
        title = f"nox -s {options.folder.name}"
        options.picture.write_text(picture(title, WIDTH, table(stacks), LEGEND))
    recent = [result for result in stacks if result["date"] >= options.since]
    if not recent:
        parser.exit(message="no whole run to show; a run with -k or --only is not recorded\n")
    console = Console(width=max(Console().width, WIDTH))
    console.print(table(recent), LEGEND, sep="\n\n")
    for line in failures(recent):
        console.print(line, style="red", markup=False, highlight=False)


if __name__ == "__main__":
    main()
