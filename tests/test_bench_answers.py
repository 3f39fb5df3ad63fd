"""What answers wrongly has no figure: every answer of a slice is judged behind its time."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import stacks
from bench import autocannon, contenders, generator, h2load, scenarios, streams
from bench.contenders import generating, started
from bench.processes import Contender, Invalid, Taken
from bench.slices import Measurement
from conformance import tokens
from tests.bench_fakes import reference

SCENARIOS = {scenario.name: scenario for scenario in scenarios.SCENARIOS}
EVENT = 'yield f"id: {number}\\n" + event("token", token)'
ECHO = "f\"echo: {message['text']}\""

Generators = tuple[asyncio.Runner, str]


@pytest.fixture(scope="module")
def generators() -> Iterator[Generators]:
    with generating(set()) as loop_and_model:
        yield loop_and_model


def take(generators: Generators, stack: stacks.Stack, scenario: str, waves: int = 1) -> Taken:
    loop, upstream = generators
    with started({"it": stack}, {"UPSTREAM_BASE_URL": upstream}, set()) as each:
        return SCENARIOS[scenario].run(loop, each["it"], waves)


@pytest.mark.parametrize("scenario", ["websocket", "sse", "chat"])
def test_right_answers_are_counted(tmp_path: Path, generators: Generators, scenario: str) -> None:
    """The reference's slices hold what was asked for, and both sides' time."""
    taken = take(generators, reference(tmp_path), scenario, waves=2)

    units = {"websocket": 25 * 8, "sse": scenarios.TOKENS * 8, "chat": 100 * 8}
    assert taken.units == 2 * units[scenario]
    assert taken.wall_seconds > 0
    assert taken.server_cpu_seconds > 0
    assert taken.generator_cpu_seconds > 0


@pytest.mark.parametrize(
    ("scenario", "old", "new", "reason"),
    [
        pytest.param(
            *("sse", EVENT, EVENT.replace("token)", "'x')"), "event 1 is .*'x'"), id="garbage"
        ),
        pytest.param(
            *("sse", "enumerate(tokens[sent:],", "enumerate(tokens[sent + 1:],"),
            "saw 250 events, wanted 251",
            id="a_token_short",
        ),
        pytest.param(
            *("sse", EVENT, f"{EVENT}\n        {EVENT}", "saw 501 events"), id="tokens_twice"
        ),
        pytest.param(
            *("sse", "response_start(200, STREAM", "response_start(203, STREAM"),
            "the answer was 203, wanted 200",
            id="another_status",
        ),
        pytest.param(
            *("sse", EVENT, f"{EVENT}\n        if number > 9: raise OSError"),
            "not whole .peer closed",
            id="cut",
        ),
        pytest.param(
            *("websocket", ECHO, "'echo: x'"), "the reply was .*'echo: x'", id="wrong_echo"
        ),
        pytest.param(
            *("websocket", 'if message.get("text") is None:', "if True:"),
            "closed meanwhile|the reply was .'CLOSE'",
            id="closed_socket",
        ),
        pytest.param(
            *("websocket", "if not origin_is_allowed(", "if origin_is_allowed("),
            "socket 1 of 8 did not open",
            id="refused_socket",
        ),
        pytest.param(
            *("chat", "data: [DONE]", "data: [END]"), "event 102 is '.END.'", id="another_mark"
        ),
    ],
)
def test_wrong_answers_are_invalid(
    tmp_path: Path, generators: Generators, scenario: str, old: str, new: str, reason: str
) -> None:
    """Garbage, short or doubled events, another status, a closed socket: each is no figure."""
    with pytest.raises(Invalid, match=reason):
        take(generators, reference(tmp_path, old, new), scenario)


def test_the_ceiling_answers_rightly(generators: Generators) -> None:
    """The server that only answers is judged as all others, or it would be no ceiling."""
    loop, upstream = generators
    ceiling = {"it": contenders.CEILING_STACK}
    with started(ceiling, {"UPSTREAM_BASE_URL": upstream}, set()) as each:
        for name in ("websocket", "sse", "chat"):
            measurement = Measurement.of(SCENARIOS[name], each.values())
            measurement.take(loop, 1, 0.01, random.Random(0))

            assert measurement.series["it"].invalid is None, name
        assert scenarios.body(each["it"], "/") == b"Hello from Ceiling (ASGI)!"


def test_body_of_a_response() -> None:
    """A chunk that says it is longer than what came is not a body."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert streams.body_of(head + b"2\r\nab\r\n0\r\n\r\n") == b"ab"
    with pytest.raises(Invalid, match="not whole .peer closed"):
        streams.body_of(head + b"3\r\nab")
    with pytest.raises(Invalid, match="not whole .illegal"):
        streams.body_of(b"nonsense\r\n\r\n")


# h2load

TOLD = """
finished in 272.60ms, 1834.17 req/s, 281.21KB/s
requests: 100 total, 100 started, 100 done, {good} succeeded, {bad} failed, {bad} errored, 0 timeout
status codes: {ok} 2xx, 0 3xx, 0 4xx, {wrong} 5xx
traffic: 157.00KB (160768) total, 99.00KB (101376) headers (space savings 0.00%), 2.2KB (2300) data
"""


def told(good: int = 100, ok: int = 100) -> str:
    return TOLD.format(good=good, bad=100 - good, ok=ok, wrong=100 - ok)


def test_h2load_all_good() -> None:
    """A hundred answers of 23 bytes are what was wanted."""
    h2load.check(told(), 100, 2300)


@pytest.mark.parametrize(
    ("text", "length", "reason"),
    [
        pytest.param(told(good=99), 2300, "1 requests failed", id="reconnected"),
        pytest.param(told(ok=90), 2300, "90 of 100 answers were 2xx, 10 were not", id="not_2xx"),
        pytest.param(told(), 2400, "2300 bytes, wanted 2400", id="short"),
        pytest.param("nothing", 2300, "told nothing like", id="another_version"),
    ],
)
def test_h2load_tells_of_wrong_answers(text: str, length: int, reason: str) -> None:
    """Failed requests, other statuses and bodies of another length are no figure."""
    with pytest.raises(Invalid, match=reason):
        h2load.check(text, 100, length)


def test_h2load_time_is_of_its_log() -> None:
    """The time goes from the first request to the last answer, whichever connection had it."""
    assert h2load.seconds("2000000\t200\t500\n1000000\t200\t1500000\n") == 1.5


# Where there is no h2load


GOOD = {"seconds": 0.25, "good": 100, "other": 0, "errors": 0, "body_bytes": 2300}


def test_autocannon_all_good() -> None:
    """A hundred answers of 23 bytes are what was wanted; the time is its own."""
    assert autocannon.check(json.dumps(GOOD), 100, 2300) == 0.25


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"good": 90, "other": 10}, "90 of 100 answers were 2xx, 10", id="not_2xx"),
        pytest.param({"errors": 1}, "1 requests failed", id="reconnected"),
        pytest.param({"body_bytes": 2299}, "2299 bytes, wanted 2300", id="short"),
    ],
)
def test_autocannon_tells_of_wrong_answers(change: dict[str, int], reason: str) -> None:
    """Failed requests, other statuses and bodies of another length are no figure."""
    with pytest.raises(Invalid, match=reason):
        autocannon.check(json.dumps(GOOD | change), 100, 2300)


@pytest.mark.skipif(shutil.which("npm") is None, reason="autocannon needs Node and npm")
def test_autocannon_generates_where_there_is_no_h2load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for the targets in turn, every answer counts once, and the time is that of the answers."""
    monkeypatch.setattr(h2load, "found", lambda: None)
    generator.prepare()
    targets = [tokens.target("/poll", text="a b", after=after, delay=0) for after in (0, 1)]
    with started({"asgi": reference(tmp_path)}, {}, set()) as each:
        length = sum(len(scenarios.body(each["asgi"], target)) for target in targets)
        few = generator.send(each["asgi"], targets, length, 40, 4)
        many = generator.send(each["asgi"], targets, length, 4000, 4)

    assert (few.units, many.units) == (40, 4000)
    assert 0 < 2 * few.wall_seconds < many.wall_seconds
    assert generator.versions() == {"autocannon": autocannon.version()}


def test_no_generator_says_what_installs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has neither is told the command that brings the better one."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(autocannon, "HERE", Path("/nowhere"))

    with pytest.raises(stacks.StackError, match="apt-get install nghttp2-client.*needs Node"):
        generator.prepare()


def test_greeting_of_another_is_invalid(tmp_path: Path, generators: Generators) -> None:
    """A greeting that is not the stack's own, as of a server that was left over, is no figure."""
    with pytest.raises(Invalid, match="the greeting is .*nobody"):
        take(generators, reference(tmp_path, "Hello from ASGI (ASGI)!", "nobody"), "hello/1")


def test_unreachable_is_invalid(tmp_path: Path, generators: Generators) -> None:
    """A server that died is told as one, not as a fast one."""
    loop, upstream = generators
    environ = {"UPSTREAM_BASE_URL": upstream}
    with started({"it": reference(tmp_path)}, environ, set()) as each:
        contender: Contender = each["it"]
        contender.running.kill()

        for scenario in ("hello/1", "poll", "sse", "websocket"):
            with pytest.raises(Invalid):
                SCENARIOS[scenario].run(loop, contender, 1)
