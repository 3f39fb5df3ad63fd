"""A run records what it measured, marks what its generator limited, and leaves nothing running."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import jsonschema
import psutil
import pytest
from rich.console import Console

import stacks
from bench import compare, results, run, table, wire
from bench.contenders import CEILING, REFERENCE, TWIN
from bench.figures import Machine, Result, Slices, Wire
from bench.measuring import Plan, Run
from bench.processes import Contender, Taken
from bench.progress import Progress
from bench.slices import Measurement, Series
from conformance import results as conformance
from tests.bench_fakes import BURN, columns, reference

ROUNDS = 24
DATE = "2026-11-26T00:00:00+00:00"
MACHINE = Machine(
    name="linux-mine-2-cores",
    processor="Mine",
    cores=2,
    memory_bytes=1 << 33,
    system="Linux x86_64",
    kernel="6.1",
    governor="performance",
    server_cores=[1],
    generator_cores=[0],
)


def series(name: str, each: Slices, invalid: str | None = None) -> Series:
    """Return what was taken of a server that does not exist."""
    running = stacks.Running.__new__(stacks.Running)
    names = ("units", "wall_seconds", "server_cpu_seconds", "generator_cpu_seconds")
    taken = [Taken(*row) for row in zip(*(each[name] for name in names), strict=True)]  # type: ignore[literal-required]  # its columns
    return Series(Contender(name, running), list(each["round"]), taken, invalid)


def measured(**others: Series | Slices) -> dict[str, Wire]:
    """Return the figures of the reference, which takes 1 s a unit, and of others beside it."""
    given: dict[str, Series | Slices] = {
        REFERENCE: columns([1.0] * ROUNDS),
        TWIN: columns([1.01] * ROUNDS),
        CEILING: columns([0.1] * ROUNDS),
        **{name.replace("_", "-"): each for name, each in others.items()},
    }
    every = {n: each if isinstance(each, Series) else series(n, each) for n, each in given.items()}
    unranked = dict.fromkeys(every)
    return wire.figures(Measurement(BURN, every), DATE, unranked)


def result(app: str, figure: Wire, **head: object) -> Result:
    made = Result(
        app=app,
        server="uvicorn",
        interface="ASGI",
        reference=REFERENCE,
        versions={"uvicorn": "1"},
        tools={"python": "3.13"},
        machine=MACHINE,
        date=DATE,
        command="nox -s bench",
        seed=1,
        seconds=1.0,
        overhead=0.2,
        quick=False,
        wire={"sse": figure},
    )
    return cast(Result, made | head)


# Figures


def test_a_generator_at_its_ceiling_is_marked() -> None:
    """Who comes within 80 % of a server that only answers may be faster than its figure."""
    figures = measured(
        near_uvicorn=columns([0.12] * ROUNDS),
        far_uvicorn=columns([0.13] * ROUNDS),
        busy_uvicorn=columns([1.0] * ROUNDS, generator=0.95),
    )

    assert figures["near-uvicorn"]["marks"] == ["generator_at_ceiling"]
    assert figures["far-uvicorn"]["marks"] == []
    assert figures["busy-uvicorn"]["marks"] == ["generator_busy"]
    assert figures["far-uvicorn"]["ceiling_units_a_second"] == 10


def test_an_invalid_series_has_a_reason_and_no_rank() -> None:
    """What was wrong once has no ratio, however many slices were right before."""
    wrong = series("wrong-uvicorn", columns([0.5] * ROUNDS), invalid="it said nonsense")
    figures = measured(wrong_uvicorn=wrong, slow_uvicorn=columns([2.0] * ROUNDS))

    assert figures["wrong-uvicorn"]["invalid"] == "wrong-uvicorn: it said nonsense"
    assert figures["wrong-uvicorn"]["cpu_ratio"] is None
    assert figures["wrong-uvicorn"]["cpu_rank"] is None
    assert figures["slow-uvicorn"]["cpu_rank"] == 2
    assert figures["slow-uvicorn"]["ranked"] == 2


def test_without_controls_nothing_is_claimed() -> None:
    """Where the reference's twin failed, there is no noise to compare with, and no figure."""
    every = {
        REFERENCE: series(REFERENCE, columns([1.0] * ROUNDS)),
        TWIN: series(TWIN, columns([]), invalid="gone"),
        CEILING: series(CEILING, columns([0.1] * ROUNDS)),
    }
    figures = wire.figures(Measurement(BURN, every), DATE, {REFERENCE: None})

    assert figures[REFERENCE]["invalid"] == f"{TWIN}: gone"


def judged(folder: Path, outcome: str = "passed", version: str = "1") -> stacks.Stack:
    """Write what a stack came to in conformance, and return it as if `uvicorn` 1 were locked."""
    lock = folder / "lock.txt"
    lock.write_text("uvicorn==1\n")
    stack = stacks.Stack("mine", "uvicorn", "Mine", "ASGI", lock=lock, dependencies=("uvicorn",))
    case = conformance.Case(outcome=outcome, level="required", message="", seconds=0)
    conformance.write(
        folder / "mine-uvicorn.json",
        conformance.Result(
            app="mine",
            server="uvicorn",
            interface="ASGI",
            suite="sha256:0",
            versions={"uvicorn": version},
            machine="Mine",
            date=DATE,
            seconds=1,
            cases={"sse/it_streams": case},
        ),
    )
    return stack


def test_what_fails_its_group_is_not_ranked(tmp_path: Path) -> None:
    """A stack is ranked where its cases passed or their failure is declared, in these versions."""
    stack = judged(tmp_path)
    assert wire.unranked(stack, "sse", tmp_path) is None
    assert wire.unranked(stack, "poll", tmp_path) == "its conformance was not judged by poll"

    judged(tmp_path, outcome="expected-failure")
    assert wire.unranked(stack, "sse", tmp_path) is None
    judged(tmp_path, outcome="failed")
    assert wire.unranked(stack, "sse", tmp_path) == "it fails sse/it_streams"
    judged(tmp_path, version="2")
    assert wire.unranked(stack, "sse", tmp_path) == "its conformance was judged in other versions"
    (tmp_path / "mine-uvicorn.json").unlink()
    assert wire.unranked(stack, "sse", tmp_path) == "its conformance was never judged"


def test_table_shows_ties_marks_and_reasons() -> None:
    """A cell holds both ratios and ranks; a mark, a fault and a missing rank are seen."""
    figures = measured(
        tied_uvicorn=columns([1.005] * ROUNDS),
        near_uvicorn=columns([0.12] * ROUNDS),
        wrong_uvicorn=series("wrong-uvicorn", columns([]), invalid="nonsense"),
    )
    found = {name: result(name.partition("-")[0], each) for name, each in figures.items()}
    console = Console(record=True, width=200)
    for each in table.shown(found):
        console.print(each)
    shown = console.export_text()

    assert table.ratio_cell(figures[REFERENCE]).plain == "1.00 (2) / 1.00 (2)"
    assert table.ratio_cell(figures["tied-uvicorn"]).plain == "1.00 (2) / 1.00 (2)"
    assert table.ratio_cell(figures["near-uvicorn"]).plain == "8.33 (1) / 8.33 (1)*"
    assert table.ratio_cell(figures["wrong-uvicorn"]).plain == "!"
    assert "A/A pair within 1.0 % / 1.0 %" in shown
    assert table.notes(found) == ["! wrong-uvicorn sse: wrong-uvicorn: nonsense"]


# Files


def test_file_reads_back_with_a_column_a_line(tmp_path: Path) -> None:
    """A result survives its file, in which the slices of a column are one line."""
    path = tmp_path / "asgi-uvicorn.json"
    made = result("asgi", measured()[REFERENCE])
    results.write(path, made)

    assert results.read(path) == made
    lines = path.read_text().splitlines()
    assert sum('"units": [1, 1, 1' in line for line in lines) == 3


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("overhead", -1, id="negative_share"),
        pytest.param("colour", "red", id="unknown_key"),
        pytest.param("machine", {}, id="no_machine"),
        pytest.param("wire", {"sse": {}}, id="no_figure"),
    ],
)
def test_wrong_file_is_not_written(tmp_path: Path, key: str, value: object) -> None:
    """What the schema forbids raises, and nothing is written."""
    with pytest.raises(jsonschema.ValidationError):
        results.write(tmp_path / "x.json", result("x", measured()[REFERENCE], **{key: value}))

    assert not list(tmp_path.iterdir())


def test_parts_that_were_not_measured_stay(tmp_path: Path) -> None:
    """A run of one scenario keeps the others of the file, unless they are of other versions."""
    figure = measured()[REFERENCE]
    run.record(tmp_path, {"a-uvicorn": result("a", figure, wire={"sse": figure})})
    run.record(tmp_path, {"a-uvicorn": result("a", figure, wire={"poll": figure})})
    assert sorted(results.read_all(tmp_path)["a-uvicorn"]["wire"]) == ["poll", "sse"]

    newer = result("a", figure, wire={"poll": figure}, versions={"uvicorn": "2"})
    run.record(tmp_path, {"a-uvicorn": newer})
    assert sorted(results.read_all(tmp_path)["a-uvicorn"]["wire"]) == ["poll"]


def test_compare_tells_changes_from_noise(tmp_path: Path) -> None:
    """A stack that got slower is named; one within the A/A pair's noise did not change."""
    for folder, slow in (("old", 2.0), ("new", 2.2)):
        figures = measured(slow_uvicorn=columns([slow] * ROUNDS), same_uvicorn=columns([3.0] * 24))
        found = {name: result(name.partition("-")[0], each) for name, each in figures.items()}
        run.record(tmp_path / folder, found)
    told = {row[:3]: row[3:] for row in compare.rows(tmp_path / "old", tmp_path / "new")}

    assert told["slow-uvicorn", "sse", "cpu"] == ("0.909", "[0.909 0.909]", "slower")
    assert told["same-uvicorn", "sse", "wall"][-1] == "no change beyond noise"
    assert len(told) == 6
    (line,) = compare.agreements(tmp_path / "old", tmp_path / "new")
    assert line.startswith("sse: Kendall's tau outside ties cpu 1.00, wall 1.00; A/A pair by cpu ")
    assert line.endswith("0.990 [0.990 0.990] and 0.990 [0.990 0.990]")
    with pytest.raises(stacks.StackError, match="no figure of the same"):
        compare.show(tmp_path / "old", tmp_path, Console())


# Runs

DRIVER = """
import sys
from pathlib import Path
from bench import run
from bench.measuring import Plan, Run
from bench.progress import Progress
from bench.contenders import REFERENCE
from tests.bench_fakes import reference

class Telling(Progress):
    def step(self, steps=1):
        print("step", flush=True)

folder = Path(sys.argv[1])
with Telling() as progress:
    plan = Plan(rounds=int(sys.argv[2]), slice_seconds=0.01)
    measuring = Run({REFERENCE: reference(folder)}, ["sse"], plan, 1, progress)
    whole = measuring.measure()
run.record(folder / "results", measuring.results())
print("whole" if whole else "interrupted", flush=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_its_slices(tmp_path: Path, sent: signal.Signals) -> None:
    """Ctrl-C and SIGTERM end a run; what was measured is recorded and no server is left."""
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path), "100000"],
        cwd=stacks.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        for _ in range(3 + 9):
            assert process.stdout.readline() == "step\n"
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(sent)
        told = process.stdout.read().splitlines()

    assert told[-1] == "interrupted"
    figure = results.read_all(tmp_path / "results")[REFERENCE]["wire"]["sse"]
    assert figure["invalid"] is None
    assert len(figure["slices"]["round"]) >= 3
    assert len(started) == 3
    assert not [each for each in started if each.is_running()]


def test_a_run_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole run has every slice, the controls' too, and tells what it ran on."""
    with Progress() as progress:
        plan = Plan(rounds=8, slice_seconds=0.01, servers=2)
        running = Run({REFERENCE: reference(tmp_path)}, ["sse"], plan, 1, progress)
        assert running.measure()
    found = running.results()
    run.record(tmp_path / "results", found)

    figure = found[REFERENCE]["wire"]["sse"]
    assert figure["invalid"] is None
    in_turn = [turn for turn in range(8) for _ in range(4)]
    assert figure["slices"]["round"] == figure["twin_slices"]["round"] == in_turn
    assert figure["cpu_ratio"] == {"median": 1, "low": 1, "high": 1}
    assert figure["ceiling_units_a_second"] > 0
    assert 0 < found[REFERENCE]["overhead"] < 1
    assert found[REFERENCE]["tools"].keys() >= {"picows", "python", "scipy", "uvloop"}
    run.show(tmp_path / "results", Console(), tmp_path / "drawn.svg")
    assert "A/A pair" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "drawn.svg").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--only", "ws"], "no part 'ws'; known: hello, websocket", id="part"),
        pytest.param(["--apps", "bottle"], "no app 'bottle'", id="app"),
        pytest.param(["--show", "--results", "/nowhere"], "nothing is recorded", id="nothing"),
    ],
)
def test_wrong_options(options: list[str], message: str) -> None:
    """An unknown part or app is an error that lists the known ones."""
    with pytest.raises(SystemExit, match=re.escape(message)):
        run.main(options)


def test_reference_always_takes_part() -> None:
    """Whatever apps are named, there is something to compare them with."""
    assert list(run.chosen(["flask"], None)) == [REFERENCE, "flask-gunicorn"]
    assert run.chosen(None, None).keys() >= {"asgi-uvicorn", "wsgi-gunicorn"}
