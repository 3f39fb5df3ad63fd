"""What may be claimed from slices that were taken in turn: intervals, ties and ranks.

A machine drifts by more than most stacks differ, so nothing is compared but slices of one round. The
figure is the median of these paired ratios. A difference is claimed only where the interval around
the median excludes 1 and the median is further from 1 than the reference is from its twin, the A/A
pair, and than LEAST_CLAIMED.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations, product
from statistics import median
from typing import Any, Literal

import numpy as np
from scipy import stats

from bench.figures import Interval, Slices

type Sample = np.ndarray[tuple[Any, ...], np.dtype[np.float64]]
type Quantity = Literal["cpu", "wall"]

CONFIDENCE = 0.99
RESAMPLES = 2000
# Two processes of one program may differ by this for as long as they live, by what neither seeds nor
# addresses decide. The A/A pair has several servers to a side; other stacks have one.
LEAST_CLAIMED = 0.05
# The widest interval of a median goes from the least value to the greatest. With fewer values than
# these even that one misses the median more often than once in a hundred times (2 ** (1 - n)).
FEWEST = 8

SECONDS: dict[Quantity, Literal["server_cpu_seconds", "wall_seconds"]] = {
    "cpu": "server_cpu_seconds",
    "wall": "wall_seconds",
}


def seconds_a_unit(slices: Slices, quantity: Quantity) -> list[float]:
    """Return what a unit took in each slice."""
    columns = zip(slices["units"], slices[SECONDS[quantity]], strict=True)
    return [seconds / units for units, seconds in columns]


def by_round(slices: Slices, quantity: Quantity) -> dict[int, list[float]]:
    """Return what a unit took in each round, as often as the round had slices that took anything."""
    found: dict[int, list[float]] = {}
    for turn, seconds in zip(slices["round"], seconds_a_unit(slices, quantity), strict=True):
        if seconds:
            found.setdefault(turn, []).append(seconds)
    return found


def ratios(mine: Slices, others: Slices, quantity: Quantity) -> list[float]:
    """Return for each round that both have by how much more I did in the same time.

    Where one of us had several slices in it, it is the median over all pairs of them.
    """
    own, foreign = by_round(mine, quantity), by_round(others, quantity)
    both = [turn for turn in own if turn in foreign]
    return [median(b / a for a, b in product(own[turn], foreign[turn])) for turn in both]


def interval(values: Sequence[float]) -> Interval | None:
    """Return the median and the bootstrap interval around it, None of no values."""
    if not values:
        return None
    middle = float(np.median(values))
    if len(values) == 1:
        return Interval(median=middle, low=middle, high=middle)
    low, high = stats.bootstrap(
        (values,),
        np.median,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=0,
    ).confidence_interval
    return Interval(median=middle, low=float(low), high=float(high))


def compared(mine: Slices, others: Slices, quantity: Quantity) -> Interval | None:
    return interval(ratios(mine, others, quantity))


def noise(twin: Slices, reference: Slices, quantity: Quantity) -> float:
    """Return how far from 1 the ratio of two equal processes may lie, 0.02 for two per cent."""
    pair = compared(twin, reference, quantity)
    return (
        math.inf
        if pair is None
        else math.expm1(max(-math.log(pair["low"]), math.log(pair["high"])))
    )


def differs(values: Sequence[float], floor: float) -> bool:
    """Return whether ratios tell a difference, given the noise of the run."""
    found = interval(values)
    return found is not None and len(values) >= FEWEST and tells(found, floor)


def tells(found: Interval, floor: float) -> bool:
    """Return whether an interval excludes 1, and its median is further off than noise is."""
    excluded = not found["low"] <= 1 <= found["high"]
    return excluded and abs(math.log(found["median"])) > math.log1p(max(floor, LEAST_CLAIMED))


def ranks(
    slices: Mapping[str, Slices], reference: Slices, quantity: Quantity, floor: float
) -> dict[str, int]:
    """Return ranks from 1, the most units in the same time first.

    Who cannot be told from the best of a group shares its rank; the next rank counts all before it.
    """
    middle = {
        name: float(np.median(ratios(each, reference, quantity))) for name, each in slices.items()
    }
    ranked: dict[str, int] = {}
    best, rank = "", 0
    for place, name in enumerate(sorted(middle, key=partial(_descending, middle)), start=1):
        if not best or differs(ratios(slices[name], slices[best], quantity), floor):
            best, rank = name, place
        ranked[name] = rank
    return ranked


def _descending(values: Mapping[str, float], name: str) -> tuple[float, str]:
    return -values[name], name


def agreement(old: Mapping[str, int], new: Mapping[str, int]) -> float | None:
    """Return Kendall's tau of two rankings, from -1 to 1, over the pairs that neither of them ties.

    None where there is no such pair.
    """
    order = [
        (old[one] - old[other]) * (new[one] - new[other])
        for one, other in combinations(sorted(old.keys() & new.keys()), 2)
    ]
    untied = [math.copysign(1, product) for product in order if product]
    return sum(untied) / len(untied) if untied else None


def change(old: Sequence[float], new: Sequence[float]) -> Interval | None:
    """Return the ratio of two medians that were taken in different runs, with its interval."""
    if not old or not new:
        return None

    def ratio(before: Sample, after: Sample, axis: int = -1) -> Any:
        return np.median(after, axis=axis) / np.median(before, axis=axis)

    middle = float(np.median(new) / np.median(old))
    if min(len(old), len(new)) == 1:
        return Interval(median=middle, low=middle, high=middle)
    low, high = stats.bootstrap(
        (old, new),
        ratio,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=0,
    ).confidence_interval
    return Interval(median=middle, low=float(low), high=float(high))
