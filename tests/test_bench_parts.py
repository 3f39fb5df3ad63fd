"""What is measured beside the wire: each figure is right where it can be known."""

from __future__ import annotations

import ast
import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import stacks
from bench import felt, floor, footprint, latency, relay, scale, table
from bench.contenders import generating, started
from bench.figures import Result
from bench.latency import Latencies
from tests.bench_fakes import reference

GREETING = 'await respond(scope, send, 200, "Hello from ASGI (ASGI)!")'
IN_CHUNKS = """await send(response_start(200, {"content-type": "text/plain"}))
    await send({"type": "http.response.body", "body": b"Hello from ASGI (ASGI)!"})"""

APP = '''
"""A docstring."""

import json  # counts

LIMIT = 10

# A comment.
def hello():
    """Another."""
    return shared()


def shared():
    return LIMIT


async def sse(text=(
    1,
)):
    for each in tokens(text):
        yield each, shared()


def tokens(text):
    hello = text
    return json.loads(hello)


routes = {"/": hello, "/sse": sse}
'''


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with generating(set()) as (runner, _):
        yield runner


# Footprint


def test_lines_by_endpoint() -> None:
    """Shared functions belong to all who name them; the routing, which names all, to nobody."""
    assert footprint.lines_by_endpoint(APP) == {
        "hello": {"own": 2, "all": 5},
        "sse": {"own": 8, "all": 11},
    }


def test_lines_of_code() -> None:
    """Blank lines, comments and docstrings are no code."""
    module = ast.parse('"""Doc."""\n\n# no\nx = [\n    1,\n]\n')

    assert footprint.code_lines(module) == {4, 5, 6}


def test_every_app_has_its_endpoints() -> None:
    """Each app of the house defines the handlers that lines are counted by."""
    for name in stacks.app_names():
        source = (stacks.APPS / name / "app.py").read_text()

        found = footprint.lines_by_endpoint(source)
        assert all(0 < each["own"] <= each["all"] for each in found.values()), name


def test_installed_bytes_leave_bytecode_out(tmp_path: Path) -> None:
    """Bytecode depends on what has been imported, so it is not counted."""
    (tmp_path / "a.py").write_bytes(b"12345")
    (tmp_path / "a.pyc").write_bytes(b"123")

    assert footprint.installed_bytes(tmp_path) == 5


def test_what_is_not_installed_says_so(tmp_path: Path) -> None:
    """A stack without an environment has no footprint, and the message names the place."""
    with pytest.raises(stacks.StackError, match="is not installed in"):
        footprint.site_packages(reference(tmp_path))


# Floor


def test_bare_greeting_is_served_as_the_app_is() -> None:
    """The floor differs from the app in its module and in nothing else."""
    stack = stacks.find("flask")
    bare = floor.bare(stack)

    assert bare is not None
    assert bare.command == tuple(p.replace("app:app", "bare:app") for p in stack.command)
    assert (bare.folder, bare.lock) == (stack.folder, stack.lock)


def test_an_app_without_bare_greeting_has_no_floor(tmp_path: Path) -> None:
    """Nothing is made up for a framework whose documentation nobody has looked at."""
    assert floor.bare(reference(tmp_path)) is None


# Latency


def test_a_slow_server_is_not_spared(tmp_path: Path, loop: asyncio.Runner) -> None:
    """At 200 requests a second a server of 50 a second falls behind, and its users wait for that.

    From the moment that it is asked it takes 20 ms; what is told is how long each has waited.
    """
    slow = reference(tmp_path, GREETING, f"import time; time.sleep(0.02); {GREETING}")
    with started({"slow": slow}, {}, set()) as each:
        taken = Latencies(each.values())
        taken.take(loop, 1, random.Random(0))
    figure = taken.figures("2026-11-26T00:00:00+00:00")["slow"]

    assert figure["invalid"] is None
    assert figure["seconds"] is not None
    assert figure["seconds"]["samples"] == round(latency.RATE * latency.SLICE_SECONDS)
    assert figure["seconds"]["p50"] > 0.2


def test_a_greeting_in_chunks_has_a_latency(tmp_path: Path, loop: asyncio.Runner) -> None:
    """An app need not say how long its answer is."""
    chunked = reference(tmp_path, GREETING, IN_CHUNKS)
    with started({"chunked": chunked}, {}, set()) as each:
        taken = Latencies(each.values())
        taken.take(loop, 1, random.Random(0))
    figure = taken.figures("2026-11-26T00:00:00+00:00")["chunked"]

    assert figure["invalid"] is None
    assert figure["seconds"] is not None


def test_wrong_greetings_have_no_latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors are quick; they are no response times."""
    monkeypatch.setattr(stacks.Running.wait_until_ready, "__defaults__", (2.0,))
    broken = reference(tmp_path, GREETING, GREETING.replace("200", "500"))
    with pytest.raises(stacks.StackError, match="500"), started({"broken": broken}, {}, set()):
        pass


def test_saturated() -> None:
    """A server that is at its limit at this rate is marked: its requests waited for others."""
    assert latency.saturated([0.5, 0.9, 0.95])
    assert not latency.saturated([0.5, 0.9, 0.2])
    assert not latency.saturated([])


# Felt


def test_streams_as_felt(
    tmp_path: Path, loop: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every stream is served, tokens come when they are due and no sooner."""
    monkeypatch.setattr(felt, "IDLE_SOCKETS", 5)
    monkeypatch.setattr(felt, "ECHOES", 10)
    with started({"it": reference(tmp_path)}, {}, set()) as each:
        found = felt.measure(loop, each["it"], [1, 5], "2026-11-26T00:00:00+00:00")

    assert [crowd["opened"] for crowd in found["crowds"]] == [1, 5]
    crowd = found["crowds"][1]
    assert crowd["first_event_seconds"] is not None and crowd["gap_seconds"] is not None
    assert crowd["gap_seconds"]["samples"] == 5 * (felt.TOKENS - 1)
    assert crowd["gap_seconds"]["p50"] == pytest.approx(felt.DELAY_SECONDS, abs=0.3)
    assert crowd["first_event_seconds"]["p50"] < crowd["gap_seconds"]["p50"]
    assert found["echo_beside_idle"] is not None
    assert found["echo_beside_idle"]["opened"] == 5


def test_a_stream_without_events_is_not_served(tmp_path: Path, loop: asyncio.Runner) -> None:
    """A server that refuses has no first event, and no time for one."""
    old = "await send(response_start(200, STREAM_HEADERS))\n    if"
    refusing = reference(tmp_path, old, old.replace("200", "503"))
    with started({"it": refusing}, {}, set()) as each:
        crowd = loop.run(felt.crowd(each["it"], 3))

    assert (crowd["opened"], crowd["first_event_seconds"]) == (0, None)


# Scale


def test_memory_of_silent_streams(
    tmp_path: Path, loop: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are held, and what each takes is the slope of what was seen."""
    monkeypatch.setattr(scale, "STEPS", (0, 1, 20, 40))
    monkeypatch.setattr(relay, "SLOW", 10_000)
    found = scale.measure(loop, reference(tmp_path), {}, set(), "2026-11-26T00:00:00+00:00")

    for held in (found["streams"], found["sockets"]):
        assert held is not None
        assert held["opened"] == held["wanted"] == 40
        assert [point["open"] for point in held["points"]] == [0, 1, 20, 40]
        assert held["bytes_each"] is not None


def test_slope() -> None:
    """The first stream loads what the others use, so the slope begins behind it."""
    points = [
        {"open": float(count), "memory_bytes": memory, "hello_seconds": 0.001}
        for count, memory in ((0, 0), (1, 9000.0), (10, 18_000.0), (20, 28_000.0))
    ]

    assert scale.slope(points) == 1000
    assert scale.slope(points[:2]) is None


def test_table_leaves_out_what_nobody_has() -> None:
    """A part that was not measured has no rows."""
    nothing = cast(Result, {})

    assert table.told(lambda result: result["felt"]["crowds"], nothing) == "–"
    assert table.told(lambda result: 0.123456, nothing) == "0.123"


def test_no_figure_of_latency_is_told() -> None:
    """What is no figure stands in the table as `!`, and below it why."""
    hello = {"invalid": "it said nonsense", "seconds": None}
    found = {"asgi-uvicorn": cast(Result, {"latency": {"hello": hello}})}

    assert list(table.others(found).columns[1].cells)[:2] == ["!", "!"]
    assert table.notes(found) == ["! asgi-uvicorn hello at a fixed rate: it said nonsense"]
