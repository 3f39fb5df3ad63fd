"""What is judged: the stack that the options name, and a server of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import stacks
from conformance import cases, results


def add_options(group: pytest.OptionGroup) -> None:
    """Have it named by an app, a command or an address."""
    add = group.addoption
    add("--app", help="an app of apps/ by name, or any folder with a [tool.stack] manifest")
    add("--server", help="one of the app's servers; its first one without it")
    add("--command", help="start this instead; {host} and {port} are filled in")
    add("--url", help="judge what runs there; what needs its process is not judged")
    add("--title", help="with --command or --url: the title in its greeting")
    add("--interface", choices=stacks.INTERFACES, help="with --command or --url")
    add("--lacks", action="append", default=[], choices=stacks.CAPABILITIES)
    add("--offers", action="append", default=[], choices=stacks.OFFERS)


def chosen_stack(option: Any) -> stacks.Stack:
    """Return the stack that these options name; raise UsageError or StackError where none is."""
    given = [name for name in ("app", "command", "url") if getattr(option, name)]
    if len(given) != 1:
        raise pytest.UsageError("name what to judge: one of --app, --command and --url")
    if option.app:
        folder = Path(option.app)
        is_name = option.app in stacks.app_names() or not folder.is_dir()
        return stacks.find(option.app if is_name else folder, option.server)
    for name in ("title", "interface"):
        if not getattr(option, name):
            raise pytest.UsageError(f"--{given[0]} needs --{name}")
    reason = stacks.Fault("said by --lacks", "")
    described = partial(
        stacks.Stack,
        app=option.title,
        server=given[0],
        title=option.title,
        interface=option.interface,
        offers=tuple(option.offers),
        lacks=dict.fromkeys(option.lacks, reason),
    )
    if option.url:
        return described(url=option.url)
    if "{port}" not in option.command:
        raise pytest.UsageError("--command needs {port}: the suite chooses a free one")
    return described(command=tuple(shlex.split(option.command)), folder=Path.cwd())


def check_declarations(stack: stacks.Stack) -> None:
    """Raise StackError where a stack is declared to fail a case that does not exist."""
    known = [case.id for case in cases.declared()]
    for name in stack.fails:
        if name not in known and not _is_of_others(name):
            listed = "\n  ".join(known)
            raise stacks.StackError(f"{stack} fails: no case {name!r}; known:\n  {listed}")


def _is_of_others(name: str) -> bool:
    """Return whether a case is one that this suite does not hold.

    Those of the witnesses know only who has installed them; Autobahn's are numbers.
    """
    group = name.partition("/")[0]
    if group == "autobahn":
        return re.fullmatch(r"autobahn/\d+(_\d+){1,2}", name) is not None
    if group in results.STRAINS:
        return name in {case.id for case in cases.declared("strain")}
    return group in results.WITNESSES


@dataclass(frozen=True)
class Remote:
    """A server that the suite did not start: only its address is known."""

    host: str
    port: int


type Server = stacks.Running | Remote


@contextmanager
def started(stack: stacks.Stack, environ: Mapping[str, str]) -> Iterator[Server]:
    """Start a server of the stack, or look for the one at its address; it answers by then."""
    if stack.url is not None:
        parts = urlsplit(stack.url)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise stacks.StackError(f"--url {stack.url}: give http://HOST:PORT, no path, no TLS")
        remote = Remote(parts.hostname, parts.port or 80)
        seen = stacks.probe(remote.host, remote.port)
        if seen != "200":
            raise stacks.StackError(f"--url {stack.url}: GET / gave {seen}, wanted 200")
        yield remote
        return
    with stacks.serve(stack, environ=environ) as running:
        running.wait_until_ready()
        yield running
