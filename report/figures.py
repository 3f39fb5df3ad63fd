"""What was measured, in charts: what was asked, of whom, when and how, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from bench import relay
from report import benched
from report.charts import Figure, Panel, Point, ranked
from report.facts import Known

# Figures of `nox -s observe`


def observed_figures(known: Sequence[Known]) -> list[Figure]:
    """Return the figures of the relays; all are there, and say so where nothing is recorded."""
    seen = {str(one): one.observed for one in known if one.observed is not None}
    figure = partial(
        Figure,
        command="uvx nox -s observe",
        provenance=_provenance(seen.values()),
        missing=[str(one) for one in known if one.observed is None],
    )
    return [
        figure(
            "cancel",
            "How soon generation stops when the reader leaves",
            "From the client's FIN to the end of the connection to the model, by what the stream was "
            "doing. Median and quartiles.",
            panels=[_cancel(seen, phase) for phase in phases(seen.values())],
        ),
        figure(
            "added",
            "What the relay adds",
            "Time between a token that the model says and the client that reads it, with so many "
            "streams at once. Median and quartiles.",
            panels=[
                _added(seen, crowd, of, name)
                for of, name in (("first_token", "first token"), ("token", "each token"))
                for crowd in sorted(
                    {c for record in seen.values() for c in record["added"]}, key=int
                )
            ],
        ),
        figure(
            "memory",
            "A reader who stops reading",
            "How much of the model's flood the relay takes for a client that does not read, and how "
            "much its memory grows meanwhile. Taken once, so without a spread.",
            panels=[
                _plain(seen, "stalled_reader_takes", "taken from the model", "MiB"),
                _plain(seen, "stalled_reader_grows", "growth of memory", "MiB"),
            ]
            if seen
            else [],
        ),
        figure(
            "stopping",
            "Stopping, and how many streams it holds",
            "SIGTERM with one open stream, until the process has ended; and streams that are open at "
            "once while a new one is still answered, up to 1,000. Taken once.",
            panels=[
                _plain(seen, "sigterm_seconds", "SIGTERM takes", "s"),
                _plain(seen, "streams_held", "streams held", "", lowest_is_best=False),
            ]
            if seen
            else [],
        ),
    ]


def phases(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the phases in which clients left, in the order of a stream."""
    recorded = {phase for record in records for phase in record["cancel"]}
    return [phase for phase in relay.PHASES if phase in recorded]


def _cancel(seen: Mapping[str, Mapping[str, Any]], phase: str) -> Panel:
    points = []
    for stack, record in seen.items():
        found = record["cancel"].get(phase)
        if found is None or found["milliseconds"] is None:
            points.append(Point(stack, None, note="not noticed" if found else "not measured"))
            continue
        missed = found["of"] - found["noticed"]
        note = f" ({missed} of {found['of']} never)" if missed else ""
        value, low, high = found["milliseconds"]
        points.append(Point(stack, value, low, high, note))
    return Panel(f"left {phase}", "ms", ranked(points))


def _added(seen: Mapping[str, Mapping[str, Any]], crowd: str, of: str, name: str) -> Panel:
    points = [
        Point(stack, *record["added"][crowd][of])
        if crowd in record["added"]
        else Point(stack, None, note="not measured")
        for stack, record in seen.items()
    ]
    streams = "1 stream" if crowd == "1" else f"{crowd} streams"
    return Panel(f"{name}, {streams}", "ms", ranked(points))


def _plain(
    seen: Mapping[str, Mapping[str, Any]],
    key: str,
    title: str,
    unit: str,
    *,
    lowest_is_best: bool = True,
) -> Panel:
    points = [
        Point(stack, record[key], note="" if record[key] is not None else "not within 15 s")
        for stack, record in seen.items()
    ]
    return Panel(title, unit, ranked(points, lowest_is_best=lowest_is_best))


def _provenance(records: Iterable[Mapping[str, Any]]) -> list[str]:
    lines: dict[str, list[str]] = {}
    for record in records:
        days = lines.setdefault(record["machine"], [])
        days.append(record["date"][:10])
    return [
        f"{machine}; {min(days)}" + (f" to {max(days)}" if min(days) != max(days) else "")
        for machine, days in lines.items()
    ]


# Figures of locks


def lock_figure(known: Sequence[Known]) -> Figure:
    """Return how many packages each stack installs, which its lock says."""
    counted = [Point(str(one), len(one.packages)) for one in known if one.packages is not None]
    return Figure(
        "packages",
        "What comes with it",
        "Packages that the lock of a stack installs on Linux, its server, its WebSocket library and "
        "the HTTP client of the relay included. Counted, so without a spread.",
        "uvx nox -s lock",
        [Panel("packages", "", ranked(counted))] if counted else [],
        ["the locks in apps/"],
        [str(one) for one in known if one.packages is None],
    )


def all_figures(known: Sequence[Known]) -> list[Figure]:
    """Return every figure of the page, also those of which nothing is recorded."""
    return [*observed_figures(known), lock_figure(known), *benched.figures(known)]
