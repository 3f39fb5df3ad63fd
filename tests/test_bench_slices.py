"""The method tells servers apart whose cost is known, on a machine that is busy with other things.

Each of these burns its CPU time in hashes, so 10 % more of them are 10 % more. There are more and
shorter rounds here than in a run, for the machine that runs tests has less peace than a bench.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

import stacks
from bench import processes, statistics
from bench.figures import Slices
from bench.processes import Contender, Invalid, Taken
from bench.scenarios import Scenario
from bench.slices import Measurement
from tests.bench_fakes import BURN, burn, burners

ROUNDS = 100
SLICE_SECONDS = 0.008


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def measured(loop: asyncio.Runner) -> dict[str, Slices]:
    hashes = {"reference": 600, "twin": 600, "equal": 600, "slower": 660}
    with burners(hashes) as contenders:
        measurement = Measurement.of(BURN, contenders.values())
        measurement.take(loop, ROUNDS, SLICE_SECONDS, random.Random(0))
    assert [each.invalid for each in measurement.series.values()] == [None] * 4
    return {name: each.columns() for name, each in measurement.series.items()}


def test_ten_per_cent_slower_is_found_slower(measured: dict[str, Slices]) -> None:
    """A server that burns 10 % more is told from the reference, and the size of it is right."""
    reference = measured["reference"]
    floor = statistics.noise(measured["twin"], reference, "cpu")
    found = statistics.ratios(measured["slower"], reference, "cpu")

    assert statistics.differs(found, floor)
    told = statistics.compared(measured["slower"], reference, "cpu")
    assert told is not None
    assert told["median"] == pytest.approx(1 / 1.1, abs=0.04)


def test_equal_is_a_tie(measured: dict[str, Slices]) -> None:
    """A server that burns as much cannot be told from the reference and shares its rank."""
    reference = measured["reference"]
    floor = statistics.noise(measured["twin"], reference, "cpu")
    slices = {name: measured[name] for name in ("reference", "equal", "slower")}

    ranks = statistics.ranks(slices, reference, "cpu", floor)
    assert ranks == {"reference": 1, "equal": 1, "slower": 3}


def test_every_server_once_a_round_in_changing_order(loop: asyncio.Runner) -> None:
    """No server is always measured behind the same other one."""
    seen: list[str] = []

    def note(loop: asyncio.Runner, contender: Contender, waves: int) -> Taken:
        seen.append(contender.name)
        return burn(loop, contender, waves)

    with burners({"a": 1, "b": 1, "c": 1}) as contenders:
        measurement = Measurement.of(Scenario("note", "hello", "x", 1, note), contenders.values())
        measurement.take(loop, 20, 0.0001, random.Random(0))
    rounds = [tuple(seen[start : start + 3]) for start in range(len(seen) - 60, len(seen), 3)]

    assert {tuple(sorted(each)) for each in rounds} == {("a", "b", "c")}
    assert len(set(rounds)) > 3


def test_servers_of_a_stack_take_turns(loop: asyncio.Runner) -> None:
    """Of a stack's five servers four have a slice in each round, and all as many in the end."""
    seen: list[int] = []

    def note(loop: asyncio.Runner, contender: Contender, waves: int) -> Taken:
        seen.append(contender.port)
        return burn(loop, contender, waves)

    with burners(dict.fromkeys("abcde", 1)) as contenders:
        first, *siblings = contenders.values()
        first.siblings = siblings
        measurement = Measurement.of(Scenario("note", "hello", "x", 1, note), [first])
        measurement.take(loop, 5, 0.0001, random.Random(0))
    [series] = measurement.series.values()

    assert series.rounds == [turn for turn in range(5) for _ in range(4)]
    assert Counter(seen[-20:]) == dict.fromkeys((each.port for each in series.family), 4)


def test_equal_stacks_have_as_many_units_a_slice(loop: asyncio.Runner) -> None:
    """What comes once a connection weighs the same on both of a pair, however their warming up went."""
    asked: dict[str, list[int]] = {"a": [], "b": []}

    def note(loop: asyncio.Runner, contender: Contender, waves: int) -> Taken:
        asked[contender.name].append(waves)
        seconds = 0.001 if contender.name == "a" else 0.002
        return Taken(waves, waves * seconds, waves * seconds, 0.0)

    with burners({"a": 1}) as contenders:
        first, twin = contenders["a"], Contender("b", contenders["a"].running)
        twin.settle()
        measurement = Measurement.of(Scenario("note", "hello", "x", 1, note), [first, twin])
        measurement.take(loop, 3, 0.05, random.Random(0))

    assert asked["a"][-3:] == asked["b"][-3:] == [50] * 3


def test_a_slice_is_filled_although_connections_take_most_of_a_short_one(
    loop: asyncio.Runner,
) -> None:
    """What a wave takes alone says little of how many of them fill a slice."""
    walls: list[float] = []

    def note(loop: asyncio.Runner, contender: Contender, waves: int) -> Taken:
        walls.append(0.015 + 0.005 * waves)
        return Taken(500 * waves, walls[-1], 0.01, 0.0)

    with burners({"a": 1}) as contenders:
        measurement = Measurement.of(Scenario("note", "hello", "x", 1, note), contenders.values())
        measurement.take(loop, 3, 0.1, random.Random(0))

    assert walls[-1] == pytest.approx(0.1, rel=0.3)


def test_a_sibling_that_ended_is_no_figure(loop: asyncio.Runner) -> None:
    """What becomes of one server of a stack, becomes of the stack's figure."""
    scenario = Scenario("s", "hello", "x", 1, lambda *_: Taken(1, 0.1, 0.1, 0.1))
    with burners({"a": 1, "b": 1}) as contenders:
        contenders["a"].siblings = [contenders["b"]]
        contenders["b"].running.kill()
        measurement = Measurement.of(scenario, [contenders["a"]])
        measurement.take(loop, 2, 0.1, random.Random(0))

    assert measurement.series["a"].invalid == "had 1 processes, and now has 0 that differ"


def test_a_wrong_answer_ends_a_series(loop: asyncio.Runner) -> None:
    """Whoever answers wrongly once is measured no further, and the others are."""
    calls = {"good": 0, "bad": 0}

    def stumble(loop: asyncio.Runner, contender: Contender, waves: int) -> Taken:
        calls[contender.name] += 1
        if contender.name == "bad" and calls["bad"] > 5:
            raise Invalid("it said nonsense")
        return burn(loop, contender, waves)

    with burners({"good": 1, "bad": 1}) as contenders:
        measurement = Measurement.of(Scenario("s", "hello", "x", 1, stumble), contenders.values())
        measurement.take(loop, 10, 0.0001, random.Random(0))

    assert measurement.series["bad"].invalid == "it said nonsense"
    assert calls["bad"] == 6
    assert measurement.series["good"].rounds == list(range(10))


def test_a_server_that_ended_is_no_figure(loop: asyncio.Runner) -> None:
    """A process that ends takes its CPU time along, so nothing is claimed of it."""
    with burners({"a": 1}) as contenders:
        contenders["a"].running.kill()

        with pytest.raises(Invalid, match="ended meanwhile"):
            contenders["a"].cpu_seconds()
        with pytest.raises(Invalid, match="had 1 processes, and now has 0"):
            contenders["a"].check_tree()


def test_cpu_time_is_what_the_process_says() -> None:
    """The clock of another process shows what that process reads from its own."""
    program = "import time; sum(range(10**6)); print(time.process_time(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        told = float(child.stdout.readline())
        seen = processes.cpu_seconds(psutil.Process(child.pid))
        child.communicate("\n")

    assert seen == pytest.approx(told, abs=0.01)


def test_memory_is_laid_out_alike() -> None:
    """What is started meanwhile has its code where all the others have theirs, if that can be told."""
    program = "import ctypes; print(ctypes.addressof(ctypes.pythonapi.Py_GetVersion))"
    look = [sys.executable, "-c", program]
    with processes.laid_out_alike() as told:
        alike = {subprocess.check_output(look) for _ in range(5)}
    unlike = {subprocess.check_output(look) for _ in range(5)}

    assert (len(alike) == 1) is told
    assert len(unlike) > 1


def test_a_listener_of_somebody_else_is_refused() -> None:
    """A server that an earlier run left on the port is not measured by mistake."""
    with socket.create_server((stacks.HOST, 0)) as stranger, burners({"a": 1}) as contenders:
        port = stranger.getsockname()[1]
        pids = {process.pid for process in contenders["a"].processes}

        with pytest.raises(stacks.StackError, match="none of .* listens"):
            processes.check_listener(port, pids)
        processes.check_listener(contenders["a"].port, pids)


def test_a_second_listener_is_refused() -> None:
    """Where two share a port the kernel picks who answers, so neither is measured."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((stacks.HOST, 0))
        port = one.getsockname()[1]
        one.listen()
        child = (
            "import socket, sys; s = socket.socket(); "
            "s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1); "
            f"s.bind(('{stacks.HOST}', {port})); s.listen(); print(flush=True); input()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as stranger:
            assert stranger.stdout is not None
            stranger.stdout.readline()
            with pytest.raises(stacks.StackError, match="listens too"):
                processes.check_listener(port, {os.getpid()})
            stranger.communicate("\n")
