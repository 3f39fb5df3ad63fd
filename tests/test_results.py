"""Result files are what the schema says, and the matrix shows them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import jsonschema
import pytest

import stacks
from conformance import matrix, results
from conformance.results import Case, Outcome, Result


def result(**cases: str) -> Result:
    """Return a result with one case of the group hello for each outcome given."""
    return Result(
        app="mine",
        server="uvicorn",
        interface="ASGI",
        suite="sha256:0",
        versions={"uvicorn": "0.54.0"},
        machine="Linux",
        date="2026-11-22T12:00:00+00:00",
        seconds=1.5,
        cases={
            f"hello/{name}": Case(outcome=outcome, level="required", message=name, seconds=0.1)
            for name, outcome in cases.items()
        },
    )


def test_schema_is_one() -> None:
    """What results are validated against is a JSON Schema itself."""
    jsonschema.Draft202012Validator.check_schema(results.SCHEMA)


def test_written_result_reads_back(tmp_path: Path) -> None:
    """A result survives its file, whose keys are sorted."""
    path = tmp_path / "new" / "mine-uvicorn.json"
    results.write(path, result(b="passed", a="failed"))

    assert results.read(path) == result(b="passed", a="failed")
    assert path.read_text().index("hello/a") < path.read_text().index("hello/b")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("interface", "CGI", id="interface"),
        pytest.param("app", "", id="empty_name"),
        pytest.param("seconds", -1, id="negative_time"),
        pytest.param("colour", "red", id="unknown_key"),
        pytest.param("cases", {"greeting/x": result(x="passed")["cases"]["hello/x"]}, id="group"),
        pytest.param("cases", result(x="skipped")["cases"], id="outcome"),
    ],
)
def test_wrong_result_is_not_written(tmp_path: Path, key: str, value: object) -> None:
    """What the schema forbids raises, and what stood in the file stays."""
    path = tmp_path / "mine-uvicorn.json"
    results.write(path, result(x="passed"))
    before = path.read_bytes()

    with pytest.raises(jsonschema.ValidationError):
        results.write(path, cast(Result, {**result(x="passed"), key: value}))

    assert path.read_bytes() == before


def test_schema_explains_every_property() -> None:
    """A reader of the schema needs no other page."""
    for name, prop in results.SCHEMA["properties"].items():
        assert prop["description"].endswith("."), name


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem) for p in sorted(Path("results/conformance").glob("*.json"))]
)
def test_committed_result_is_valid(path: Path) -> None:
    """Each committed result is what the schema says, of a stack that is here."""
    seen = results.read(path)

    assert path.stem == str(stacks.find(seen["app"], seen["server"]))


def test_cell_counts_by_kind() -> None:
    """A cell shows what passed, what was declared and what is red."""
    outcomes = result(a="passed", b="passed", c="expected-failure", d="failed", e="harness-error")

    assert matrix.cell(list(outcomes["cases"].values())).plain == "2 !1 ✗2"


def test_cell_of_a_group_that_does_not_apply() -> None:
    """A group that the stack lacks is a dash, not a zero."""
    assert matrix.cell(list(result(a="lacks")["cases"].values())).plain == "–"


def test_failures_name_stack_and_case() -> None:
    """Below the table stands each red case with its message."""
    seen = matrix.failures([result(a="passed", b="failed")])

    assert seen == [f"mine-uvicorn {Outcome.FAILED}: hello/b: b"]
