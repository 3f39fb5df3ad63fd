"""Footnotes: each reason for a declared failure or a lack once, whatever stacks share it."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import stacks
from report.facts import Known, Row
from stacks import Fault

FINDINGS = stacks.ROOT / "findings"


@dataclass(frozen=True)
class Note:
    """A numbered reason; `cases` are ids, or `lacks websocket`, each with the stacks it is for."""

    number: int
    fault: Fault
    cases: Mapping[str, Sequence[Known]]

    @property
    def stacks(self) -> list[Known]:
        """Every stack that gives this reason, once."""
        return list(
            {str(known): known for shared in self.cases.values() for known in shared}.values()
        )


def notes(known: Sequence[Known], rows: Sequence[Row]) -> list[Note]:
    """Return the notes in the order of the matrix, those that say what is lacking first."""
    order = [f"lacks {name}" for name in stacks.CAPABILITIES] + [row.id for row in rows]
    grouped: dict[Fault, dict[str, list[Known]]] = {}
    for one in known:
        declared = {f"lacks {name}": fault for name, fault in one.stack.lacks.items()}
        declared |= one.stack.fails
        for name, fault in declared.items():
            grouped.setdefault(fault, {}).setdefault(name, []).append(one)

    def first(fault: Fault) -> int:
        return min(order.index(name) if name in order else len(order) for name in grouped[fault])

    ordered = sorted(grouped, key=first)
    return [Note(number, fault, grouped[fault]) for number, fault in enumerate(ordered, start=1)]


@dataclass(frozen=True)
class Finding:
    """A fault of a framework or a server, as the shortest program that shows it."""

    path: Path
    title: str
    text: str
    source: str

    @property
    def key(self) -> str:
        """Its id on the page."""
        return f"finding-{self.path.stem}"

    @property
    def name(self) -> str:
        """Where it stands in this house."""
        return str(self.path.relative_to(FINDINGS.parent))


def findings(folder: Path = FINDINGS) -> list[Finding]:
    """Return the programs of a folder by name; the first line of the docstring is the title."""
    return [found for path in sorted(folder.glob("**/*.py")) if (found := _finding(path))]


def _finding(path: Path) -> Finding | None:
    """Return what a file shows; None for what only helps the programs, and runs nothing itself."""
    source = path.read_text()
    if path.name == "__main__.py" or 'if __name__ == "__main__"' not in source:
        return None
    docstring = ast.get_docstring(ast.parse(source))
    if not docstring:
        raise LookupError(f"{path} has no docstring, wanted one that says what is found")
    title, _, text = docstring.partition("\n")
    return Finding(path, title, text.strip(), source)
