"""What `nox -s bench` recorded, in charts: the figures of each machine that ran it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from report.charts import Figure, Panel, Point, ranked
from report.facts import Known

COMMAND = "uvx nox -s bench"
# Of those that were measured: what a person is, one of a few, of many, and of a crowd.
CROWDS = (1, 100, 1000)

type Record = Mapping[str, Any]
type Records = Mapping[str, Record]
# An interval, a number, or words where nothing came of it; what was not measured is a KeyError.
type Quantity = Callable[[Record], object]


def figures(known: Sequence[Known]) -> list[Figure]:
    """Return the figures of each machine that ran the benchmark, or one that says that none did."""
    machines = sorted({machine for one in known for machine in one.benched})
    if not machines:
        text = "Nobody has recorded a run of the benchmark yet."
        missing = [str(one) for one in known]
        return [Figure("bench", "What equal behaviour costs", text, COMMAND, missing=missing)]
    return [figure for machine in machines for figure in _of_machine(known, machine)]


def _of_machine(known: Sequence[Known], machine: str) -> list[Figure]:
    seen = {str(one): one.benched[machine] for one in known if machine in one.benched}
    kinds = list(dict.fromkeys(kind for record in seen.values() for kind in record.get("wire", {})))
    figure = partial(
        Figure,
        command="; ".join(dict.fromkeys(record["command"] for record in seen.values())),
        provenance=_provenance(seen.values()),
        missing=[str(one) for one in known if one.is_default and machine not in one.benched],
    )
    made = [
        figure(
            f"bench-{machine}",
            f"What equal behaviour costs, on {machine}",
            "Work done in the same CPU time as raw ASGI on uvicorn: 0.5 needs twice as much. Median of "
            "paired ratios and its 99 % interval, in the ranks that the benchmark itself gives: stacks "
            "that the run cannot tell apart share one.",
            panels=[_wire(seen, kind, "cpu") for kind in kinds],
        ),
        figure(
            f"rate-{machine}",
            f"The same by the clock, on {machine}",
            "Work done in the same time as raw ASGI on uvicorn: threads that wait for each other cost "
            "little CPU time, and show here.",
            panels=[_wire(seen, kind, "wall") for kind in kinds],
        ),
        figure(
            f"felt-{machine}",
            f"Streaming as a user feels it, on {machine}",
            "So many streams at once, a token due every half second: how late the first event comes, "
            "and what an event costs then. 99 of 100 are earlier. Taken once, so in order and not ranked.",
            panels=[
                *(_crowd(seen, n, "first event, p99", "ms", _first_event) for n in CROWDS),
                *(_crowd(seen, n, "CPU time an event", "ms", _event_cost) for n in CROWDS),
                _panel(seen, "greeting at a fixed rate, p99", "ms", _latency),
                _panel(seen, "echo beside 1,000 idle sockets, p99", "ms", _echo),
            ],
        ),
        figure(
            f"scale-{machine}",
            f"What a silent stream and a silent socket hold, on {machine}",
            "Memory by the slope from the first to the thousandth, and how many were open before a "
            "greeting took over 100 ms; 1,000 were tried. Taken once, so in order and not ranked.",
            panels=[
                _panel(seen, "memory a stream", "KiB", lambda r: _held(r, "streams") / 1024),
                _panel(seen, "memory a socket", "KiB", lambda r: _held(r, "sockets") / 1024),
                _panel(
                    seen, "streams held", "", lambda r: r["scale"]["streams"]["opened"], best=max
                ),
                _panel(
                    seen, "sockets held", "", lambda r: r["scale"]["sockets"]["opened"], best=max
                ),
            ],
        ),
        figure(
            f"footprint-{machine}",
            f"Before anybody has asked, on {machine}",
            "What a stack takes to start, and what the contract takes from the greeting that the "
            "framework's own documentation shows (1 is nothing).",
            panels=[
                _panel(seen, "memory when idle", "MiB", _of("footprint", "idle_bytes"), 2**20),
                _panel(
                    seen,
                    "installed",
                    "MiB",
                    _of("footprint", "installed_bytes"),
                    2**20,
                    is_counted=True,
                ),
                _panel(seen, "CPU time of import app", "s", _of("footprint", "import_cpu_seconds")),
                _panel(
                    seen, "start to first answer", "s", _of("footprint", "first_answer_seconds")
                ),
                _panel(seen, "lines of code", "", _of("footprint", "lines"), is_counted=True),
                _panel(seen, "to a bare greeting", "", _of("floor", "cpu_ratio"), best=max),
            ],
        ),
    ]
    return [replace(each, panels=[p for p in each.panels if p.points]) for each in made]


# On the wire, where the benchmark itself has ranked


def _wire(seen: Records, kind: str, quantity: str) -> Panel:
    wires = {s: r["wire"][kind] for s, r in seen.items() if kind in r.get("wire", {})}
    ranks = [wire[f"{quantity}_rank"] for wire in wires.values()]
    points = [
        Point(
            stack,
            *_interval(wire[f"{quantity}_ratio"]),
            note=wire["invalid"] or "*" * bool(wire["marks"]),
            rank=(rank := wire[f"{quantity}_rank"]),
            is_tied=rank is not None and ranks.count(rank) > 1,
        )
        for stack, wire in wires.items()
    ]
    points.sort(key=lambda point: (point.rank or len(points) + 1, -(point.value or 0)))
    return Panel(kind.replace("_", " "), "to raw ASGI", points)


# Everything else


def _panel(
    seen: Records,
    title: str,
    unit: str,
    quantity: Quantity,
    scale: float = 1,
    best: Callable[..., object] = min,
    *,
    is_counted: bool = False,
) -> Panel:
    """Return what a quantity is for each stack; who was not asked is left out.

    What was measured once, and is no count, has an order and no ranks: another run may turn it round.
    """
    points = []
    for stack, record in seen.items():
        try:
            found = quantity(record)
        except (KeyError, TypeError, StopIteration):  # not measured
            continue
        if isinstance(found, str):
            points.append(Point(stack, None, note=found))
            continue
        interval = found if isinstance(found, Mapping) or found is None else {"median": found}
        points.append(Point(stack, *_interval(interval, scale)))
    placed = ranked(points, lowest_is_best=best is min)
    if not is_counted and all(point.low is None for point in points):
        placed = [replace(point, rank=None, is_tied=False) for point in placed]
    return Panel(title, unit, placed)


def _of(part: str, key: str) -> Quantity:
    return lambda record: record[part][key]


def _held(record: Record, what: str) -> float:
    return float(record["scale"][what]["bytes_each"])


def _latency(record: Record) -> float:
    return 1e3 * float(record["latency"]["hello"]["seconds"]["p99"])


def _echo(record: Record) -> float:
    return 1e3 * float(record["felt"]["echo_beside_idle"]["seconds"]["p99"])


def _crowd(
    seen: Records, wanted: int, title: str, unit: str, quantity: Callable[[Record], float]
) -> Panel:
    """Return a quantity of so many streams; who did not serve them all has no place."""

    def of_all(record: Record) -> object:
        crowd = next(crowd for crowd in record["felt"]["crowds"] if crowd["wanted"] == wanted)
        served = crowd["opened"]
        return quantity(crowd) if served == wanted else f"{served:,} of {wanted:,} served"

    return _panel(seen, f"{title}, {wanted:,} stream{'s' * (wanted > 1)}", unit, of_all)


def _first_event(crowd: Record) -> float:
    return 1e3 * float(crowd["first_event_seconds"]["p99"])


def _event_cost(crowd: Record) -> float:
    return 1e3 * float(crowd["cpu_seconds_an_event"])


def _interval(found: Any, scale: float = 1) -> tuple[float | None, float | None, float | None]:
    """Return median and bounds, divided by `scale`; None for what is not recorded."""
    found = found or {}
    median, low, high = (
        found[name] / scale if name in found else None for name in ("median", "low", "high")
    )
    return median, low, high


def _provenance(records: Iterable[Record]) -> list[str]:
    lines = []
    for record in records:
        machine = record["machine"]
        memory = machine["memory_bytes"] / 2**30
        lines.append(
            f"{machine['processor']}, {machine['cores']} cores, {memory:.0f} GiB, "
            f"{machine['system']}; {record['date'][:10]}"
        )
    return sorted(set(lines))
