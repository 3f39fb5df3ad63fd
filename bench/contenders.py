"""Who takes part in a run: the servers, all at once, and the loop that generates their load."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain

import uvloop

import stacks
from bench import processes
from bench.model import Model
from bench.processes import Contender
from stacks import HOST, ROOT, Stack

REFERENCE = "asgi-uvicorn"
TWIN = "the reference's twin"
CEILING = "the ceiling"
# Or each process looks its names up in tables of its own, some with more collisions than others.
ALIKE = {"PYTHONHASHSEED": "0"}
CEILING_STACK = Stack(
    app="ceiling",
    server="uvloop",
    title="Ceiling",
    interface="ASGI",
    command=(sys.executable, "-m", "bench.ceiling", "--host", "{host}", "--port", "{port}"),
    folder=ROOT,
)


@contextmanager
def started(
    named: Mapping[str, Stack],
    environ: Mapping[str, str],
    core: set[int],
    servers: Callable[[str], int] = lambda name: 1,
) -> Iterator[dict[str, Contender]]:
    """Start stacks on a core, so many `servers` of each, alike in what chance decides.

    Gives one server of each, which knows its siblings; leaves nothing of them behind.
    """
    with ExitStack() as exits:

        def start(name: str, stack: Stack) -> Contender:
            with processes.pinned(core), processes.laid_out_alike():
                running = exits.enter_context(stacks.serve(stack, environ={**environ, **ALIKE}))
            return Contender(name, running)

        families: dict[str, list[Contender]] = {name: [] for name in named}
        # In turn, for what the machine has left for a process is not the same early and late.
        for number in range(max(map(servers, named), default=0)):
            for name, stack in named.items():
                if number < servers(name):
                    families[name].append(start(name, stack))
        for contender in chain.from_iterable(families.values()):
            contender.running.wait_until_ready()
            contender.settle()
        for first, *siblings in families.values():
            first.siblings = siblings
        yield {name: family[0] for name, family in families.items()}


@contextmanager
def generating(core: set[int]) -> Iterator[tuple[asyncio.Runner, str]]:
    """Keep this process on a core; give its loop, and the URL of the model that it plays as well."""
    port = stacks.free_port()
    with processes.pinned(core), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        server = runner.run(loop.create_server(Model, HOST, port, backlog=1024))
        try:
            yield runner, f"http://{HOST}:{port}/v1"
        finally:
            server.close()
