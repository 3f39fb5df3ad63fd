"""What the suite says of its own cases: the marks on the functions of `test_*.py`."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
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
    """A case as its function declares it; `sentence` is the docstring."""

    id: str
    mark: CaseMark
    sentence: str


def case_id(module: str, function: str) -> str:
    """Return `group/words`: the first word of the module and the function, without `test_`."""
    group = module.removeprefix("test_").partition("_")[0]
    return f"{group}/{function.removeprefix('test_')}"


def declared() -> list[Case]:
    """Return every case of the suite; raise LookupError for a test that has no mark."""
    found = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"conformance.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and function.__module__ == module.__name__:
                marks = [m for m in getattr(function, "pytestmark", ()) if m.name == "case"]
                if len(marks) != 1:
                    raise LookupError(f"{path.name}: {name} needs one @pytest.mark.case")
                mark = CaseMark(*marks[0].args, **marks[0].kwargs)
                found.append(Case(case_id(path.stem, name), mark, inspect.getdoc(function) or ""))
    return found
