"""What the contract costs: an app's greeting against that of its framework's own documentation.

`apps/<name>/bare.py` is the latter: what the framework's first page shows, served as the app is.
"""

from __future__ import annotations

import asyncio
import dataclasses

from bench import generator, scenarios, statistics
from bench.figures import Floor
from bench.processes import Contender, Taken
from bench.scenarios import Scenario
from bench.slices import Measurement
from bench.wire import fault
from stacks import Stack


def bare(stack: Stack) -> Stack | None:
    """Return the stack that serves the documentation's greeting, None where there is none."""
    if not (stack.folder / "bare.py").exists():
        return None
    command = tuple(part.replace("app:", "bare:") for part in stack.command)
    return dataclasses.replace(stack, command=command)


def name(stack: str) -> str:
    return f"{stack}, bare"


def greet(loop: asyncio.Runner, contender: Contender, waves: int) -> Taken:
    """Take greetings; what a documentation greets with is its own business, but it is the same."""
    if not contender.name.endswith(", bare"):
        return scenarios.hello(320, 32, loop, contender, waves)
    length = len(scenarios.body(contender, "/"))
    return generator.send(contender, ["/"], length, 320 * waves, 32)


SCENARIO = Scenario("floor", "hello", "request", 32, greet)


def figures(measurement: Measurement, date: str) -> dict[str, Floor]:
    """Return the ratio of each app to its bare twin."""
    found = {}
    for stack, series in measurement.series.items():
        other = measurement.series.get(name(stack))
        if other is None or not (series.taken and other.taken):
            continue
        invalid = fault(series) or fault(other)
        mine, twin = series.columns(), other.columns()
        found[stack] = Floor(
            date=date,
            invalid=invalid,
            cpu_ratio=None if invalid else statistics.compared(mine, twin, "cpu"),
            wall_ratio=None if invalid else statistics.compared(mine, twin, "wall"),
            slices=mine,
            bare_slices=twin,
        )
    return found
