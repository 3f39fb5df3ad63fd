"""What a case comes to, for every way it can end."""

from __future__ import annotations

from typing import Literal

import pytest

from conformance.judgement import Recorder, judge
from conformance.results import Level, Outcome, is_red
from conformance.wire import WireError
from stacks import Fault, Stack

DECLARED = Fault("it does not.", "https://example.org/1")
WRONG = AssertionError("saw 500, wanted 200\nassert 500 == 200")


@pytest.mark.parametrize(
    ("declared", "error", "outcome", "message"),
    [
        pytest.param(None, None, Outcome.PASSED, "", id="passes"),
        pytest.param(None, WRONG, Outcome.FAILED, "saw 500, wanted 200", id="fails"),
        pytest.param(None, WireError("cut"), Outcome.FAILED, "cut", id="wire"),
        pytest.param(None, TimeoutError(), Outcome.FAILED, "TimeoutError", id="no_text"),
        pytest.param(
            DECLARED,
            WRONG,
            Outcome.EXPECTED_FAILURE,
            "saw 500, wanted 200 (it does not. https://example.org/1)",
            id="declared",
        ),
        pytest.param(
            DECLARED,
            None,
            Outcome.UNEXPECTED_PASS,
            "passed, but is declared to fail: it does not.",
            id="stale",
        ),
        pytest.param(
            None,
            KeyError("id"),
            Outcome.HARNESS_ERROR,
            "KeyError in call: 'id'",
            id="suite_stumbles",
        ),
        pytest.param(
            DECLARED,
            KeyError("id"),
            Outcome.HARNESS_ERROR,
            "KeyError in call: 'id'",
            id="suite_stumbles_over_a_declared_one",
        ),
    ],
)
def test_judge(
    declared: Fault | None, error: BaseException | None, outcome: Outcome, message: str
) -> None:
    """A declaration is strict both ways, and the suite's own errors hide behind none."""
    assert judge(Level.REQUIRED, declared, error) == (outcome, message)


def test_fixture_that_fails_is_the_suites_error() -> None:
    """A case whose server could not be started was not judged."""
    outcome, message = judge(Level.REQUIRED, None, OSError("no port"), when="setup")

    assert (outcome, message) == (Outcome.HARNESS_ERROR, "OSError in setup: no port")


def test_observed_never_fails() -> None:
    """An observed case records what it saw, whether its function ended well or not."""
    assert judge(Level.OBSERVE, None, None, observed="3 s") == (Outcome.OBSERVED, "3 s")
    assert judge(Level.OBSERVE, None, WRONG) == (Outcome.OBSERVED, "saw 500, wanted 200")


@pytest.mark.parametrize(
    ("outcome", "level", "red"),
    [
        pytest.param(Outcome.FAILED, Level.REQUIRED, True, id="required_fails"),
        pytest.param(Outcome.FAILED, Level.SHOULD, False, id="should_fails"),
        pytest.param(Outcome.UNEXPECTED_PASS, Level.SHOULD, True, id="stale_should"),
        pytest.param(Outcome.HARNESS_ERROR, Level.OBSERVE, True, id="suite_stumbles"),
        pytest.param(Outcome.EXPECTED_FAILURE, Level.REQUIRED, False, id="declared"),
        pytest.param(Outcome.LACKS, Level.REQUIRED, False, id="lacks"),
        pytest.param(Outcome.OBSERVED, Level.OBSERVE, False, id="observed"),
        pytest.param(Outcome.PASSED, Level.REQUIRED, False, id="passed"),
    ],
)
def test_red(outcome: Outcome, level: Level, *, red: bool) -> None:
    """Only a required case that fails, a stale declaration and a stumbling suite are red."""
    assert is_red(outcome, level) is red


def report(outcome: str, when: Literal["call", "teardown"]) -> pytest.TestReport:
    case = {"outcome": outcome, "level": "required", "message": when, "seconds": 0.0}
    return pytest.TestReport(
        nodeid="conformance/test_hello.py::test_body_is_exact",
        location=("conformance/test_hello.py", 0, "test_body_is_exact"),
        keywords={},
        outcome="passed",
        longrepr=None,
        when=when,
        user_properties=[("hello/body_is_exact", case)],
    )


def test_teardown_that_fails_outweighs_a_call_that_passed() -> None:
    """A server that died of a case makes it red, also when the answer was right."""
    recorder = Recorder(Stack("a", "b", "A", "ASGI"), slow=False, path=None)
    recorder.pytest_runtest_logreport(report("passed", "call"))
    recorder.pytest_runtest_logreport(report("failed", "teardown"))

    assert recorder.cases["hello/body_is_exact"]["outcome"] == "failed"
