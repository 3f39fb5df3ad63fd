"""Measures stacks side by side: what `nox -s bench` runs.

    python -m bench.run [--apps A,B] [--only PART,…] [--quick] [--compare OLD NEW] [--show]

Ctrl-C ends the measuring; what has been measured by then is recorded and shown.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

import stacks
from bench import compare, h2load, machine, processes, results, table, wire
from bench.contenders import CEILING, CEILING_STACK, REFERENCE, TWIN, generating, started
from bench.figures import Result
from bench.interruption import Interruption
from bench.observe import allow_descriptors
from bench.progress import Progress
from bench.scenarios import SCENARIOS, Scenario
from bench.slices import Measurement
from conformance import matrix
from stacks import Stack, StackError

PARTS = tuple(dict.fromkeys(scenario.group for scenario in SCENARIOS))


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    slice_seconds: float
    quick: bool = False


FULL = Plan(rounds=24, slice_seconds=0.15)
QUICK = Plan(rounds=8, slice_seconds=0.05, quick=True)


@dataclass
class Run:
    """A run in progress, and what it has measured."""

    stacks: dict[str, Stack]
    parts: Sequence[str]
    plan: Plan
    seed: int
    progress: Progress
    began: float = field(default_factory=time.monotonic)
    date: str = field(default_factory=lambda: now())
    measurements: list[Measurement] = field(default_factory=list)
    measured_seconds: float = 0.0
    check: Callable[[], None] = lambda: None

    @property
    def scenarios(self) -> list[Scenario]:
        return [scenario for scenario in SCENARIOS if scenario.group in self.parts]

    def measure(self) -> bool:
        """Measure all parts; return whether it came to its end."""
        try:
            with Interruption() as interruption, ExitStack() as exits:
                self.check = interruption.check
                self._measure_wire(exits)
        except KeyboardInterrupt:
            return False
        return True

    def _measure_wire(self, exits: ExitStack) -> None:
        server_core, generator_core = processes.cores()
        order = random.Random(self.seed)
        loop, upstream = exits.enter_context(generating(generator_core))
        named = self.stacks | {TWIN: self.stacks[REFERENCE], CEILING: CEILING_STACK}
        self.progress.tell(f"starting {len(named)} servers")
        environ = {"UPSTREAM_BASE_URL": upstream}
        contenders = exits.enter_context(started(named, environ, server_core))
        for scenario in self.scenarios:
            able = [c for c in contenders.values() if scenario.group not in c.stack.lacks]
            measurement = Measurement.of(scenario, able)
            self.measurements.append(measurement)
            self.progress.tell(scenario.name)
            plan = self.plan
            measurement.take(loop, plan.rounds, plan.slice_seconds, order, self.step)

    def step(self) -> None:
        self.progress.step()
        self.check()

    def results(self) -> dict[str, Result]:
        """Return what has been measured, by stack; a stack of which nothing has been is left out."""
        seconds = time.monotonic() - self.began
        measured = self.measured_seconds + sum(m.measured_seconds for m in self.measurements)
        described, tools = machine.machine(), machine.tools()
        found: dict[str, Result] = {}
        for name, stack in self.stacks.items():
            found[name] = Result(
                app=stack.app,
                server=stack.server,
                interface=stack.interface,
                reference=REFERENCE,
                versions=stack.versions,
                tools=tools,
                machine=described,
                date=self.date,
                command=shlex.join(["nox", "-s", "bench", "--", *sys.argv[1:]]),
                seed=self.seed,
                seconds=round(seconds, 1),
                overhead=round(1 - measured / seconds, 3),
                quick=self.plan.quick,
            )
        for measurement in self.measurements:
            group = measurement.scenario.group
            unranked = {name: wire.unranked(stack, group) for name, stack in self.stacks.items()}
            for name, figure in wire.figures(measurement, self.date, unranked).items():
                found[name].setdefault("wire", {})[measurement.scenario.name] = figure
        return {name: result for name, result in found.items() if "wire" in result}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def record(folder: Path, found: dict[str, Result]) -> None:
    """Write each result; parts of an older file that this run did not measure stay.

    They stay only where they are of the same versions, for nobody would look at each part's date.
    """
    for name, result in found.items():
        path = folder / f"{name}.json"
        old = results.read(path) if path.exists() else None
        if old is not None and old["versions"] == result["versions"]:
            result = merged(old, result)
        results.write(path, result)


def merged(old: Result, new: Result) -> Result:
    wire = old.get("wire", {}) | new.get("wire", {})
    result = Result(**{**old, **new})
    if wire:
        result["wire"] = wire
    return result


def show(folder: Path, console: Console, picture: Path | None = None) -> None:
    """Print the figures that a folder holds, and draw their ranked table."""
    found = results.read_all(folder)
    if not found:
        raise StackError(f"nothing is recorded in {folder}: nox -s bench measures")
    for each in table.shown(found):
        console.print(each)
        console.print()
    console.print(table.LEGEND, style="dim", highlight=False)
    for line in table.notes(found):
        console.print(line, markup=False, highlight=False)
    if picture is not None:
        drawn = matrix.picture("nox -s bench", table.wide(found), table.wire(found), table.LEGEND)
        picture.write_text(drawn)


# The command line


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="nox -s bench --")
    made.add_argument("--apps", type=words, help="some apps only, as in: asgi,flask")
    made.add_argument("--servers", type=words, help="on these instead of each app's first server")
    made.add_argument("--only", type=words, help=f"some parts only, of: {', '.join(PARTS)}")
    made.add_argument("--quick", action="store_true", help="short: wide intervals, and no record")
    made.add_argument("--seed", type=int, help="of the order of stacks in each round")
    made.add_argument("--results", type=Path, help="a folder to record in, instead of the usual")
    made.add_argument("--show", action="store_true", help="measure nothing, show what is recorded")
    made.add_argument("--compare", nargs=2, type=Path, metavar=("OLD", "NEW"), help="two folders")
    return made


def words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def chosen(apps: Sequence[str] | None, servers: Sequence[str] | None) -> dict[str, Stack]:
    """Return the stacks that are measured, by name; the reference always takes part."""
    found = [stacks.find("asgi", "uvicorn")]
    for app in apps or stacks.app_names():
        every = {stack.server: stack for stack in stacks.read_stacks(stacks.find(app).folder)}
        if servers is None:
            found.append(next(iter(every.values())))
        found += [stack for server, stack in every.items() if server in (servers or ())]
    return {str(stack): stack for stack in found}


def selected(parts: Sequence[str] | None) -> Sequence[str]:
    for part in parts or ():
        if part not in PARTS:
            raise StackError(f"--only: no part {part!r}; known: {', '.join(PARTS)}")
    return parts or PARTS


def main(arguments: Sequence[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    console = Console()
    try:
        if options.compare:
            old, new = options.compare
            return compare.show(old, new, console)
        partial = options.quick or options.apps or options.servers
        root = results.QUICK_RECORDS if partial else results.RECORDS
        folder = options.results or root / machine.machine()["name"]
        picture = None if partial or options.results else results.RECORDS.with_suffix(".svg")
        if not options.show:
            measure(options, folder)
        show(folder, console, picture)
    except StackError as error:
        sys.exit(f"error: {error}")


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Measure what was asked for, and record it."""
    parts = selected(options.only)
    h2load.command()
    named = chosen(options.apps, options.servers)
    allow_descriptors()
    for stack in named.values():
        stacks.install(stack)
    plan = QUICK if options.quick else FULL
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    with Progress() as progress:
        run = Run(named, parts, plan, seed, progress)
        progress.expect((len(named) + 2) * (plan.rounds + 1) * len(run.scenarios))
        whole = run.measure()
    found = run.results()
    record(folder, found)
    told = "measured" if whole else "interrupted; what was measured by then is kept"
    overhead = next(iter(found.values()))["overhead"] if found else 1
    print(
        f"{told}: {time.monotonic() - run.began:.0f} s, {100 * overhead:.0f} % of them not spent "
        f"measuring; {folder}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
