"""The figures of `nox -s observe` tell a relay that hangs up from one that does not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import stacks
from bench import observe, relay
from conformance.upstream import Upstream
from tests.mutants import SOURCES, Mutant, all_mutants

MUTANTS = {mutant.name: mutant for mutant in all_mutants()}


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take each figure a few times only, and wait a second for what never comes."""
    monkeypatch.setattr(relay, "REPEATS", 3)
    monkeypatch.setattr(relay, "NOTICED_WITHIN", 1.0)
    monkeypatch.setattr(relay, "CROWDS", {1: 2, 20: 2})
    monkeypatch.setattr(relay, "MOST_STREAMS", 20)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


def reference(folder: Path, mutant: Mutant | None = None) -> stacks.Stack:
    """Write the ASGI reference and its small server into `folder`."""
    for file, path in SOURCES.items():
        (folder / file).write_text(mutant.source(file) if mutant else path.read_text())
    command = (sys.executable, "server.py", "--host", "{host}", "--port", "{port}")
    return stacks.Stack("asgi", "small", "ASGI", "ASGI", command, folder=folder)


def test_all_figures_of_the_reference(tmp_path: Path) -> None:
    """The reference hangs up in every phase, piles nothing up, and has a figure in every row."""
    observed = observe.observe(reference(tmp_path))

    noticed = {phase: (c["noticed"], c["of"]) for phase, c in observed["cancel"].items()}
    assert noticed == dict.fromkeys(relay.PHASES, (3, 3))
    for phase, cancel in observed["cancel"].items():
        assert cancel["milliseconds"] is not None, phase
        assert 0 < cancel["milliseconds"][0] < 1000, phase
    assert observed["stalled_reader_takes"] < 96
    assert observed["stalled_reader_grows"] < 32
    assert observed["streams_held"] == 20
    console = Console(record=True, width=100)
    console.print(observe.table([observed]))
    shown = console.export_text()
    assert "20+" in shown
    assert "left silent" in shown


def test_a_relay_that_never_hangs_up(tmp_path: Path, upstream: Upstream) -> None:
    """A phase that nobody notices ends after a few misses and has no time."""
    stack = reference(tmp_path, MUTANTS["nobody_leaves"])
    with observe.served(stack, upstream) as running:
        cancel = observe.cancels(running, upstream, "silent")

    assert cancel == {"milliseconds": None, "noticed": 0, "of": relay.MISSES}
    assert observe.cancelled(cancel) == "over 1 s"


def test_a_relay_that_notices_at_the_next_token(tmp_path: Path, upstream: Upstream) -> None:
    """A relay that learns of a leaver by writing is told from one that never does."""
    stack = reference(tmp_path, MUTANTS["listens_on_in_silence"])
    with observe.served(stack, upstream) as running:
        silent = observe.cancels(running, upstream, "silent")
        talking = observe.cancels(running, upstream, "between tokens")

    assert silent["noticed"] == 0
    assert talking["noticed"] == talking["of"] == 3


def test_a_relay_without_bound(tmp_path: Path, upstream: Upstream) -> None:
    """A relay that takes whatever it is given for a stalled reader shows it in both figures."""
    stack = reference(tmp_path, MUTANTS["queues_without_bound"])
    with observe.served(stack, upstream) as running:
        taken, grown = relay.stalled(running, upstream)

    assert taken >= relay.FLOOD
    assert grown > 32 << 20


def test_show_without_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is recorded, the message says what records it."""
    monkeypatch.setattr(observe, "RECORDS", tmp_path)

    with pytest.raises(SystemExit, match="nox -s observe"):
        observe.main(["asgi", "--show"])


def test_unknown_app() -> None:
    """An unknown app is an error that lists the known ones."""
    with pytest.raises(SystemExit, match="asgi"):
        observe.main(["nobody", "--show"])
