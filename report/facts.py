"""What is known of each stack: its manifest, its lock, its source and whatever was recorded of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

import stacks
from conformance import cases, matrix, results
from conformance.results import Level
from report.source import Source, read_source
from stacks import Stack

RESULTS = stacks.ROOT / "results"
# What a lock names for other systems is not counted.
LINUX = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "python_version": (stacks.ROOT / ".python-version").read_text().strip(),
}
LINUX["python_full_version"] = f"{LINUX['python_version']}.0"


@dataclass(frozen=True)
class Row:
    """A case as the matrix shows it; a case of the witnesses is one row for each of them."""

    id: str
    case: cases.Case

    @property
    def group(self) -> str:
        return self.id.partition("/")[0]

    @property
    def words(self) -> str:
        return self.id.partition("/")[2].replace("_", " ")

    @property
    def page(self) -> str:
        """The address of the case's page, from the first page."""
        return f"case/{self.case.id}.html"


@dataclass(frozen=True)
class Judged:
    """What a case came to on a stack: `kind` as in the matrix, or `missing`, or `other`.

    `other` is for a case that asks only stacks that lack what this one has. `seen` is the message
    without the reason and link of a declared failure.
    """

    kind: str
    message: str = ""
    seen: str = ""

    @property
    def words(self) -> str:
        return WORDS[self.kind]


WORDS = {
    "passed": "passed",
    "declared": "declared failure",
    "should": "not met",
    "red": "failed",
    "observed": "observed",
    "lacks": "lacks",
    "other": "does not apply",
    "missing": "not judged",
}


NOT_APPLYING = {"lacks", "other", "missing"}


@dataclass(frozen=True)
class Known:
    """A stack with all that is recorded of it; None where nothing is.

    `strained` is keyed by what wore the stack out, `benched` by the name of the machine. The witnesses
    use each app on its default server. `example` is the greeting of the framework's own documentation.
    """

    stack: Stack
    is_default: bool
    source: Source
    example: Source
    packages: tuple[str, ...] | None
    judged: results.Result | None = None
    witnessed: results.Result | None = None
    strained: Mapping[str, results.Result] = field(default_factory=dict)
    observed: Mapping[str, Any] | None = None
    benched: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(self.stack)

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.stack.title} on {self.stack.server}"

    @property
    def page(self) -> str:
        """The address of the stack's page, from the first page."""
        return f"stack/{self.stack}.html"

    @cached_property
    def cases(self) -> Mapping[str, results.Case]:
        judged = self.judged["cases"] if self.judged else {}
        witnessed = self.witnessed["cases"] if self.witnessed else {}
        worn = {
            name: case for each in self.strained.values() for name, case in each["cases"].items()
        }
        return {**judged, **witnessed, **worn}

    def judgement(self, row: Row) -> Judged:
        case = self.cases.get(row.id)
        if case is not None:
            fault = self.stack.fails.get(row.id)
            reason = f" ({fault.reason} {fault.link})" if fault else ""
            message = case["message"]
            return Judged(matrix.kind(case), message, message.removesuffix(reason))
        if row.case.lacking is not None and row.case.lacking not in self.stack.lacks:
            return Judged("other")
        return Judged("missing")

    def counts(self, prefix: str = "") -> Counter[str]:
        """Count judgements by kind, of the suite's cases whose id begins so."""
        judged = self.judged["cases"] if self.judged else {}
        return Counter(matrix.kind(c) for name, c in judged.items() if name.startswith(prefix))

    def worn(self, kind: str) -> Counter[str]:
        """Count judgements by kind, of what wore the stack out; none where that was not done."""
        found = self.strained.get(kind)
        return (
            Counter(matrix.kind(case) for case in found["cases"].values()) if found else Counter()
        )

    def not_passed_by_autobahn(self) -> Iterator[tuple[str, Judged]]:
        """Yield those of the testsuite's cases that have no rows and are told one by one."""
        found = self.strained.get("autobahn")
        for name, case in found["cases"].items() if found else ():
            if case["outcome"] != results.Outcome.PASSED:
                yield name, Judged(matrix.kind(case), case["message"])

    @property
    def not_passed(self) -> int | None:
        """Cases that it does not pass, those of what it lacks counted; None where nothing is known."""
        if self.judged is None:
            return None
        counts = self.counts()
        return sum(counts[kind] for kind in ("declared", "should", "red", "lacks"))


def read(folder: Path = RESULTS) -> list[Known]:
    """Return every stack of apps/, each app's default server first."""
    return [known for app in stacks.app_names() for known in _read_app(app, folder)]


def _read_app(app: str, folder: Path) -> Iterator[Known]:
    home = stacks.APPS / app
    source, example = read_source(home), read_source(home, "bare.py")
    for number, stack in enumerate(stacks.read_stacks(home)):
        yield Known(
            stack,
            is_default=number == 0,
            source=source,
            example=example,
            packages=read_packages(stack),
            judged=_read(folder / "conformance" / f"{stack}.json"),
            witnessed=_read(folder / "witnesses" / f"{stack}.json"),
            strained=dict(_read_strains(folder, stack)),
            observed=_read(folder / "observe" / f"{stack}.json"),
            benched=dict(_read_benches(folder / "bench", stack)),
        )


def _read(path: Path) -> Any:
    """Return a record, None where there is none. Its form was validated when it was written."""
    return json.loads(path.read_text()) if path.exists() else None


def _read_strains(folder: Path, stack: Stack) -> Iterator[tuple[str, results.Result]]:
    for kind in results.STRAINS:
        found = _read(folder / kind / f"{stack}.json")
        if found is not None:
            yield kind, found


def _read_benches(folder: Path, stack: Stack) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in sorted(folder.glob(f"*/{stack}.json")):
        yield path.parent.name, _read(path)


def read_packages(stack: Stack) -> tuple[str, ...] | None:
    """Return `name==version` of what the lock installs on Linux; None where there is no lock."""
    if stack.lock is None or not stack.lock.exists():
        return None
    lines = re.findall(r"^[^#\s].*", stack.lock.read_text(), re.MULTILINE)
    return tuple(sorted(_wanted(lines)))


def _wanted(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:  # an option of pip
            continue
        if requirement.marker is None or requirement.marker.evaluate(LINUX):
            yield f"{requirement.name}{requirement.specifier}"


def rows(known: Sequence[Known]) -> list[Row]:
    """Return the rows of the matrix: the suite's cases, then what others recorded.

    These are the witnesses, the fuzzers and the soak; Autobahn's cases are told by their number.
    """
    own = [Row(case.id, case) for case in cases.declared()]
    order = {group: number for number, group in enumerate(results.GROUPS)}
    own.sort(key=lambda row: order[row.group])  # as declared within a group: by paragraph
    by_words = {case.id.partition("/")[2]: case for case in cases.declared("witnesses")}
    others = [
        Row(f"{witness}/{words}", case)
        for witness in results.WITNESSES
        for words, case in by_words.items()
    ]
    others += [Row(case.id, case) for case in cases.declared("strain")]
    recorded = {name for one in known for name in one.cases}
    return own + [row for row in others if row.id in recorded]


def level_name(row: Row) -> str:
    return {Level.REQUIRED: "required", Level.SHOULD: "should", Level.OBSERVE: "observed"}[
        row.case.mark.level
    ]
