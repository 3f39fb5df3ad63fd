"""The vocabulary of results: what a case can come to, and the form of a result file."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from enum import StrEnum
from pathlib import Path
from typing import Any, TypedDict

import jsonschema
import psutil

HERE = Path(__file__).parent

# In the order of the contract, which is the order of every table.
GROUPS = ("hello", "websocket", "sse", "poll", "chat", "lifecycle", "security")
# Real clients, a linter and a real model: the groups of what `nox -s witnesses` records.
WITNESSES = (
    *("openai_python", "openai_node", "ai_sdk", "curl", "eventsource", "websocat", "wscat"),
    *("chromium", "httplint", "socketio", "model"),
)
# What wears a stack out: `nox -s fuzz`, `nox -s soak`, and Autobahn|Testsuite.
STRAINS = ("fuzz", "soak", "autobahn")
EVERY = GROUPS + WITNESSES + STRAINS


class Outcome(StrEnum):
    """What came of a case. Only `FAILED`, `UNEXPECTED_PASS` and `HARNESS_ERROR` can be red."""

    PASSED = "passed"
    FAILED = "failed"
    LACKS = "lacks"
    EXPECTED_FAILURE = "expected-failure"
    UNEXPECTED_PASS = "unexpected-pass"
    HARNESS_ERROR = "harness-error"
    OBSERVED = "observed"


class Level(StrEnum):
    """How much a case weighs. A `SHOULD` that fails is shown and stays green."""

    REQUIRED = "required"
    SHOULD = "should"
    OBSERVE = "observe"


class Case(TypedDict):
    """One judgement. `message`: what was seen and what was wanted, empty where a case passed."""

    outcome: str
    level: str
    message: str
    seconds: float


class Result(TypedDict):
    """One stack, judged once."""

    app: str
    server: str
    interface: str
    suite: str
    versions: dict[str, str]
    machine: str
    date: str
    seconds: float
    cases: dict[str, Case]


_TEXT = {"type": "string", "minLength": 1}
_SECONDS = {"type": "number", "minimum": 0}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "One stack judged by Samewire's conformance suite",
    "type": "object",
    "additionalProperties": False,
    "required": list(Result.__annotations__),
    "properties": {
        "app": _TEXT | {"description": "The app's folder, or the title of what was checked."},
        "server": _TEXT | {"description": "The table of servers.toml, or `command`, or `url`."},
        "interface": {"enum": ["ASGI", "WSGI"], "description": "As in the app's greeting."},
        "suite": _TEXT | {"description": "The suite's version: a digest of its files."},
        "versions": {
            "type": "object",
            "description": "Locked versions of the app's and the server's direct dependencies.",
            "additionalProperties": _TEXT,
        },
        "machine": _TEXT | {"description": "System, architecture, cores and memory."},
        "date": _TEXT | {"format": "date-time", "description": "When the run began, in UTC."},
        "seconds": _SECONDS | {"description": "Wall-clock time of the whole run."},
        "cases": {
            "type": "object",
            "description": "Judgements by case id.",
            "propertyNames": {"pattern": f"^({'|'.join(EVERY)})/[a-z0-9_]+$"},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": list(Case.__annotations__),
                "properties": {
                    "outcome": {"enum": [outcome.value for outcome in Outcome]},
                    "level": {"enum": [level.value for level in Level]},
                    "message": {"type": "string", "description": "Seen and wanted."},
                    "seconds": _SECONDS,
                },
            },
        },
    },
}


# A schema is itself checked by tests/, for to do so takes longer than to validate a result.
_validator = jsonschema.Draft202012Validator(SCHEMA)


def is_red(outcome: str, level: str) -> bool:
    """Return whether a judgement makes a run fail.

    A stale declaration is red at every level, and so is a suite that stumbled: a case that was not
    judged must never read as one that passed.
    """
    if outcome == Outcome.FAILED:
        return level == Level.REQUIRED
    return outcome in (Outcome.UNEXPECTED_PASS, Outcome.HARNESS_ERROR)


def write(path: Path, result: Result) -> None:
    """Validate and write a result; raise jsonschema.ValidationError and write nothing if wrong."""
    _validator.validate(result)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read(path: Path) -> Result:
    """Read and validate a result file; raise jsonschema.ValidationError when it is none."""
    result: Result = json.loads(path.read_text())
    _validator.validate(result)
    return result


def suite_version() -> str:
    """Return a digest of what decides a judgement: the suite's own files."""
    digest = hashlib.sha256()
    for path in sorted([*HERE.glob("*.py"), HERE / "SPEC.md"]):
        digest.update(path.name.encode() + path.read_bytes())
    return f"sha256:{digest.hexdigest()[:12]}"


def machine() -> str:
    """Return what the run ran on, as a person would say it."""
    memory = psutil.virtual_memory().total / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {cores} cores, {memory:.0f} GiB"
