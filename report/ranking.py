"""The ranked table of the benchmark in README.md: what equal behaviour costs, ties shown as ties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from report.facts import Known

QUANTITIES = ("cpu", "wall")
# What a reader has in mind; how a greeting scales with connections is the page's to show.
SCENARIOS = {
    "hello/32": "hello",
    "websocket": "WebSocket echo",
    "sse": "SSE",
    "poll": "long poll",
    "chat": "chat relay",
}
MISSING = "Nobody has recorded a run of `nox -s bench` yet.\n"

type Records = Mapping[str, Mapping[str, Any]]


def table(known: Sequence[Known]) -> str:
    """Return the newest machine's ranking of the stacks that it measured, and what made it."""
    records = newest(known)
    if not records:
        return MISSING
    columns = {
        scenario: title
        for scenario, title in SCENARIOS.items()
        if any(scenario in record.get("wire", {}) for record in records.values())
    }
    rows = [
        ["App", *columns.values()],
        ["---"] * (1 + len(columns)),
        *(
            [app(name, records), *(cell(records, scenario, name) for scenario in columns)]
            for name in sorted(records, key=lambda name: -first_ratio(records[name], columns))
        ),
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *told(records, columns)]) + "\n"


def newest(known: Sequence[Known]) -> Records:
    """Return the records of the machine that measured last."""
    dates = {
        machine: max(one.benched[machine]["date"] for one in known if machine in one.benched)
        for one in known
        for machine in one.benched
    }
    if not dates:
        return {}
    machine = max(dates, key=lambda name: (dates[name], name))
    return {str(one): one.benched[machine] for one in known if machine in one.benched}


def app(name: str, records: Records) -> str:
    """Return the app's name, with its server where that app was measured on several."""
    found = records[name]["app"]
    several = sum(record["app"] == found for record in records.values()) > 1
    return f"{found} on {records[name]['server']}" if several else found


def first_ratio(record: Mapping[str, Any], columns: Mapping[str, str]) -> float:
    ratio = record.get("wire", {}).get(next(iter(columns), ""), {}).get("cpu_ratio")
    return ratio["median"] if ratio else 0.0


def cell(records: Records, scenario: str, name: str) -> str:
    """Return `**0.58** [0.57 0.59] 2=` for the CPU's time, and below it the same for the clock's."""
    figure = records[name].get("wire", {}).get(scenario)
    if figure is None:
        return "–"
    if figure["invalid"] is not None:
        return "no figure"
    lines = []
    for quantity in QUANTITIES:
        ratio, rank = figure[f"{quantity}_ratio"], figure[f"{quantity}_rank"]
        place = (
            "not ranked"
            if rank is None
            else f"{rank}{'=' * is_tied(records, scenario, quantity, rank)}"
        )
        lines.append(f"**{ratio['median']:.2f}** [{ratio['low']:.2f} {ratio['high']:.2f}] {place}")
    return "<br>".join(lines) + " \\*" * bool(figure["marks"])


def is_tied(records: Records, scenario: str, quantity: str, rank: int) -> bool:
    ranks = Counter(
        record["wire"][scenario][f"{quantity}_rank"]
        for record in records.values()
        if scenario in record.get("wire", {})
    )
    return ranks[rank] > 1


def told(records: Records, columns: Mapping[str, str]) -> list[str]:
    """Return how to read the table, and where it comes from."""
    one = max(records.values(), key=lambda record: record["date"])
    noise = ", ".join(
        f"{title} {' / '.join(f'{100 * twin[quantity]:.1f} %' for quantity in QUANTITIES)}"
        for scenario, title in columns.items()
        if (twin := next(iter(twins(records, scenario)), None))
    )
    machine = one["machine"]
    return [
        f"Work done in the same time as `{one['reference']}`: by the server's CPU time, and below by the",
        "clock. Median of paired ratios [99 % interval] and rank; `=` marks stacks that the run cannot",
        "tell apart, `*` a lower bound, for which the generator was at its limit.",
        f"{machine['processor']}, {machine['cores']} cores, {one['date'][:10]}, `{one['command']}`; A/A pair within (CPU / clock)",
        f"{noise}.",
    ]


def twins(records: Records, scenario: str) -> list[Mapping[str, float]]:
    wires = (record.get("wire", {}).get(scenario) for record in records.values())
    return [wire["noise"] for wire in wires if wire and wire["noise"]]
