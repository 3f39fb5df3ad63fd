"""What README.md says of the stacks is what their manifests and the records say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import stacks
from report import facts, ranking, readme
from report.facts import Known


def test_readme_lists_the_stacks() -> None:
    """Its tables are up to date: nox -s report -- --picture writes them."""
    text = readme.PATH.read_text()

    assert readme.with_tables(text) == text


def test_every_app_has_a_row_with_its_servers() -> None:
    """No app is left out, and its default server comes first."""
    rows = readme.table().splitlines()[2:]

    assert len(rows) == len(stacks.app_names())
    for row, name in zip(rows, stacks.app_names(), strict=True):
        assert row.split(" | ")[2].split(", ")[0] == stacks.find(name).server


def test_a_text_without_marks_is_an_error() -> None:
    """A README that has lost its marks is not written over."""
    with pytest.raises(ValueError, match="has no <!-- made by"):
        readme.with_tables("no table here")


# What it costs


def benched(app: str, date: str = "2026-11-26T10:00:00+00:00", **wire: Any) -> Known:
    """Return a stack that was benched on machine `m`, with figures by scenario."""
    stack = stacks.find(app)
    one = next(one for one in facts.read(Path("nowhere")) if one.stack == stack)
    record = {
        "app": app,
        "server": stack.server,
        "reference": "asgi-uvicorn",
        "command": "nox -s bench",
        "date": date,
        "machine": {"processor": "Abacus", "cores": 2},
        "wire": wire,
    }
    return replace(one, benched={f"m{date}": record})


def figure(ratio: float, rank: int | None, **more: Any) -> dict[str, Any]:
    interval = {"median": ratio, "low": ratio - 0.01, "high": ratio + 0.01}
    return {
        "invalid": None,
        "marks": [],
        "cpu_ratio": interval,
        "wall_ratio": interval,
        "cpu_rank": rank,
        "wall_rank": None,
        "noise": {"cpu": 0.012, "wall": 0.05},
        **more,
    }


def test_costs_are_ranked_with_their_ties() -> None:
    """The quickest comes first; who shares a rank is marked, and so is a lower bound."""
    made = ranking.table(
        [
            benched("fastapi", sse=figure(0.5, 2)),
            benched("flask", sse=figure(0.51, 2, marks=["generator_busy"])),
            benched("asgi", sse=figure(1.0, 1)),
            benched("wsgi", sse=figure(0.4, None, invalid="it said nonsense")),
        ]
    )
    rows = made.splitlines()

    assert rows[0] == "| App | SSE |"
    assert rows[2] == "| asgi | **1.00** [0.99 1.01] 1<br>**1.00** [0.99 1.01] not ranked |"
    assert rows[3].startswith("| flask | **0.51** [0.50 0.52] 2=<br>")
    assert rows[3].endswith(" \\* |")
    assert rows[4].startswith("| fastapi | **0.50** [0.49 0.51] 2=<br>")
    assert rows[5] == "| wsgi | no figure |"
    assert "Abacus" in made
    assert "SSE 1.2 % / 5.0 %" in made


def test_costs_are_of_the_machine_that_measured_last() -> None:
    """Figures of two machines are never in one table."""
    old = benched("asgi", "2026-11-01T10:00:00+00:00", sse=figure(1.0, 1))
    new = benched("flask", "2026-11-02T10:00:00+00:00", sse=figure(0.5, 2))

    assert list(ranking.newest([old, new])) == [str(new)]


def test_no_costs_are_told() -> None:
    """Without a record the README says so, instead of showing an empty table."""
    assert ranking.table([benched("asgi")]).startswith("| App |")
    assert ranking.table(facts.read(Path("nowhere"))) == ranking.MISSING
