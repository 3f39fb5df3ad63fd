"""A run: which parts are measured of which stacks, in which order, and what is left of them."""

from __future__ import annotations

import asyncio
import random
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bench import felt, floor, footprint, machine, processes, scale, wire
from bench.contenders import CEILING, CEILING_STACK, REFERENCE, TWIN, generating, started
from bench.figures import Felt, Floor, Footprint, Result, Scale
from bench.interruption import Interruption
from bench.latency import SLICE_SECONDS, Latencies
from bench.processes import Contender
from bench.progress import Progress
from bench.scenarios import SCENARIOS, Scenario
from bench.slices import Measurement
from stacks import Stack

WIRE = tuple(dict.fromkeys(scenario.group for scenario in SCENARIOS))
PARTS = (*WIRE, "latency", "felt", "floor", "scale", "footprint")

# What a stack takes in each part, for the progress bar.
SECONDS = {"felt": 15.0, "scale": 15.0, "footprint": 15.0}


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    slice_seconds: float
    crowds: Sequence[int] = felt.CROWDS
    most_connections: int = 256
    servers: int = 1
    quick: bool = False

    def servers_of(self, name: str) -> int:
        """Return how many servers of a stack take turns: the reference is part of every ratio."""
        return self.servers if name in (REFERENCE, TWIN) else 1


FULL = Plan(rounds=24, slice_seconds=0.1, servers=8)
# A wave of 256 connections takes ten times such a slice.
QUICK = Plan(rounds=8, slice_seconds=0.05, crowds=(1, 20, 100), most_connections=32, quick=True)


@dataclass
class Run:
    """A run in progress, and what it has measured by now."""

    stacks: dict[str, Stack]
    parts: Sequence[str]
    plan: Plan
    seed: int
    progress: Progress
    began: float = field(default_factory=time.monotonic)
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    measured_seconds: float = 0.0
    check: Callable[[], None] = lambda: None

    wire: list[Measurement] = field(default_factory=list)
    latencies: Latencies | None = None
    floors: Measurement | None = None
    felt: dict[str, Felt] = field(default_factory=dict)
    scale: dict[str, Scale] = field(default_factory=dict)
    footprints: dict[str, Footprint] = field(default_factory=dict)

    @property
    def scenarios(self) -> list[Scenario]:
        asked = [scenario for scenario in SCENARIOS if scenario.group in self.parts]
        return [each for each in asked if each.connections <= self.plan.most_connections]

    def measure(self) -> bool:
        """Measure all parts; return whether it came to its end."""
        self.order = random.Random(self.seed)
        self.progress.expect(self._expected_seconds())
        server_core, generator_core = processes.cores()
        try:
            with Interruption() as interruption, generating(generator_core) as (loop, upstream):
                self.check = interruption.check
                environ = {"UPSTREAM_BASE_URL": upstream}
                if set(self.parts) & {*WIRE, "latency", "felt", "floor"}:
                    self._side_by_side(loop, environ, server_core)
                self._one_by_one(loop, environ, server_core)
        except KeyboardInterrupt:
            return False
        return True

    def _expected_seconds(self) -> float:
        seconds = sum(map(self._expected_slices, self.scenarios)) * self.plan.slice_seconds
        if "latency" in self.parts:
            seconds += self.plan.rounds * len(self.stacks) * SLICE_SECONDS
        if "floor" in self.parts:
            seconds += 2 * self._expected_slices(floor.SCENARIO) * self.plan.slice_seconds
        return seconds + len(self.stacks) * sum(SECONDS.get(part, 0) for part in self.parts)

    def _expected_slices(self, scenario: Scenario) -> int:
        servers = map(self.plan.servers_of, self._compared)
        due = [scenario.slices if count > 1 else 1 for count in servers]
        return self.plan.rounds * sum(due) + len(due)

    def _step(self, seconds: float | None = None) -> None:
        self.progress.step(self.plan.slice_seconds if seconds is None else seconds)
        self.check()

    # Servers that are compared, all up at once

    @property
    def _compared(self) -> dict[str, Stack]:
        return self.stacks | {TWIN: self.stacks[REFERENCE], CEILING: CEILING_STACK}

    def _side_by_side(
        self, loop: asyncio.Runner, environ: Mapping[str, str], core: set[int]
    ) -> None:
        servers = self.plan.servers_of
        self.progress.tell(f"starting {sum(map(servers, self._compared))} servers")
        with started(self._compared, environ, core, servers) as contenders:
            for scenario in self.scenarios:
                able = [c for c in contenders.values() if scenario.group not in c.stack.lacks]
                self.wire.append(Measurement.of(scenario, able))
                self._take(loop, self.wire[-1])
            own = {name: contenders[name] for name in self.stacks}
            if "latency" in self.parts:
                self.progress.tell("latency")
                self.latencies = Latencies(own.values())
                with self._measuring():
                    step = lambda: self._step(SLICE_SECONDS)  # two words
                    self.latencies.take(loop, self.plan.rounds, self.order, step)
            if "felt" in self.parts:
                self._feel(loop, own)
            if "floor" in self.parts:
                self._measure_floors(loop, own, environ, core)

    def _take(self, loop: asyncio.Runner, measurement: Measurement) -> None:
        self.progress.tell(measurement.scenario.name)
        plan = self.plan
        try:
            measurement.take(loop, plan.rounds, plan.slice_seconds, self.order, self._step)
        finally:
            self.measured_seconds += measurement.measured_seconds

    def _feel(self, loop: asyncio.Runner, contenders: Mapping[str, Contender]) -> None:
        for name, contender in contenders.items():
            self.progress.tell(f"felt, {name}")
            with self._measuring():
                self.felt[name] = felt.measure(loop, contender, self.plan.crowds, self.date)
            self._step(SECONDS["felt"])

    def _measure_floors(
        self,
        loop: asyncio.Runner,
        contenders: Mapping[str, Contender],
        environ: Mapping[str, str],
        core: set[int],
    ) -> None:
        bare = {name: floor.bare(stack) for name, stack in self.stacks.items()}
        named = {floor.name(name): stack for name, stack in bare.items() if stack is not None}
        pairs = [contender for name, contender in contenders.items() if bare[name] is not None]
        with started(named, environ, core) as others:
            self.floors = Measurement.of(floor.SCENARIO, [*pairs, *others.values()])
            self._take(loop, self.floors)

    # Servers that are started anew

    def _one_by_one(self, loop: asyncio.Runner, environ: Mapping[str, str], core: set[int]) -> None:
        for name, stack in self.stacks.items():
            if "scale" in self.parts:
                self.progress.tell(f"scale, {name}")
                with self._measuring():
                    self.scale[name] = scale.measure(loop, stack, environ, core, self.date)
                self._step(SECONDS["scale"])
            if "footprint" in self.parts:
                self.progress.tell(f"footprint, {name}")
                with self._measuring():
                    self.footprints[name] = footprint.measure(stack, environ, core, self.date)
                self._step(SECONDS["footprint"])

    @contextmanager
    def _measuring(self) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.measured_seconds += time.monotonic() - start

    # What is left of it

    def results(self) -> dict[str, Result]:
        """Return what has been measured, by stack; a stack of which nothing has been is left out."""
        seconds = time.monotonic() - self.began
        described, tools = machine.machine(), machine.tools()
        found = {
            name: Result(
                app=stack.app,
                server=stack.server,
                interface=stack.interface,
                reference=REFERENCE,
                versions=stack.versions,
                tools=tools,
                machine=described,
                date=self.date,
                command=shlex.join(
                    ["nox", "-s", "bench", *(["--"] if sys.argv[1:] else []), *sys.argv[1:]]
                ),
                seed=self.seed,
                seconds=round(seconds, 1),
                overhead=round(max(1 - self.measured_seconds / seconds, 0), 3),
                quick=self.plan.quick,
            )
            for name, stack in self.stacks.items()
        }
        for measurement in self.wire:
            group = measurement.scenario.group
            unranked = {name: wire.unranked(stack, group) for name, stack in self.stacks.items()}
            for name, figure in wire.figures(measurement, self.date, unranked).items():
                found[name].setdefault("wire", {})[measurement.scenario.name] = figure
        latencies = self.latencies.figures(self.date) if self.latencies is not None else {}
        floors = self._floor_figures()
        for name, result in found.items():
            if name in latencies:
                result["latency"] = {"hello": latencies[name]}
            if name in floors:
                result["floor"] = floors[name]
            if name in self.felt:
                result["felt"] = self.felt[name]
            if name in self.scale:
                result["scale"] = self.scale[name]
            if name in self.footprints:
                result["footprint"] = self.footprints[name]
        parts = {"wire", "latency", "felt", "scale", "footprint", "floor"}
        return {name: result for name, result in found.items() if result.keys() & parts}

    def _floor_figures(self) -> dict[str, Floor]:
        return floor.figures(self.floors, self.date) if self.floors is not None else {}
