"""Figures of the relay that are observed and never judged: how soon, how much, how many.

    python -m bench.observe [APP …] [--server NAME] [--show]

A figure that has a spread is a list: its median, its lower and its upper quartile.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import statistics
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from rich.console import Console
from rich.table import Table

import stacks
from bench import relay
from conformance import matrix, results
from conformance.memory import MIB
from conformance.upstream import Upstream

RECORDS = stacks.ROOT / "results" / "observe"

type Spread = list[float]


class Cancel(TypedDict):
    """One phase: milliseconds from the client's FIN to the end of the upstream's connection."""

    milliseconds: Spread | None
    noticed: int
    of: int


class Added(TypedDict):
    """Milliseconds that the stack adds, with so many streams at once."""

    first_token: Spread
    token: Spread


class Observed(TypedDict):
    """What was observed of one stack. Sizes in MiB."""

    app: str
    server: str
    versions: dict[str, str]
    machine: str
    date: str
    seconds: float
    cancel: dict[str, Cancel]
    stalled_reader_takes: float
    stalled_reader_grows: float
    added: dict[str, Added]
    sigterm_seconds: float | None
    sigterm_client_sees: str
    streams_held: int


def observe(stack: stacks.Stack) -> Observed:
    """Take all figures of a stack, which is started for it."""
    began, date = time.monotonic(), datetime.datetime.now(datetime.UTC)
    upstream = Upstream()
    with served(stack, upstream) as running:
        tell(stack, "what the relay adds")
        added = {str(count): adds(running, upstream, count) for count in relay.CROWDS}
        cancel = {}
        for phase in relay.PHASES:
            tell(stack, f"a client leaves, {phase}")
            cancel[phase] = cancels(running, upstream, phase)
    # Each of these has a server that has seen nothing: what was freed once hides what grows again.
    tell(stack, "a client stops reading")
    with served(stack, upstream) as running:
        taken, grown = relay.stalled(running, upstream)
    tell(stack, "streams that are held")
    with served(stack, upstream) as running:
        held = relay.held(running, upstream)
    tell(stack, "SIGTERM with an open stream")
    with served(stack, upstream) as running:
        seconds, sees = relay.stopped(running, upstream)
    upstream.close()
    return Observed(
        app=stack.app,
        server=stack.server,
        versions=stack.versions,
        machine=results.machine(),
        date=date.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        cancel=cancel,
        stalled_reader_takes=round(taken / MIB, 1),
        stalled_reader_grows=round(grown / MIB, 1),
        added=added,
        sigterm_seconds=seconds,
        sigterm_client_sees=sees,
        streams_held=held,
    )


def tell(stack: stacks.Stack, what: str) -> None:
    print(f"{stack}: {what}", file=sys.stderr, flush=True)


@contextmanager
def served(stack: stacks.Stack, upstream: Upstream) -> Iterator[stacks.Running]:
    """Start the stack with the defaults of an operator, but for its upstream."""
    with stacks.serve(stack, environ={"UPSTREAM_BASE_URL": upstream.url}) as running:
        running.wait_until_ready()
        yield running


def adds(running: stacks.Running, upstream: Upstream, count: int) -> Added:
    first, each = relay.added(running, upstream, count)
    return Added(first_token=spread(first), token=spread(each))


def cancels(running: stacks.Running, upstream: Upstream, phase: str) -> Cancel:
    seen = relay.cancel(running, upstream, phase)
    noticed = [value for value in seen if value is not None]
    milliseconds = spread(noticed) if noticed else None
    return Cancel(milliseconds=milliseconds, noticed=len(noticed), of=len(seen))


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles around it."""
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return [round(value, 2) for value in (middle, lower, upper)]


def table(observed: Sequence[Observed]) -> Table:
    """Return figures down, stacks across."""
    grid = Table(box=None, pad_edge=False)
    grid.add_column("", no_wrap=True)
    for stack in observed:
        grid.add_column(f"{stack['app']}\n{stack['server']}", justify="right")
    for phase in relay.PHASES:
        grid.add_row(f"left {phase}, ms", *(cancelled(s["cancel"][phase]) for s in observed))
    grid.add_row("stalled reader takes, MiB", *(f"{s['stalled_reader_takes']}" for s in observed))
    grid.add_row("  and memory grows, MiB", *(f"{s['stalled_reader_grows']}" for s in observed))
    for count in map(str, relay.CROWDS):
        for name, words in (("first_token", "first token"), ("token", "token")):
            cells = [f"{s['added'][count][name][0]}" for s in observed]  # type: ignore[literal-required]  # one of two
            grid.add_row(f"added to {words} of {count}, ms", *cells)
    grid.add_row("SIGTERM takes, s", *(f"{s['sigterm_seconds'] or 'over 15'}" for s in observed))
    grid.add_row("  its client sees", *(s["sigterm_client_sees"] for s in observed))
    most = relay.MOST_STREAMS
    held = [f"{s['streams_held']}{'+' if s['streams_held'] == most else ''}" for s in observed]
    grid.add_row("streams held", *held)
    return grid


def cancelled(cancel: Cancel) -> str:
    if cancel["milliseconds"] is None:
        return f"over {relay.NOTICED_WITHIN:g} s"
    missed = cancel["of"] - cancel["noticed"]
    return f"{cancel['milliseconds'][0]}" + (f" ({missed} never)" if missed else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Take the figures of some apps, or of all, and show what is recorded."""
    parser = argparse.ArgumentParser(prog="bench.observe")
    parser.add_argument("apps", nargs="*", help="all of them without any")
    parser.add_argument("--server", help="instead of each app's first one")
    parser.add_argument("--show", action="store_true", help="take no figures, show those there are")
    options = parser.parse_args(arguments)
    try:
        chosen = [stacks.find(app, options.server) for app in options.apps or stacks.app_names()]
        if not options.show:
            allow_descriptors()
            for stack in chosen:
                stacks.install(stack)
                write(RECORDS / f"{stack}.json", observe(stack))
    except stacks.StackError as error:
        sys.exit(f"error: {error}")
    show([f"{stack}.json" for stack in chosen])


def allow_descriptors() -> None:
    """Allow this process and what it starts the descriptors that a thousand streams take."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def write(path: Path, observed: Observed) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(observed, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def show(names: Sequence[str]) -> None:
    """Print the figures of some stacks, and draw those of all."""
    every = {path.name: json.loads(path.read_text()) for path in sorted(RECORDS.glob("*.json"))}
    chosen: list[Observed] = [every[name] for name in names if name in every]
    if not chosen:
        sys.exit("nothing is recorded of these: nox -s observe takes the figures")
    Console(width=wide(chosen)).print(table(chosen))
    drawn = matrix.picture("nox -s observe", wide(every), table(list(every.values())))
    RECORDS.with_suffix(".svg").write_text(drawn)


def wide(stacks: Collection[object]) -> int:
    return 30 + 12 * len(stacks)


if __name__ == "__main__":
    main()
