"""Measures stacks side by side: what `nox -s bench` runs.

    python -m bench.run [--apps A,B] [--only PART,…] [--quick] [--compare OLD NEW] [--show]

Ctrl-C ends the measuring; what has been measured by then is recorded and shown.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import stacks
from bench import compare, generator, machine, results, table
from bench.figures import Result
from bench.measuring import FULL, PARTS, QUICK, WIRE, Run
from bench.observe import allow_descriptors
from bench.progress import Progress
from conformance import matrix
from stacks import Stack, StackError

# What a generator of requests is needed for.
REQUESTING = {"hello", "poll", "floor"}


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
    console.width = max(console.width, table.wide(found))
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


def selected(parts: Sequence[str] | None, *, quick: bool) -> Sequence[str]:
    """Return the parts that are measured: all of them, or those on the wire, unless some are named."""
    for part in parts or ():
        if part not in PARTS:
            raise StackError(f"--only: no part {part!r}; known: {', '.join(PARTS)}")
    return parts or (WIRE if quick else PARTS)


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
    parts = selected(options.only, quick=options.quick)
    named = chosen(options.apps, options.servers)
    if REQUESTING & set(parts):
        generator.prepare()
    allow_descriptors()
    for stack in named.values():
        stacks.install(stack)
    plan = QUICK if options.quick else FULL
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    with Progress() as progress:
        run = Run(named, parts, plan, seed, progress)
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
