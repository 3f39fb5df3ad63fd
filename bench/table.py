"""Figures as tables: the ranked one that is drawn, and what else was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from bench import felt
from bench.figures import Interval, Latency, Result, Wire
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
        for scenario, latency in result.get("latency", {}).items():
            if latency["invalid"] is not None:
                lines.append(f"! {name} {scenario} at a fixed rate: {latency['invalid']}")
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
    tables = [wire(results), costs(results), others(results)]
    return [each for each in tables if each.row_count]


# Everything that is not ranked

type Cell = Callable[[Any], object]  # a Result; what it lacks is a KeyError or a TypeError


def others(results: Mapping[str, Result]) -> Table:
    """Return the other parts' figures, a row each; a row that nobody has is left out."""
    grid = _grid(results, "")
    for title, cell in _rows().items():
        cells = [told(cell, result) for result in results.values()]
        if any(each != "–" for each in cells):
            grid.add_row(title, *cells)
    return grid


def told(cell: Cell, result: Result) -> str:
    """Return a figure as text, a dash where it was not measured or does not exist."""
    try:
        found = cell(result)
    except (KeyError, TypeError, StopIteration):
        return "–"
    return "–" if found is None else f"{found:.3g}" if isinstance(found, float) else str(found)


def _rows() -> dict[str, Cell]:
    rows: dict[str, Cell] = {
        "latency at a fixed rate, p50, ms": lambda r: _percentile(r["latency"]["hello"], "p50"),
        "latency at a fixed rate, p99, ms": lambda r: _percentile(r["latency"]["hello"], "p99"),
    }
    for wanted in felt.CROWDS:
        of = f"of {wanted} streams"
        rows[f"{of}, that were served"] = partial(_crowd, wanted, ["opened"])
        for name, words in (("first_event_seconds", "first event"), ("gap_seconds", "gap")):
            rows[f"{of}, {words} p50, ms"] = partial(_crowd, wanted, [name, "p50"])
            rows[f"{of}, {words} p99, ms"] = partial(_crowd, wanted, [name, "p99"])
        rows[f"{of}, CPU an event, ms"] = partial(_crowd, wanted, ["cpu_seconds_an_event"])
    return rows | {
        "idle sockets beside an echo": lambda r: r["felt"]["echo_beside_idle"]["opened"],
        "echo beside them, p50, ms": lambda r: (
            1e3 * r["felt"]["echo_beside_idle"]["seconds"]["p50"]
        ),
        "echo beside them, p99, ms": lambda r: (
            1e3 * r["felt"]["echo_beside_idle"]["seconds"]["p99"]
        ),
        "silent streams held, of 1,000": lambda r: r["scale"]["streams"]["opened"],
        "silent stream, KiB": lambda r: r["scale"]["streams"]["bytes_each"] / 1024,
        "silent sockets held, of 1,000": lambda r: r["scale"]["sockets"]["opened"],
        "silent socket, KiB": lambda r: r["scale"]["sockets"]["bytes_each"] / 1024,
        "app to bare greeting, CPU": lambda r: r["floor"]["cpu_ratio"]["median"],
        "lines of code": lambda r: r["footprint"]["lines"],
        "packages": lambda r: r["footprint"]["packages"],
        "installed, MB": lambda r: r["footprint"]["installed_bytes"] / 1e6,
        "import, CPU ms": lambda r: 1e3 * r["footprint"]["import_cpu_seconds"]["median"],
        "spawn to first 200, ms": lambda r: 1e3 * r["footprint"]["first_answer_seconds"]["median"],
        "memory when idle, MB": lambda r: r["footprint"]["idle_bytes"] / 1e6,
    }


def _percentile(figure: Latency, name: Literal["p50", "p99"]) -> float | str:
    return "!" if figure["seconds"] is None else 1e3 * figure["seconds"][name]


def _crowd(wanted: int, keys: Sequence[str], result: Any) -> object:
    """Return what the keys lead to in the figures of a crowd, times in milliseconds."""
    found = next(crowd for crowd in result["felt"]["crowds"] if crowd["wanted"] == wanted)
    for key in keys:
        found = found[key]
    return 1e3 * found if isinstance(found, float) else found
