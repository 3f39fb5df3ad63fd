"""What is measured on the wire: each scenario takes a slice of one server and judges its answers.

A slice is as many waves as fill its time. A wave of streams opens them anew, so what comes once a
stream weighs the same on every stack. Connections of requests and sockets are opened once a slice, so
that they weigh the same in its time: the ratio of two stacks is that of their requests alone.
"""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench import generator, model, sockets, streams
from bench.processes import Contender, Invalid, Taken
from conformance import completions, tokens
from conformance.wire import request

TOKENS = 250
TEXT = "tok " * TOKENS
POLLED = "one two three four"
ANSWER_WITHIN = 30.0

type Run = Callable[[asyncio.Runner, Contender, int], Taken]


@dataclass(frozen=True)
class Scenario:
    """`group` is the group of conformance cases that a stack has to pass to be ranked.

    `run(loop, contender, waves)` takes a slice; it raises `Invalid` where an answer is not right.
    In each round a stack has one slice, or `slices` of its servers in turn where it has several.
    """

    name: str
    group: str
    unit: str
    connections: int
    run: Run
    slices: int = 4


def hello(
    wave: int, connections: int, _: asyncio.Runner, contender: Contender, waves: int
) -> Taken:
    """Greetings, of which one is read and the others are as long."""
    stack = contender.stack
    wanted = f"Hello from {stack.title} ({stack.interface})!".encode()
    if (seen := body(contender, "/")) != wanted:
        raise Invalid(f"the greeting is {seen[:80]!r}, wanted {wanted!r}")
    return generator.send(contender, ["/"], len(wanted), wave * waves, connections)


def poll(wave: int, connections: int, _: asyncio.Runner, contender: Contender, waves: int) -> Taken:
    """Polls for each of a few tokens in turn; each answer is read once."""
    words = tokens.tokenize(POLLED)
    length, targets = 0, []
    for after, token in enumerate(words):
        target = tokens.target("/poll", text=POLLED, after=after, delay=0)
        answer = body(contender, target)
        wanted = {"id": after + 1, "token": token, "done": after + 1 == len(words)}
        if (seen := parsed(answer)) != wanted:
            raise Invalid(f"the poll after {after} is {seen!r}, wanted {wanted!r}")
        length += len(answer)
        targets.append(target)
    return generator.send(contender, targets, length, wave * waves, connections)


def body(contender: Contender, target: str) -> bytes:
    """Return the body of one answer; raise `Invalid` unless it is a 200."""
    connection = http.client.HTTPConnection(contender.host, contender.port, timeout=ANSWER_WITHIN)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        if response.status != 200:
            raise Invalid(f"GET {target[:40]} gave {response.status}, wanted 200")
        return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Invalid(f"GET {target[:40]} gave no answer: {error!r}") from None
    finally:
        connection.close()


def parsed(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return answer[:80]


def websocket(
    echoes: int, connections: int, loop: asyncio.Runner, contender: Contender, waves: int
) -> Taken:
    return loop.run(sockets.echo(contender, echoes, connections, waves))


def sse(connections: int, loop: asyncio.Runner, contender: Contender, waves: int) -> Taken:
    ask = request(contender, "GET", tokens.target("/sse", text=TEXT, delay=0))
    judge = partial(streams.judge_tokens, tokens=tokens.tokenize(TEXT))
    return loop.run(streams.read(contender, ask, TOKENS, connections, waves, judge))


def chat(connections: int, loop: asyncio.Runner, contender: Contender, waves: int) -> Taken:
    """Tokens of a model that says them as fast as the relay takes them."""
    question = completions.encoded(completions.STREAMING)
    ask = request(contender, "POST", completions.PATH, [completions.JSON], question)
    judge = partial(streams.judge_completion, tokens=[model.TOKEN] * model.TOKENS)
    return loop.run(streams.read(contender, ask, model.TOKENS, connections, waves, judge))


SCENARIOS: Sequence[Scenario] = (
    Scenario("hello/1", "hello", "request", 1, partial(hello, 100, 1)),
    Scenario("hello/32", "hello", "request", 32, partial(hello, 320, 32)),
    Scenario("hello/256", "hello", "request", 256, partial(hello, 256, 256), slices=8),
    Scenario("websocket", "websocket", "echo", 8, partial(websocket, 25, 8)),
    Scenario("sse", "sse", "event", 8, partial(sse, 8)),
    Scenario("poll", "poll", "poll", 8, partial(poll, 160, 8)),
    Scenario("chat", "chat", "token", 8, partial(chat, 8)),
)
