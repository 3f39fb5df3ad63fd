"""What the bench claims follows from its slices, and from nothing else."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from bench import statistics
from tests.bench_fakes import columns

ROUNDS = 24


def jittered(median: float, share: float, seed: int) -> list[float]:
    """Return values around a median that scatter by a share of it."""
    source = random.Random(seed)
    return [median * source.lognormvariate(0, share) for _ in range(ROUNDS)]


def drifting(values: Sequence[float]) -> list[float]:
    """Return what a machine makes of values that is twice as fast in every other round."""
    return [value * (1 + turn % 2) for turn, value in enumerate(values)]


def test_ratio_is_of_one_round() -> None:
    """A machine that changes from round to round, for all alike, changes no ratio."""
    mine, other = columns(drifting([2.0] * ROUNDS)), columns(drifting([1.0] * ROUNDS))

    assert statistics.ratios(mine, other, "cpu") == [0.5] * ROUNDS
    assert statistics.compared(mine, other, "cpu") == {"median": 0.5, "low": 0.5, "high": 0.5}


def test_a_round_that_one_lacks_is_left_out() -> None:
    """Where a run was interrupted in the middle of a round, that round compares nobody."""
    assert len(statistics.ratios(columns([1.0] * 3), columns([1.0] * 2), "wall")) == 2


def test_a_ratio_of_several_slices_is_that_of_most() -> None:
    """Where the reference has three servers in a round, the slow one of them does not count."""
    mine, reference = columns([2.0] * 2), columns([1.0, 1.0, 9.0] * 2)
    reference["round"] = [0, 0, 0, 1, 1, 1]

    assert statistics.ratios(mine, reference, "cpu") == [0.5] * 2


def test_interval_can_be_computed_again() -> None:
    """The same slices give the same interval, so whoever has the file can check it."""
    values = jittered(1.0, 0.1, seed=1)

    assert statistics.interval(values) == statistics.interval(values)
    assert statistics.interval([]) is None
    assert statistics.interval([3.0]) == {"median": 3.0, "low": 3.0, "high": 3.0}


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 200 intervals at 99 %, six or fewer miss the median that the values were drawn around."""
    missed = 0
    for seed in range(200):
        found = statistics.interval(jittered(1.0, 0.05, seed))
        assert found is not None
        missed += not found["low"] <= 1.0 <= found["high"]

    assert missed <= 6


def test_difference_has_to_exceed_the_noise() -> None:
    """Where two equal processes differ by 12 %, a difference of 10 % is none, however sure it is."""
    slower = [0.9] * ROUNDS

    assert statistics.differs(slower, floor=0.02)
    assert not statistics.differs(slower, floor=0.12)


def test_a_difference_of_three_per_cent_is_none() -> None:
    """Two processes of one program may differ by as much, even where the A/A pair does not."""
    assert not statistics.differs([0.97] * ROUNDS, floor=0.0)
    assert statistics.differs([0.94] * ROUNDS, floor=0.0)


def test_agreement_is_of_pairs_that_nobody_ties() -> None:
    """Of three pairs one is turned round and one is a tie in one of the runs."""
    agree = statistics.agreement

    assert agree({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "c": 3}) == 1
    assert agree({"a": 1, "b": 2, "c": 3}, {"a": 2, "b": 1, "c": 3}) == pytest.approx(1 / 3)
    assert agree({"a": 1, "b": 1, "c": 3}, {"a": 1, "b": 2, "c": 2}) == 1
    assert agree({"a": 1, "b": 1}, {"a": 1, "b": 2}) is None


def test_few_rounds_claim_nothing() -> None:
    """Less than eight slices cannot exclude anything in 99 of 100 cases."""
    assert not statistics.differs([0.5] * (statistics.FEWEST - 1), floor=0.0)
    assert statistics.differs([0.5] * statistics.FEWEST, floor=0.0)


def test_noise_is_the_farther_end_of_the_pair() -> None:
    """The A/A pair's interval says how far from 1 two equal processes may be."""
    reference, twin = columns([1.0] * ROUNDS), columns([1.25] * ROUNDS)

    assert statistics.noise(twin, reference, "cpu") == pytest.approx(0.25)
    assert statistics.noise(reference, reference, "cpu") == 0


def test_ties_share_a_rank_and_the_next_counts_them() -> None:
    """Two that cannot be told apart are both first; the third is third."""
    slices = {
        "a": columns(jittered(1.0, 0.03, 1)),
        "b": columns(jittered(1.0, 0.03, 2)),
        "c": columns(jittered(2.0, 0.03, 3)),
        "d": columns(jittered(3.0, 0.03, 4)),
    }

    assert statistics.ranks(slices, slices["a"], "cpu", 0.01) == {"a": 1, "b": 1, "c": 3, "d": 4}


def test_threads_are_ranked_by_the_clock_apart() -> None:
    """What is cheap by CPU time and slow by the clock has a rank in each."""
    threads = columns([1.0] * ROUNDS, wall=[4.0] * ROUNDS)
    loop = columns([2.0] * ROUNDS, wall=[2.0] * ROUNDS)
    slices = {"threads": threads, "loop": loop}

    assert statistics.ranks(slices, loop, "cpu", 0.01) == {"threads": 1, "loop": 2}
    assert statistics.ranks(slices, loop, "wall", 0.01) == {"loop": 1, "threads": 2}


def test_change_between_runs() -> None:
    """A stack that got 10 % slower against the reference is told from one that did not."""
    before, after = jittered(0.5, 0.03, 1), jittered(0.45, 0.03, 2)
    slower, same = statistics.change(before, after), statistics.change(before, before)

    assert slower is not None and slower["high"] < 1
    assert same is not None and same["low"] <= 1 <= same["high"]
    assert statistics.change(before, []) is None
