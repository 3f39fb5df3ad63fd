"""Figures as tables: the ranked one that is drawn, and what else was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from bench.figures import Interval, Result, Wire
from bench.scenarios import SCENARIOS

LEGEND = (
    "Work done in the same time as the reference, by the server's CPU time and, behind the slash, by "
    "the clock; (rank), which stacks share that the run cannot tell apart.\n"
    "* a lower bound: the generator was at its limit   ! no figure   ~ not ranked   – does not apply"
)


def wide(results: Mapping[str, Result]) -> int:
    return 22 + 21 * len(results)


def wire(results: Mapping[str, Result]) -> Table:
    """Return scenarios down, stacks across."""
    grid = _grid(results, "median of paired ratios")
    for scenario in SCENARIOS:
        figures = [result.get("wire", {}).get(scenario.name) for result in results.values()]
        if any(figures):
            grid.add_row(f"{scenario.name}, {scenario.unit}", *map(ratio_cell, figures))
            measured = [figure for figure in figures if figure]
            noise = {figure["date"]: figure["noise"] for figure in measured}
            for each in noise.values():
                told = " / ".join(f"{100 * value:.1f} %" for value in each.values())
                grid.add_row(Text(f"  A/A pair within {told}", style="dim"))
    return grid


def ratio_cell(figure: Wire | None) -> Text:
    """Return `0.58 (2) / 0.55 (2)*`."""
    if figure is None:
        return Text("–", style="dim")
    if figure["invalid"] is not None:
        return Text("!", style="bold red")
    cells = [
        f"{ratio['median']:.2f}" + (f" ({rank})" if rank else "~")
        for ratio, rank in (
            (figure["cpu_ratio"], figure["cpu_rank"]),
            (figure["wall_ratio"], figure["wall_rank"]),
        )
        if ratio is not None
    ]
    text = Text(" / ".join(cells))
    return text.append("*", style="yellow") if figure["marks"] else text


def costs(results: Mapping[str, Result]) -> Table:
    """Return what a unit costs, in microseconds of CPU time, with the interval."""
    grid = _grid(results, "CPU time a unit, µs")
    for scenario in SCENARIOS:
        figures = [result.get("wire", {}).get(scenario.name) for result in results.values()]
        if any(figures):
            cells = [spread(f["cpu_seconds_a_unit"], 1e6) if f else "–" for f in figures]
            grid.add_row(f"{scenario.name}, {scenario.unit}", *cells)
    return grid


def spread(interval: Interval | None, scale: float = 1) -> str:
    """Return `25.1 [24.9 25.4]`."""
    if interval is None:
        return "!"
    low, middle, high = (scale * interval[each] for each in ("low", "median", "high"))
    return f"{middle:.3g} [{low:.3g} {high:.3g}]"


def notes(results: Mapping[str, Result]) -> list[str]:
    """Return a line for all that is no figure, and for all that is not ranked."""
    lines = []
    for name, result in results.items():
        for scenario, figure in result.get("wire", {}).items():
            if figure["invalid"] is not None:
                lines.append(f"! {name} {scenario}: {figure['invalid']}")
            elif figure["unranked"] is not None:
                lines.append(f"~ {name} {scenario}: {figure['unranked']}")
    return lines


def _grid(stacks: Iterable[str], title: str) -> Table:
    grid = Table(box=None, pad_edge=False)
    grid.add_column(title, no_wrap=True)
    for name in stacks:
        app, _, server = name.partition("-")
        grid.add_column(f"{app}\n{server}", justify="right", no_wrap=True)
    return grid


def shown(results: Mapping[str, Result]) -> Sequence[Table]:
    """Return the tables of what was measured."""
    tables = [wire(results), costs(results)]
    return [each for each in tables if each.row_count]
