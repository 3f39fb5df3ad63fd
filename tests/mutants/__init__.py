"""Apps and servers that are wrong in one way each, and the cases that have to notice.

A mutant replaces one piece of text in the ASGI reference (`app.py`) or in the small correct server
under it (`server.py`). Run against the whole suite, it fails exactly the cases that it names.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
SOURCES = {"app.py": ROOT / "apps/asgi/app.py", "server.py": ROOT / "tests/server.py"}


@dataclass(frozen=True)
class Mutant:
    """One fault: `old`, which occurs once in `file`, becomes `new`.

    `options` go to the suite: `("--slow",)` for what takes over a minute to notice, or
    `("--lacks", "websocket")` for a fault that only a stack without a capability can have.
    """

    name: str
    sentence: str
    old: str
    new: str
    fails: frozenset[str]
    file: Literal["app.py", "server.py"] = "app.py"
    options: tuple[str, ...] = ()

    def source(self, file: str) -> str:
        """Return the text of `file` as this mutant has it; raise LookupError if `old` is gone."""
        text = SOURCES[file].read_text()
        if file != self.file:
            return text
        if text.count(self.old) != 1:
            times = text.count(self.old)
            raise LookupError(f"{self.name}: {file} holds {self.old!r} {times} times, wanted once")
        return text.replace(self.old, self.new)


def all_mutants() -> list[Mutant]:
    """Return the mutants of every module here."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in sorted(names)]
    return [mutant for module in modules for mutant in module.MUTANTS]
