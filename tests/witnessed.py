"""Every case of the witnesses can fail: real clients do stumble over these relays.

`nox -s witnessed` runs it, for it needs what the witnesses need. Each mutant of the reference fails
exactly the cases that it names: `*/streams` is that case with every client.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import cases, results
from tests.mutants import ROOT, SOURCES, Mutant, all_mutants

CLIENTS = [witness for witness in results.WITNESSES if witness != "model"]
SDKS = [client for client in CLIENTS if client != "curl"]
KNOWN = {mutant.name: mutant for mutant in all_mutants()}

# What the suite's own mutants do to clients. The AI SDK calls no stream finished without a reason.
FAILS = {
    "adds_ids": {"openai_python/waits_through_silence"},
    "begins_with_retry": {
        "openai_python/error_frame_is_an_error",
        "openai_python/leaves",
        "openai_python/reset_is_an_error",
        "openai_python/short_end_is_an_error",
        "openai_python/streams",
        "openai_python/waits_through_silence",
    },
    "pings_are_events": {"ai_sdk/waits_through_silence"},
    "reads_latin_1": {f"{client}/streams" for client in CLIENTS},
    "keeps_content_encoding": {f"{client}/answers_whole" for client in SDKS},
    "refusals_are_502": {f"{client}/refusal_is_an_error" for client in CLIENTS},
    "refusals_are_told_anew": {f"{client}/refusal_is_an_error" for client in CLIENTS},
    "swallows_errors": {f"{client}/error_frame_is_an_error" for client in CLIENTS},
    "resets_look_good": {f"{client}/reset_is_an_error" for client in CLIENTS if client != "ai_sdk"},
    "any_end_is_good": {
        f"{client}/short_end_is_an_error" for client in CLIENTS if client != "ai_sdk"
    },
    "listens_on_in_silence": {f"{client}/leaves" for client in CLIENTS},
}

# Faults for what is left: a relay that fails in no other way with these clients.
OWN = [
    Mutant(
        "pings_are_data",
        "A ping is an event whose data is no JSON.",
        '                yield ": ping\\n\\n"\n',
        '                yield "data: ping\\n\\n"\n',
        frozenset(f"{client}/waits_through_silence" for client in CLIENTS),
    ),
    Mutant(
        "answers_something_else",
        "A whole answer is not the upstream's.",
        "response.status_code, response.text, kept)",
        'response.status_code, response.text.replace("Something", "Nothing"), kept)',
        frozenset(f"{client}/answers_whole" for client in CLIENTS),
    ),
    Mutant(
        "failures_have_a_reason",
        "A stream that fails is told as one that stopped by itself.",
        """        yield f"data: {error_json(f'the upstream failed: {error}', 502)}\\n\\n"\n""",
        """        yield 'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\\n\\n'\n"""
        '        yield "data: [DONE]\\n\\n"\n',
        frozenset(
            f"{client}/{case}"
            for client in CLIENTS
            for case in ("reset_is_an_error", "short_end_is_an_error")
        ),
    ),
]

MUTANTS = [(KNOWN[name], fails) for name, fails in FAILS.items()]
MUTANTS += [(mutant, set(mutant.fails)) for mutant in OWN]


@pytest.mark.parametrize(
    ("mutant", "fails"), [pytest.param(*pair, id=pair[0].name) for pair in MUTANTS]
)
def test_clients_stumble_where_it_says(mutant: Mutant, fails: set[str], tmp_path: Path) -> None:
    """Real clients stumble over a fault exactly where it says."""
    for file in SOURCES:
        (tmp_path / file).write_text(mutant.source(file))
    command = f"{sys.executable} {tmp_path / 'server.py'} --host {{host}} --port {{port}}"
    record = tmp_path / "result.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml"),
            *("-p", "conformance.conftest", ROOT / "witnesses", "-k", "not model"),
            *("--numprocesses", "8", "--quiet", "--tb", "no"),
            *("--command", command, "--title", "ASGI", "--interface", "ASGI"),
            *("--results", record),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    judged = results.read(record)["cases"]

    assert {name for name, case in judged.items() if case["outcome"] != "passed"} == fails


def test_every_case_is_failed_by_a_mutant() -> None:
    """No case of a client is one that cannot fail."""
    named = {case for _, fails in MUTANTS for case in fails}
    words = {case.id.partition("/")[2] for case in cases.declared("witnesses")}
    wanted = {f"{client}/{word}" for client in CLIENTS for word in words}

    assert wanted - named == {f"{client}/speaks_through_the_relay" for client in CLIENTS}
