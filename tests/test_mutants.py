"""Every required case of the suite can fail: each is killed by a mutant, and none kills more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import results, spec
from tests.mutants import MUTANTS, SOURCES, Mutant

TITLE = ("--title", "ASGI", "--interface", "ASGI")


def judge(folder: Path, mutant: Mutant | None) -> results.Result:
    """Run the whole suite against the reference with one mutant, or none, in it."""
    for file in SOURCES:
        text = mutant.source(file) if mutant else SOURCES[file].read_text()
        (folder / file).write_text(text)
    command = f"{sys.executable} {folder / 'server.py'} --host {{host}} --port {{port}}"
    record = folder / "result.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", "pyproject.toml", "conformance", "-q"),
            *("-p", "xdist", "-n", "3", "--dist", "worksteal"),
            *("--command", command, *TITLE, "--results", str(record)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert record.exists(), f"the suite did not run to its end:\n{done.stdout}{done.stderr}"
    result = results.read(record)
    reds = [name for name, case in result["cases"].items() if is_red(case)]

    assert (done.returncode == 0) == (reds == []), f"exit {done.returncode}, red: {reds}"
    return result


def is_red(case: results.Case) -> bool:
    return results.is_red(case["outcome"], case["level"])


def failed(result: results.Result) -> dict[str, str]:
    """Return the message of each case that did not pass; a level is no excuse for a mutant."""
    return {
        name: f"{case['outcome']}: {case['message']}"
        for name, case in result["cases"].items()
        if case["outcome"] not in ("passed", "lacks", "observed")
    }


def test_the_reference_fails_nothing(tmp_path: Path) -> None:
    """The ASGI reference on the small server passes every case of the suite."""
    seen = failed(judge(tmp_path, None))

    assert seen == {}


@pytest.mark.parametrize("mutant", [pytest.param(m, id=m.name) for m in MUTANTS])
def test_mutant_fails_what_it_names(mutant: Mutant, tmp_path: Path) -> None:
    """A mutant fails exactly the cases that it names."""
    seen = failed(judge(tmp_path, mutant))

    assert sorted(seen) == sorted(mutant.fails), f"{mutant.sentence}\n{json.dumps(seen, indent=1)}"
