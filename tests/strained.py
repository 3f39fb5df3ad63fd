"""The fuzzers and the soak notice what they are for; both are run short here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import cases, results
from conformance.results import Level
from tests.mutants import ROOT, SOURCES, Mutant, all_mutants

MODULES = {case.id: case.module for case in cases.declared("strain")}
KNOWN = {mutant.name: mutant for mutant in all_mutants()}
OPEN_A_FILE = '__import__("os").open("/dev/null", 0)'

FUZZ = [
    Mutant(
        "bad_request_ends_the_server",
        "What is no request at all makes the server exit.",
        "        raise Refusal(error.error_status_hint, str(error)) from None\n",
        "        raise SystemExit(str(error)) from None\n",
        frozenset({"fuzz/survives_requests"}),
        "server.py",
    ),
    Mutant(
        "keeps_a_file_for_a_bad_request",
        "What is no request at all costs a descriptor.",
        "        raise Refusal(error.error_status_hint, str(error)) from None\n",
        f"        {OPEN_A_FILE}\n"
        "        raise Refusal(error.error_status_hint, str(error)) from None\n",
        frozenset({"fuzz/survives_requests"}),
        "server.py",
    ),
    Mutant(
        "bad_frame_ends_the_server",
        "A frame that fails its connection makes the server exit.",
        "        close = self.protocol.close_rcvd\n",
        "        if self.protocol.parser_exc is not None:\n"
        "            raise SystemExit(str(self.protocol.parser_exc))\n"
        "        close = self.protocol.close_rcvd\n",
        frozenset({"fuzz/survives_frames"}),
        "server.py",
    ),
    Mutant(
        "keeps_a_file_for_a_bad_frame",
        "A frame that fails its connection costs a descriptor.",
        "        close = self.protocol.close_rcvd\n",
        f"        if self.protocol.parser_exc is not None:\n            {OPEN_A_FILE}\n"
        "        close = self.protocol.close_rcvd\n",
        frozenset({"fuzz/survives_frames"}),
        "server.py",
    ),
]

SOAK = [
    Mutant(
        "loses_a_token_in_a_crowd",
        "Of all that the streams send, every 300th piece is lost.",
        "    async for chunk in chunks:\n        await send(",
        "    async for chunk in chunks:\n"
        '        upstream.__dict__["sent"] = upstream.__dict__.get("sent", 0) + 1\n'
        '        if upstream.__dict__["sent"] % 300 == 0:\n'
        "            continue\n"
        "        await send(",
        frozenset({"soak/streams_lose_nothing"}),
    ),
    Mutant(
        "doubles_an_echo_in_a_crowd",
        "Of all echoes, every 300th is sent twice.",
        """        await send({"type": "websocket.send", "text": f"echo: {message['text']}"})\n""",
        '        upstream.__dict__["sent"] = upstream.__dict__.get("sent", 0) + 1\n'
        '        for _ in range(2 if upstream.__dict__["sent"] % 300 == 0 else 1):\n'
        """            await send({"type": "websocket.send", "text": f"echo: {message['text']}"})\n""",
        frozenset({"soak/sockets_lose_nothing"}),
    ),
    Mutant(
        "keeps_a_file_for_a_leaver",
        KNOWN["keeps_a_file_for_a_stream"].sentence,
        KNOWN["keeps_a_file_for_a_stream"].old,
        KNOWN["keeps_a_file_for_a_stream"].new,
        frozenset({"soak/leavers_leave_nothing"}),
        KNOWN["keeps_a_file_for_a_stream"].file,
    ),
]


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=mutant.name) for mutant in FUZZ + SOAK])
def test_strain_shows_the_fault(mutant: Mutant, tmp_path: Path) -> None:
    """A fault fails the case that it is made for, and no other of the same file."""
    for file in SOURCES:
        (tmp_path / file).write_text(mutant.source(file))
    command = f"{sys.executable} {tmp_path / 'server.py'} --host {{host}} --port {{port}}"
    record = tmp_path / "result.json"
    files = {str(ROOT / "strain" / f"{MODULES[case]}.py") for case in mutant.fails}
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml"),
            *("-p", "conformance.conftest", "--seconds", "4"),
            *files,
            *("--quiet", "--tb", "no", "--results", record),
            *("--command", command, "--title", "ASGI", "--interface", "ASGI"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    judged = results.read(record)["cases"]

    assert {name for name, case in judged.items() if case["outcome"] == "failed"} == mutant.fails


def test_every_required_case_is_failed_by_a_mutant() -> None:
    """No case of a fuzzer or of the soak is one that cannot fail."""
    required = {case.id for case in cases.declared("strain") if case.mark.level is Level.REQUIRED}

    assert required == {case for mutant in FUZZ + SOAK for case in mutant.fails}
