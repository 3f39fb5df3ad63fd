"""Every case of the witnesses can fail: real clients do stumble over these apps.

`nox -s witnessed` runs it, for it needs what the witnesses need. Each mutant of the reference fails
exactly the cases that it names, of those that its kind of client is asked: the clients of the relay, or
all others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from conformance import results
from tests.mutants import ROOT, SOURCES, Mutant, all_mutants
from witnesses.witness import CLIENTS

EVENT_SOURCES = ("eventsource", "chromium")
READERS = ("curl", *EVENT_SOURCES)
TALKERS = ("websocat", "wscat", "chromium")
PAGES = ("curl", "chromium")
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

VISITORS_FAIL = {
    "data_lines_by_splitlines": {f"{reader}/reads_the_text" for reader in READERS},
    "stream_is_sent_whole": {f"{reader}/reads_a_token_before_the_next" for reader in READERS},
    "resumes_at_the_last_event": {f"{source}/resumes_where_it_was_cut" for source in EVENT_SOURCES},
    "end_is_not_reached_at_the_end": {f"{source}/stops_at_the_end" for source in EVENT_SOURCES},
    "every_origin_is_accepted": {"chromium/page_of_another_origin_reads_nothing"},
    "origin_is_echoed": {"chromium/page_of_another_origin_reads_nothing"},
    "title_in_lower_case": {f"{page}/gets_the_greeting" for page in PAGES},
    "poll_past_the_end_is_404": {f"{page}/polls_to_the_end" for page in PAGES},
}

# Faults for what is left: apps that fail in no other way with these clients.
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

VISITORS_OWN = [
    Mutant(
        "pings_are_messages",
        "A ping of an event stream is an event with data.",
        """        yield ": ping\\n\\n"\n    await asyncio.sleep(delay)\n""",
        """        yield "data: ping\\n\\n"\n    await asyncio.sleep(delay)\n""",
        frozenset(f"{reader}/hears_nothing_of_pings" for reader in READERS),
    ),
    Mutant(
        "echo_is_trimmed",
        "A message comes back without the blanks around it.",
        """f"echo: {message['text']}\"""",
        """f"echo: {message['text'].strip()}\"""",
        frozenset(f"{talker}/gets_its_echoes_in_order" for talker in TALKERS),
    ),
    Mutant(
        "greeting_has_a_directive_with_a_value",
        "The greeting's Cache-Control gives a value to a directive that takes none.",
        'send, 200, "Hello from ASGI (ASGI)!")',
        'send, 200, "Hello from ASGI (ASGI)!", {"cache-control": "no-store=1"})',
        frozenset({"httplint/finds_the_greeting_sound"}),
    ),
    Mutant(
        "stream_has_a_directive_with_a_value",
        "A stream's Cache-Control gives a value to a directive that takes none.",
        '    "cache-control": "no-store",\n    "x-accel-buffering"',
        '    "cache-control": "no-store=1",\n    "x-accel-buffering"',
        frozenset({"httplint/finds_the_stream_sound"}),
    ),
]

# The reference, as it would speak Socket.IO too.
LAST_LINE = '        await send({"type": f"lifespan.{event}.complete"})\n'
SPEAKS_SOCKETIO = """

import socketio

events = socketio.AsyncServer(
    async_mode="asgi",
    cors_allowed_origins=lambda origin, environ: origin_is_allowed(origin, environ["HTTP_HOST"]),
    transports=["polling", "websocket"],
)


@events.on("message")
async def echo_event(sid, message):
    await events.send(f"echo: {message}", to=sid)


app = socketio.ASGIApp(events, app)
"""


def socketio_mutant(name: str, sentence: str, old: str, new: str, *fails: str) -> Mutant:
    assert SPEAKS_SOCKETIO.count(old) == 1, f"{name}: {old!r} is not there once"
    return Mutant(
        name,
        sentence,
        LAST_LINE,
        LAST_LINE + SPEAKS_SOCKETIO.replace(old, new),
        frozenset(f"socketio/{case}" for case in fails),
    )


SOCKETIO_OWN = [
    socketio_mutant(
        "socketio_forgets_the_prefix",
        "A message comes back as it is.",
        "echo: {message}",
        "{message}",
        "echoes_by_polling",
        "echoes_by_websocket",
    ),
    socketio_mutant(
        "socketio_polls_only",
        "WebSocket is not to be had.",
        '["polling", "websocket"]',
        '["polling"]',
        "echoes_by_websocket",
    ),
    socketio_mutant(
        "socketio_takes_any_origin",
        "A page of any site gets a session.",
        'lambda origin, environ: origin_is_allowed(origin, environ["HTTP_HOST"])',
        '"*"',
        "foreign_origin_is_refused",
    ),
]

RELAY = ("test_witnesses.py",)
OTHERS = ("test_witnesses_visitors.py", "test_witnesses_lint.py")
SOCKETIO = ("test_witnesses_socketio.py",)
MUTANTS = [
    *((KNOWN[name], fails, RELAY) for name, fails in FAILS.items()),
    *((mutant, set(mutant.fails), RELAY) for mutant in OWN),
    *((KNOWN[name], fails, OTHERS) for name, fails in VISITORS_FAIL.items()),
    *((mutant, set(mutant.fails), OTHERS) for mutant in VISITORS_OWN),
    *((mutant, set(mutant.fails), SOCKETIO) for mutant in SOCKETIO_OWN),
]


@pytest.mark.parametrize(
    ("mutant", "fails", "files"), [pytest.param(*case, id=case[0].name) for case in MUTANTS]
)
def test_clients_stumble_where_it_says(
    mutant: Mutant, fails: set[str], files: Sequence[str], tmp_path: Path
) -> None:
    """Real clients stumble over a fault exactly where it says."""
    for file in SOURCES:
        (tmp_path / file).write_text(mutant.source(file))
    judged = judge(tmp_path, files)

    assert {name for name, case in judged.items() if case["outcome"] != "passed"} == fails


def test_every_case_is_failed_by_a_mutant(tmp_path: Path) -> None:
    """No case of a client is one that cannot fail, and the reference itself fails none."""
    for file, source in SOURCES.items():
        (tmp_path / file).write_text(source.read_text())
    judged = judge(tmp_path, [*RELAY, *OTHERS])

    assert {case["outcome"] for case in judged.values()} == {"passed"}
    assert judged.keys() == {
        case for _, fails, files in MUTANTS for case in fails if files != SOCKETIO
    }


def judge(folder: Path, files: Sequence[str]) -> Mapping[str, results.Case]:
    """Return what the clients in these files make of the app and the server in a folder."""
    command = f"{sys.executable} {folder / 'server.py'} --host {{host}} --port {{port}}"
    record = folder / "result.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml"),
            *("-p", "conformance.conftest"),
            *(str(ROOT / "witnesses" / file) for file in files),
            *("--numprocesses", "8", "--quiet", "--tb", "no"),
            *("--command", command, "--title", "ASGI", "--interface", "ASGI"),
            *("--results", record, *(("--offers", "socketio") if files == SOCKETIO else ())),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return results.read(record)["cases"]
