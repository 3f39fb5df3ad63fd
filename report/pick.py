"""The questions of who has to choose, answered for each stack from what is recorded of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from report.facts import Known

CANCEL = "chat/cancel_"


@dataclass(frozen=True)
class Answer:
    """Whether a stack has what was asked for, None where nobody has looked, and why."""

    holds: bool | None
    sentence: str


@dataclass(frozen=True)
class Question:
    """One box of the form; `key` is its name in the address."""

    key: str
    label: str
    answer: Callable[[Known], Answer]


def stops_generation(known: Known) -> Answer:
    """Answer whether every phase in which a client can leave ends the model's work."""
    counts = known.counts(CANCEL)
    if not counts.total():
        return Answer(None, "Nobody has judged yet whether it stops the model.")
    failed = [c for c in known.cases if c.startswith(CANCEL) and known.cases[c]["message"]]
    if counts["passed"] == counts.total():
        return Answer(True, f"Stops the model whenever its reader leaves{_slowest(known)}.")
    when = listed([name.removeprefix(CANCEL).replace("_", " ") for name in sorted(failed)])
    return Answer(
        False, f"Keeps the model at work for a reader who leaves {when}. {_why(known, failed)}"
    )


def _slowest(known: Known) -> str:
    milliseconds = slowest_phase(known)
    return "" if milliseconds is None else f", within {milliseconds:.3g} ms in the slowest phase"


def slowest_phase(known: Known) -> float | None:
    """Return the highest median of all phases in milliseconds; None where one was never noticed."""
    if known.observed is None:
        return None
    phases = known.observed["cancel"].values()
    if any(phase["noticed"] < phase["of"] for phase in phases):
        return None
    return max(float(phase["milliseconds"][0]) for phase in phases)


def _why(known: Known, failed: list[str]) -> str:
    reasons = [known.stack.fails[name].reason for name in failed if name in known.stack.fails]
    return " ".join(dict.fromkeys(reasons))


def speaks_websocket(known: Known) -> Answer:
    if (fault := known.stack.lacks.get("websocket")) is not None:
        return Answer(False, f"No WebSocket. {fault.reason}")
    counts = known.counts("websocket/")
    if not counts.total():
        return Answer(None, "Nobody has judged its WebSocket yet.")
    return Answer(True, f"Speaks WebSocket and passes {ratio(known, 'websocket/')} of its cases.")


def is_synchronous(known: Known) -> Answer:
    if not known.source.text:
        return Answer(None, "It has no app.py to look at.")
    if known.source.is_async:
        return Answer(False, "Its handlers are coroutines, async def.")
    return Answer(True, "Its handlers are plain functions; nothing in app.py is async.")


def is_html_first(known: Known) -> Answer:
    if known.stack.focus == "html":
        return Answer(True, "Made to answer with HTML that is written in Python.")
    return Answer(False, "Not made for HTML first.")


def runs_on_wsgi(known: Known) -> Answer:
    if known.stack.interface != "WSGI":
        return Answer(False, "Speaks ASGI, which no WSGI server runs.")
    beside = (
        "" if "websocket" in known.stack.lacks else "; its WebSocket needs more than WSGI promises"
    )
    return Answer(True, f"Speaks WSGI, here under {known.stack.server}{beside}.")


QUESTIONS = (
    Question("leave", "stops paid generation when the reader leaves", stops_generation),
    Question("websocket", "speaks WebSocket", speaks_websocket),
    Question("sync", "is written in synchronous code", is_synchronous),
    Question("html", "is made for HTML first", is_html_first),
    Question("wsgi", "runs behind a plain WSGI server", runs_on_wsgi),
)


def standing(known: Known) -> str:
    """Say in a sentence why the stack stands where it does in the order of the list."""
    count = len(known.packages) if known.packages is not None else None
    packages = "no lock yet" if count is None else f"installs {count} packages"
    if known.judged is None:
        return f"Not judged yet; {packages}."
    counts = known.counts()
    kinds = {"red": "red", "declared": "declared", "should": "only recommended"}
    missed = [f"{counts[kind]} {words}" for kind, words in kinds.items() if counts[kind]]
    failed = f" (not passed: {listed(missed)})" if missed else ""
    lacked = f", {counts['lacks']} more are about what it lacks" if counts["lacks"] else ""
    return f"Passes {ratio(known)} cases{failed}{lacked}; {packages}."


def ratio(known: Known, prefix: str = "") -> str:
    """Return `210 of 214`: what passed of what can pass or fail."""
    counts = known.counts(prefix)
    return f"{counts['passed']} of {counts.total() - counts['lacks'] - counts['observed']}"


def listed(words: list[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def order(known: Known) -> tuple[int, int, str]:
    """Return what stacks are ordered by before anybody asked for something."""
    unknown = 10_000
    not_passed = unknown if known.not_passed is None else known.not_passed
    packages = unknown if known.packages is None else len(known.packages)
    return not_passed, packages, str(known)
