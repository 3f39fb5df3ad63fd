"""From slices to figures: ratios, validity, marks and ranks of one scenario."""

from __future__ import annotations

import statistics as stdlib
from collections.abc import Mapping
from pathlib import Path

from bench import statistics
from bench.contenders import CEILING, REFERENCE, TWIN
from bench.figures import Slices, Wire
from bench.slices import Measurement, Series
from conformance import results
from stacks import ROOT, Stack

CONFORMANCE = ROOT / "results" / "conformance"

NEAR_CEILING = 0.8
BUSY = 0.9


def figures(
    measurement: Measurement, date: str, unranked: Mapping[str, str | None]
) -> dict[str, Wire]:
    """Return the figure of every stack that was measured; `unranked` says why one has no rank.

    The controls (the reference, its twin and the ceiling) have to be right, or nothing is.
    """
    series = dict(measurement.series)
    columns = {name: each.columns() for name, each in series.items()}
    reference, twin, ceiling = (columns[name] for name in (REFERENCE, TWIN, CEILING))
    broken = next(
        (why for name in (REFERENCE, TWIN, CEILING) if (why := fault(series[name]))), None
    )
    stacks = [name for name in series if name not in (TWIN, CEILING)]
    invalid = {name: broken or fault(series[name]) for name in stacks}
    valid = {name: columns[name] for name in stacks if invalid[name] is None}
    ranked = {name: each for name, each in valid.items() if unranked[name] is None}
    noise = {} if broken else {q: statistics.noise(twin, reference, q) for q in statistics.SECONDS}
    ranks = {q: statistics.ranks(ranked, reference, q, noise[q]) for q in noise}
    limit = 0.0 if broken else stdlib.median(rates(ceiling))
    made = {}
    for name in stacks:
        mine, good = columns[name], name in valid
        made[name] = Wire(
            date=date,
            unit=measurement.scenario.unit,
            connections=measurement.scenario.connections,
            invalid=invalid[name],
            unranked=unranked[name],
            marks=marks(mine, ceiling) if good else [],
            cpu_seconds_a_unit=statistics.interval(costs(mine)) if good else None,
            units_a_second=statistics.interval(rates(mine)) if good else None,
            cpu_ratio=statistics.compared(mine, reference, "cpu") if good else None,
            wall_ratio=statistics.compared(mine, reference, "wall") if good else None,
            cpu_rank=ranks["cpu"].get(name) if good else None,
            wall_rank=ranks["wall"].get(name) if good else None,
            ranked=len(ranked),
            noise={quantity: round(value, 5) for quantity, value in noise.items()},
            ceiling_units_a_second=round(limit, 1),
            slices=mine,
            reference_slices=reference,
            twin_slices=twin,
        )
    return made


def fault(series: Series) -> str | None:
    """Return why a series is no figure."""
    who = series.contender.name
    if series.invalid is not None:
        return f"{who}: {series.invalid}"
    return None if series.taken else f"{who}: the run ended before it was measured"


def costs(slices: Slices) -> list[float]:
    return statistics.seconds_a_unit(slices, "cpu")


def rates(slices: Slices) -> list[float]:
    return [1 / seconds for seconds in statistics.seconds_a_unit(slices, "wall")]


def marks(mine: Slices, ceiling: Slices) -> list[str]:
    """Return what makes a figure a lower bound: its generator could not do more."""
    near = stdlib.median(statistics.ratios(mine, ceiling, "wall")) >= NEAR_CEILING
    spent = zip(mine["generator_cpu_seconds"], mine["wall_seconds"], strict=True)
    busy = stdlib.median(cpu / wall for cpu, wall in spent) > BUSY
    found = {"generator_at_ceiling": near, "generator_busy": busy}
    return [mark for mark, applies in found.items() if applies]


def unranked(stack: Stack, group: str, folder: Path = CONFORMANCE) -> str | None:
    """Return why a stack may not be ranked in what a group of cases judges, None where it may.

    What answers wrongly may be fast because of that. A declared failure does not count: it is known.
    """
    path = folder / f"{stack}.json"
    if not path.exists():
        return "its conformance was never judged"
    judged = results.read(path)
    if judged["versions"] != stack.versions:
        return "its conformance was judged in other versions"
    cases = {n: case for n, case in judged["cases"].items() if n.startswith(f"{group}/")}
    red = [n for n, case in sorted(cases.items()) if results.is_red(case["outcome"], case["level"])]
    if not cases:
        return f"its conformance was not judged by {group}"
    return f"it fails {', '.join(red)}" if red else None
