"""What the suite says of its own cases: the marks on the functions of `test_*.py`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from conformance.results import Level


@dataclass(frozen=True)
class CaseMark:
    """What `@pytest.mark.case` says of a case.

    `paragraph` is its number in SPEC.md, `refs` name the public spec behind it, `decides` who gets
    it right or wrong: the app's code, the server under it, or both.
    """

    paragraph: str
    refs: str
    level: Level = Level.REQUIRED
    decides: Literal["app", "server", "both"] = "app"

    def __post_init__(self) -> None:
        object.__setattr__(self, "level", Level(self.level))


@dataclass(frozen=True)
class Case:
    """A case as its function in `module` declares it; `sentence` is the docstring.

    A `slow` one runs only when asked for, a `lacking` one only for a stack without that capability.
    """

    id: str
    mark: CaseMark
    sentence: str
    module: str
    slow: bool
    lacking: str | None


def case_id(module: str, function: str) -> str:
    """Return `group/words`: the first word of the module and the function, without `test_`.

    A case that is asked of several witnesses, as a parameter, has the witness for its group.
    """
    words, _, witness = function.removeprefix("test_").rstrip("]").partition("[")
    group = witness or module.removeprefix("test_").partition("_")[0]
    return f"{group}/{words}"


@cache
def declared(package: str = "conformance") -> tuple[Case, ...]:
    """Return every case of a package; raise LookupError for a test that has no mark."""
    paths = sorted((Path(__file__).parents[1] / package).glob("test_*.py"))
    return tuple(case for path in paths for case in _declared_in(package, path.stem))


def _declared_in(package: str, name: str) -> Iterator[Case]:
    module = importlib.import_module(f"{package}.{name}")
    for test, function in inspect.getmembers(module, inspect.isfunction):
        if not test.startswith("test_") or function.__module__ != module.__name__:
            continue
        marks = {mark.name: mark for mark in getattr(function, "pytestmark", ())}
        if "case" not in marks:
            raise LookupError(f"{name}.py: {test} has no @pytest.mark.case")
        yield Case(
            case_id(name, test),
            CaseMark(*marks["case"].args, **marks["case"].kwargs),
            inspect.getdoc(function) or "",
            name,
            slow="slow" in marks,
            lacking=marks["lacking"].args[0] if "lacking" in marks else None,
        )
