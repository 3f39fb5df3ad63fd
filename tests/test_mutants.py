"""Every required case of the suite can fail: each is killed by a mutant, and none kills more."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import chdir, closing
from functools import partial
from pathlib import Path

import _hypothesis_pytestplugin
import pytest
import pytest_timeout

import stacks
from conformance import cases, results
from conformance.results import Level, Outcome
from conformance.tokens import make_tables
from tests.mutants import ROOT, SOURCES, Mutant, all_mutants
from tests.zygote import Forked, Zygote

# What needs --slow waits for a minute, and what fails much waits much, so these go first.
MUTANTS = sorted(all_mutants(), key=lambda m: (len(m.options), len(m.fails)), reverse=True)
SUITE = sorted((ROOT / "conformance").glob("test_*.py"))
TITLE = ("--title", "ASGI", "--interface", "ASGI")
# To look for what is installed takes a third of what it takes to begin a run, so what the suite needs
# is given; the time that a test has is measured by the run that this one is a part of. Two plugins
# collect garbage five times at the end of a run, which takes longer than many a mutant does.
GIVEN = (pytest_timeout, _hypothesis_pytestplugin)
OPTIONS = (
    *("-c", str(ROOT / "pyproject.toml"), "--tb=no", "-q", "--timeout=0"),
    *("--disable-plugin-autoload", "-p", "no:unraisableexception", "-p", "no:threadexception"),
)
make_tables()
APPLICABLE = [case.id for case in cases.declared() if case.lacking is None]
# A level is no excuse for a mutant: a `should` that it names has to fail too.
NOT_KILLED = (Outcome.PASSED, Outcome.LACKS, Outcome.OBSERVED)


def judge(
    folder: Path,
    mutant: Mutant | None,
    options: Sequence[str] = (),
    files: Sequence[Path] = SUITE,
) -> results.Result:
    """Run the suite, in this process, against the reference with one mutant or none in it."""
    for file in SOURCES:
        text = mutant.source(file) if mutant else SOURCES[file].read_text()
        (folder / file).write_text(text)
    command = f"{sys.executable} {folder / 'server.py'} --host {{host}} --port {{port}}"
    record = folder / "result.json"
    options = (*OPTIONS, "--command", command, *TITLE, "--results", str(record), *options)
    with chdir(folder):  # where the server looks for app.py
        exit_status = pytest.main([*options, *map(str, files)], [*GIVEN])
    assert record.exists(), f"the suite did not run to its end: {exit_status!r}"
    result = results.read(record)
    reds = [n for n, c in result["cases"].items() if results.is_red(c["outcome"], c["level"])]

    assert (exit_status == pytest.ExitCode.OK) == (reds == []), f"{exit_status!r}, red: {reds}"
    return result


def files_of(names: Iterable[str]) -> list[Path]:
    """Return the files of the suite that hold these cases."""
    modules = {case.id: case.module for case in cases.declared()}
    wanted = {modules.get(name) for name in names}
    return [path for path in SUITE if path.stem in wanted]


def killed(result: results.Result) -> dict[str, str]:
    """Return the outcome and message of each case that did not pass."""
    return {
        name: f"{case['outcome']}: {case['message']}"
        for name, case in sorted(result["cases"].items())
        if case["outcome"] not in NOT_KILLED
    }


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new folder, named after the test: for the next free number, lanes would race."""
    return tmp_path_factory.mktemp(request.node.callspec.id, numbered=False)


@pytest.mark.parametrize("file", [pytest.param(p, id=p.stem) for p in files_of(APPLICABLE)])
def test_the_reference_fails_nothing(folder: Path, file: Path) -> None:
    """The ASGI reference on the small server passes every case of the suite."""
    assert killed(judge(folder, None, ["--slow"], [file])) == {}


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with closing(Zygote(tmp_path_factory.getbasetemp())) as zygote:
        yield zygote


@pytest.fixture(autouse=True)
def forked(monkeypatch: pytest.MonkeyPatch, zygote: Zygote) -> None:
    """Servers are forked from a process that has imported all that they need."""
    monkeypatch.setattr(stacks, "popen", partial(Forked, zygote))


@pytest.mark.parametrize("mutant", [pytest.param(m, id=m.name) for m in MUTANTS])
def test_mutant_fails_what_it_names(
    mutant: Mutant, folder: Path, pytestconfig: pytest.Config
) -> None:
    """A mutant fails exactly the cases that it names, in the files that hold any of these."""
    files = SUITE if pytestconfig.option.whole else files_of(mutant.fails)
    seen = killed(judge(folder, mutant, mutant.options, files))

    assert list(seen) == sorted(mutant.fails), f"{mutant.sentence}\n{json.dumps(seen, indent=1)}"


def test_every_required_case_is_killed() -> None:
    """Each required case is named by a mutant, and no mutant names a case that does not exist."""
    named = {case for mutant in MUTANTS for case in mutant.fails}
    known = {case.id: case.mark.level for case in cases.declared()}
    required = {name for name, level in known.items() if level is Level.REQUIRED}

    assert named - known.keys() == set(), "named, but no case"
    assert required - named == set(), "required, but killed by no mutant"


def test_names_of_mutants_are_unique() -> None:
    """A mutant is found by its name."""
    names = [mutant.name for mutant in MUTANTS]

    assert sorted(names) == sorted(set(names))
