"""Slices taken in turn: every stack in each round, in random order.

Servers that are compared see the same machine only if they take turns faster than it changes.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.figures import Slices
from bench.processes import Contender, Invalid, Taken
from bench.scenarios import Scenario

# A slice that is calibrated wrongly, on a machine that hiccups, is not too long nevertheless.
MOST_WAVES = 100
WARM_UP_UNITS = 500


@dataclass
class Series:
    """The slices of one stack so far, and why they are no figure where they are none."""

    contender: Contender
    rounds: list[int] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    invalid: str | None = None
    waves: int = 1

    @property
    def family(self) -> Sequence[Contender]:
        """The servers of the stack."""
        return (self.contender, *self.contender.siblings)

    def due(self, turn: int, slices: int) -> Iterator[Contender]:
        """Yield those of them whose turn it is in a round."""
        count = len(self.family)
        for number in range(slices if count > 1 else 1):
            yield self.family[(turn * slices + number) % count]

    def columns(self) -> Slices:
        return Slices(
            round=list(self.rounds),
            units=[taken.units for taken in self.taken],
            wall_seconds=[round(taken.wall_seconds, 7) for taken in self.taken],
            server_cpu_seconds=[round(taken.server_cpu_seconds, 7) for taken in self.taken],
            generator_cpu_seconds=[round(taken.generator_cpu_seconds, 7) for taken in self.taken],
        )


@dataclass
class Measurement:
    """One scenario on some servers; what was taken stays when the run is interrupted."""

    scenario: Scenario
    series: dict[str, Series]
    measured_seconds: float = 0.0

    @classmethod
    def of(cls, scenario: Scenario, contenders: Iterable[Contender]) -> Measurement:
        return cls(scenario, {each.name: Series(each) for each in contenders})

    def take(
        self,
        loop: asyncio.Runner,
        rounds: int,
        slice_seconds: float,
        order: random.Random,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """Warm each server up, then take the rounds; `tell` is called behind each slice,
        and once for each stack behind its warming up.

        A stack that answers wrongly once is left out from there on.
        """
        calibrated: list[Series] = []
        for series in self.series.values():
            self._warm_up(loop, series)
            stack = series.contender.stack
            twin = next((other for other in calibrated if other.contender.stack == stack), None)
            if twin is None:
                self._calibrate(loop, series, slice_seconds)
                calibrated.append(series)
            else:  # a connection weighs more in fewer units, so an A/A pair is given as many
                series.waves = twin.waves
            tell()
        every, slices = self.series.values(), self.scenario.slices
        for turn in range(rounds):
            due = [(each, whose) for each in every for whose in each.due(turn, slices)]
            for series, whose in order.sample(due, len(due)):
                if (taken := self._slice(loop, series, whose)) is not None:
                    series.rounds.append(turn)
                    series.taken.append(taken)
                    self.measured_seconds += taken.wall_seconds
                tell()
        for series in self.series.values():
            self._check_trees(series)

    def _warm_up(self, loop: asyncio.Runner, series: Series) -> None:
        """Send each server so many units that it is warm."""
        if (taken := self._slice(loop, series, series.contender)) is not None:
            series.waves = min(math.ceil(WARM_UP_UNITS / taken.units), MOST_WAVES)
            for contender in series.family:
                self._slice(loop, series, contender)

    def _calibrate(self, loop: asyncio.Runner, series: Series, slice_seconds: float) -> None:
        """See how many waves fill a slice.

        In two steps, for what comes once a connection is most of a short slice; and the second asks
        every server, for one slice may be twice as long as the next.
        """
        for servers in (series.family[:1], series.family):
            slices = [self._slice(loop, series, contender) for contender in servers]
            walls = [taken.wall_seconds for taken in slices if taken is not None]
            if series.invalid is None:
                waves = round(series.waves * slice_seconds / median(walls))
                series.waves = min(max(waves, 1), MOST_WAVES)

    def _slice(self, loop: asyncio.Runner, series: Series, whose: Contender) -> Taken | None:
        try:
            if series.invalid is None:
                return self.scenario.run(loop, whose, series.waves)
        except Invalid as error:
            series.invalid = str(error)
        return None

    def _check_trees(self, series: Series) -> None:
        try:
            for contender in series.family:
                contender.check_tree()
        except Invalid as error:
            series.invalid = series.invalid or str(error)
