"""What changed between two runs, beyond noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from bench import results, statistics
from bench.figures import Interval, Wire
from stacks import StackError

RANKS: dict[statistics.Quantity, Literal["cpu_rank", "wall_rank"]] = {
    "cpu": "cpu_rank",
    "wall": "wall_rank",
}


def show(old: Path, new: Path, console: Console) -> None:
    """Print a line for each figure that both folders hold; raise StackError where there is none."""
    table = Table(box=None, pad_edge=False)
    for title in ("stack", "scenario", "by", "new to old", "", "verdict"):
        table.add_column(title, no_wrap=True)
    for row in rows(old, new):
        table.add_row(*row)
    if not table.row_count:
        raise StackError(f"{old} and {new} hold no figure of the same stack and scenario")
    console.print(table)
    console.print()
    for line in agreements(old, new):
        console.print(line, markup=False, highlight=False)


def agreements(old: Path, new: Path) -> Iterator[str]:
    """Yield for each scenario how far two runs agree on the order of stacks, and their A/A pairs."""
    before, after = wires(old), wires(new)
    for scenario in sorted(before.keys() & after.keys()):
        told = []
        for quantity in statistics.SECONDS:
            tau = statistics.agreement(*(ranks(run[scenario], quantity) for run in (before, after)))
            told.append(f"{quantity} {'–' if tau is None else f'{tau:.2f}'}")
        pairs = " and ".join(twin(run[scenario]) for run in (before, after))
        yield f"{scenario}: Kendall's tau outside ties {', '.join(told)}; A/A pair by cpu {pairs}"


def wires(folder: Path) -> dict[str, dict[str, Wire]]:
    """Return what a run has on the wire, by scenario and stack."""
    found: dict[str, dict[str, Wire]] = {}
    for name, result in results.read_all(folder).items():
        for scenario, figure in result.get("wire", {}).items():
            found.setdefault(scenario, {})[name] = figure
    return found


def ranks(figures: Mapping[str, Wire], quantity: statistics.Quantity) -> dict[str, int]:
    found = {name: figure[RANKS[quantity]] for name, figure in figures.items()}
    return {name: rank for name, rank in found.items() if rank is not None}


def twin(figures: Mapping[str, Wire]) -> str:
    """Return what the twin did in the CPU time of the reference."""
    one = next(iter(figures.values()))
    found = statistics.compared(one["twin_slices"], one["reference_slices"], "cpu")
    return "–" if found is None else f"{found['median']:.3f} {spread(found)}"


def spread(found: Interval) -> str:
    return f"[{found['low']:.3f} {found['high']:.3f}]"


def rows(old: Path, new: Path) -> Iterator[tuple[str, ...]]:
    """Yield stack, scenario, quantity, ratio, interval and verdict."""
    before, after = results.read_all(old), results.read_all(new)
    for name in before.keys() & after.keys():
        figures = before[name].get("wire", {}), after[name].get("wire", {})
        for scenario in sorted(figures[0].keys() & figures[1].keys()):
            for quantity in statistics.SECONDS:
                found = change(figures[0][scenario], figures[1][scenario], quantity)
                if found is None:
                    yield name, scenario, quantity, "", "", "invalid in one of them"
                    continue
                floor = noise(figures[0][scenario], figures[1][scenario], quantity)
                yield (
                    name,
                    scenario,
                    quantity,
                    f"{found['median']:.3f}",
                    spread(found),
                    verdict(found, floor),
                )


def change(old: Wire, new: Wire, quantity: statistics.Quantity) -> Interval | None:
    """Return by how much a stack's ratio to the reference changed, above 1 for faster.

    The machine may have been another, so times are not compared; of the reference itself they are,
    for its ratio is 1 whatever becomes of it.
    """
    if old["invalid"] or new["invalid"]:
        return None
    pairs = []
    for figure in (old, new):
        own, reference = figure["slices"], figure["reference_slices"]
        if own == reference:
            pairs.append([1 / each for each in statistics.seconds_a_unit(own, quantity)])
        else:
            pairs.append(statistics.ratios(own, reference, quantity))
    return statistics.change(*pairs)


def noise(old: Wire, new: Wire, quantity: statistics.Quantity) -> float:
    return max(old["noise"][quantity], new["noise"][quantity])


def verdict(found: Interval, floor: float) -> str:
    if not statistics.tells(found, floor):
        return "no change beyond noise"
    return "faster" if found["median"] > 1 else "slower"
