"""Files of figures: their JSON Schema, and how they are written and read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema

from bench.figures import (
    MARKS,
    Beside,
    Crowd,
    Felt,
    Floor,
    Footprint,
    Held,
    Interval,
    Latency,
    Lines,
    Machine,
    Percentiles,
    Result,
    Scale,
    Slices,
    Wire,
)
from stacks import ROOT

RECORDS = ROOT / "results" / "bench"
# A quick run is for whoever asked, and no record.
QUICK_RECORDS = ROOT / ".bench"


def _object(kind: Any, **properties: Any) -> dict[str, Any]:
    """Return the schema of a TypedDict, all of whose keys have to be given a schema here."""
    assert properties.keys() == kind.__annotations__.keys(), kind
    return {
        "type": "object",
        "additionalProperties": False,
        "required": sorted(kind.__required_keys__),
        "properties": properties,
    }


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _many(schema: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"type": "array", "items": schema, **rest}


def _named(schema: dict[str, Any], names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of an object whose keys are names and whose values are alike."""
    keys = names or {"pattern": "^[a-z0-9_./-]+$"}
    return {"type": "object", "propertyNames": keys, "additionalProperties": schema}


_TEXT = {"type": "string", "minLength": 1}
_DATE = _TEXT | {"format": "date-time", "description": "In UTC."}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "number", "minimum": 0}
_ABOVE_ZERO = {"type": "number", "exclusiveMinimum": 0}
_RANK = _maybe({"type": "integer", "minimum": 1}) | {
    "description": "Equal for stacks that the run cannot tell apart; the next one counts them all."
}
_INVALID = _maybe(_TEXT) | {"description": "Why this is no figure; null where it is one."}
_MARKS = _many({"enum": list(MARKS)}, uniqueItems=True)

_INTERVAL = _object(Interval, median=_NUMBER, low=_NUMBER, high=_NUMBER)
_PERCENTILES = _object(Percentiles, samples=_COUNT, p50=_NUMBER, p99=_NUMBER)
_SLICES = _object(
    Slices,
    round=_many(_COUNT),
    units=_many(_COUNT),
    wall_seconds=_many(_ABOVE_ZERO),
    server_cpu_seconds=_many(_NUMBER),
    generator_cpu_seconds=_many(_NUMBER),
)
_WIRE = _object(
    Wire,
    date=_DATE,
    unit=_TEXT | {"description": "What is counted: request, echo, event, poll, token."},
    connections=_COUNT | {"description": "Connections at once."},
    invalid=_INVALID,
    unranked=_maybe(_TEXT) | {"description": "Why the figure has no rank."},
    marks=_MARKS,
    cpu_seconds_a_unit=_maybe(_INTERVAL) | {"description": "Of the server's process tree."},
    units_a_second=_maybe(_INTERVAL),
    cpu_ratio=_maybe(_INTERVAL) | {"description": "Units a CPU second, to the reference's."},
    wall_ratio=_maybe(_INTERVAL) | {"description": "Units a second, to the reference's."},
    cpu_rank=_RANK,
    wall_rank=_RANK,
    ranked=_COUNT | {"description": "How many stacks of the run have a rank."},
    noise=_named(_NUMBER, {"enum": ["cpu", "wall"]}),
    ceiling_units_a_second=_NUMBER,
    slices=_SLICES,
    reference_slices=_SLICES | {"description": "Of the reference, in the same rounds."},
    twin_slices=_SLICES
    | {"description": "Of as many servers more of the reference: the A/A pair."},
)
_LATENCY = _object(
    Latency,
    date=_DATE,
    requests_a_second=_ABOVE_ZERO,
    connections=_COUNT,
    invalid=_INVALID,
    marks=_MARKS,
    seconds=_maybe(_PERCENTILES),
)
_CROWD = _object(
    Crowd,
    wanted=_COUNT,
    opened=_COUNT,
    first_event_seconds=_maybe(_PERCENTILES) | {"description": "From the request on."},
    gap_seconds=_maybe(_PERCENTILES) | {"description": "Between two events of one stream."},
    cpu_seconds_an_event=_maybe(_NUMBER),
)
_BESIDE = _object(Beside, wanted=_COUNT, opened=_COUNT, seconds=_maybe(_PERCENTILES))
_FELT = _object(
    Felt,
    date=_DATE,
    delay_seconds=_ABOVE_ZERO,
    crowds=_many(_CROWD),
    echo_beside_idle=_maybe(_BESIDE),
)
_HELD = _object(
    Held,
    wanted=_COUNT,
    opened=_COUNT,
    bytes_each=_maybe({"type": "number"}),
    points=_many(
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["open", "memory_bytes", "hello_seconds"],
            "properties": {
                "open": _COUNT,
                "memory_bytes": _COUNT,
                "hello_seconds": _NUMBER,
            },
        }
    ),
)
_SCALE = _object(Scale, date=_DATE, streams=_HELD, sockets=_maybe(_HELD))
_FOOTPRINT = _object(
    Footprint,
    date=_DATE,
    lines=_COUNT | {"description": "Of app.py, without blanks, comments and docstrings."},
    lines_by_endpoint=_named(_object(Lines, own=_COUNT, all=_COUNT)),
    packages=_COUNT | {"description": "Distributions in the stack's environment."},
    installed_bytes=_COUNT | {"description": "Their files, without bytecode."},
    import_cpu_seconds=_INTERVAL | {"description": "Of `import app`, the interpreter left out."},
    first_answer_seconds=_INTERVAL | {"description": "From spawn to the first 200."},
    idle_bytes=_COUNT | {"description": "Memory of the process tree behind one request."},
)
_FLOOR = _object(
    Floor,
    date=_DATE,
    invalid=_INVALID,
    cpu_ratio=_maybe(_INTERVAL) | {"description": "The app's units a CPU second, to the bare's."},
    wall_ratio=_maybe(_INTERVAL),
    slices=_SLICES,
    bare_slices=_SLICES,
)
_MACHINE = _object(
    Machine,
    name=_TEXT | {"pattern": "^[a-z0-9-]+$", "description": "The folder of its results."},
    processor=_TEXT,
    cores=_COUNT,
    memory_bytes=_COUNT,
    system=_TEXT,
    kernel=_TEXT,
    governor=_TEXT | {"description": "Of the processor's frequency, `unknown` where not told."},
    server_cores=_many(_COUNT) | {"description": "Empty where nothing is pinned."},
    generator_cores=_many(_COUNT),
)

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "One stack measured by Samewire",
    **_object(
        Result,
        app=_TEXT | {"description": "The app's folder."},
        server=_TEXT | {"description": "The table of servers.toml."},
        interface={"enum": ["ASGI", "WSGI"]},
        reference=_TEXT | {"description": "The stack that ratios are taken to, `asgi-uvicorn`."},
        versions=_named(_TEXT, {}) | {"description": "Locked versions of direct dependencies."},
        tools=_named(_TEXT, {}) | {"description": "Versions of what measured."},
        machine=_MACHINE,
        date=_DATE,
        command=_TEXT,
        seed=_COUNT | {"description": "Of the order of stacks in each round."},
        seconds=_NUMBER | {"description": "Of the whole run."},
        overhead=_NUMBER | {"description": "The share of it in which nothing was measured."},
        quick={"type": "boolean"},
        wire=_named(_WIRE),
        latency=_named(_LATENCY),
        felt=_FELT,
        scale=_SCALE,
        footprint=_FOOTPRINT,
        floor=_FLOOR,
    ),
}


def write(path: Path, result: Result) -> None:
    """Validate and write a result; raise jsonschema.ValidationError and write nothing if wrong."""
    jsonschema.validate(result, SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(_columns_on_a_line(text) + "\n")


def _columns_on_a_line(text: str) -> str:
    """Return JSON in which an array of numbers is one line: a slice a line is thousands of them."""
    return re.sub(
        r"\[([-+.\de,\s]+)\]", lambda found: f"[{' '.join(found.group(1).split())}]", text
    )


def read(path: Path) -> Result:
    """Read and validate a result file; raise jsonschema.ValidationError when it is none."""
    result: Result = json.loads(path.read_text())
    jsonschema.validate(result, SCHEMA)
    return result


def read_all(folder: Path) -> dict[str, Result]:
    """Return the results of a machine by stack."""
    return {path.stem: read(path) for path in sorted(folder.glob("*.json"))}
