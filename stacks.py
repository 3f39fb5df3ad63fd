"""A stack is an app on a server: where it stands, how to install, serve, watch and stop it.

An app is a folder with `app.py` and a `pyproject.toml` that has `[tool.stack]`; a server is a table
of `servers.toml`. The folder is the registry: nothing else lists the apps.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import http.client
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TextIO

import psutil

from census import Census, Enumerator

ROOT = Path(__file__).parent
APPS = ROOT / "apps"
ENVIRONMENTS = ROOT / ".stacks"

HOST = "127.0.0.1"
READY_WITHIN = 15.0
STOP_WITHIN = 10.0
# Below Linux's range of ephemeral ports (from 32768): a port found free here cannot be taken by an
# outgoing connection before the server binds it.
PORTS = range(20_000, 32_000)

Interface = Literal["ASGI", "WSGI"]
INTERFACES: tuple[Interface, ...] = ("ASGI", "WSGI")
CAPABILITIES = ("websocket", "chat")
# What no stack has to have, and those that have it are asked about.
OFFERS = ("socketio",)
# What a framework is made for, where its own documentation says so.
FOCUSES = ("html",)


class StackError(Exception):
    """A manifest, a command or a machine that is not as it should be; the text says what to do."""


@dataclass(frozen=True)
class Fault:
    """Why a stack lacks a capability or fails a case, and where that can be read."""

    reason: str
    link: str


@dataclass(frozen=True)
class Server:
    """One table of `servers.toml`."""

    name: str
    interface: Interface
    dependencies: tuple[str, ...]
    command: tuple[str, ...]
    capacity: int | None = None
    lacks: Mapping[str, Fault] = field(default_factory=dict)
    fails: Mapping[str, Fault] = field(default_factory=dict)


@dataclass(frozen=True)
class Stack:
    """An app on a server, or anything else that can be started or reached.

    `command` holds `{host}` and `{port}`; it is empty for a stack that runs elsewhere, at `url`.
    `lacks` is keyed by capability, `fails` by case id (`group/words`). `capacity` is how many streams,
    polls and sockets it holds at once, where its command sets a limit.
    """

    app: str
    server: str
    title: str
    interface: Interface
    command: tuple[str, ...] = ()
    url: str | None = None
    folder: Path = ROOT
    lock: Path | None = None
    dependencies: tuple[str, ...] = ()
    source: str = ""
    focus: str = ""
    offers: tuple[str, ...] = ()
    capacity: int | None = None
    lacks: Mapping[str, Fault] = field(default_factory=dict)
    fails: Mapping[str, Fault] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.app}-{self.server}"

    @property
    def environment(self) -> Path:
        """The stack's own virtualenv."""
        if self.folder.parent == APPS:
            return ENVIRONMENTS / str(self)
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]
        return ENVIRONMENTS / f"{self}-{digest}"

    @property
    def versions(self) -> dict[str, str]:
        """Locked versions of what the app and its server name as dependencies."""
        if self.lock is None or not self.lock.exists():
            return {}
        locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", self.lock.read_text(), re.MULTILINE))
        names = [re.split(r"[^\w.-]", name)[0] for name in self.dependencies]
        return {name: locked[name] for name in sorted(names) if name in locked}


# Manifests


def app_names() -> list[str]:
    """Return the names of the apps in this house, in alphabetical order."""
    return sorted(path.parent.name for path in APPS.glob("*/pyproject.toml"))


@cache  # all stacks are read with it
def read_servers(path: Path = ROOT / "servers.toml") -> Mapping[str, Server]:
    """Read `servers.toml`; raise StackError for what it should not hold."""
    servers: dict[str, Server] = {}
    for name, table in tomllib.loads(path.read_text()).items():
        place = f"{path.name}: [{name}]"
        if "behind" in table:
            _check_keys(place, table, ("behind", "server"), ("lacks", "fails"))
            _check_known(place, "server above", [table["server"]], servers)
            table = _behind(table["behind"], servers[table["server"]]) | table
        else:
            required = ("interface", "dependencies", "command")
            _check_keys(place, table, required, ("capacity", "lacks", "fails"))
        _check_interface(place, table["interface"])
        _check_known(f"{place} lacks", "capability", table.get("lacks", {}), CAPABILITIES)
        servers[name] = Server(
            name,
            table["interface"],
            tuple(table["dependencies"]),
            tuple(
                part.replace("{servers}", str(path.parent / "servers")) for part in table["command"]
            ),
            table.get("capacity"),
            _faults(f"{place} lacks", table.get("lacks", {})),
            _faults(f"{place} fails", table.get("fails", {})),
        )
    return servers


def _behind(proxy: Sequence[str], server: Server) -> dict[str, Any]:
    """Return the table of a server that a proxy's command starts and reaches on a port of its own."""
    return {
        "interface": server.interface,
        "dependencies": server.dependencies,
        "capacity": server.capacity,
        "command": [*proxy, *(part.replace("{port}", "{upstream}") for part in server.command)],
    }


def read_stacks(folder: Path) -> list[Stack]:
    """Read an app's manifest into one stack a server, the default server's first."""
    path = folder / "pyproject.toml"
    if not path.exists():
        raise StackError(f"{folder} has no pyproject.toml with a [tool.stack] table")
    try:
        manifest = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise StackError(f"{path}: {error}") from None
    table = manifest.get("tool", {}).get("stack")
    if table is None:
        raise StackError(f"{path} has no [tool.stack] table")
    place = f"{path}: [tool.stack]"
    required = ("title", "interface", "source", "servers")
    _check_keys(place, table, required, ("focus", "offers", "lacks", "fails", "passes"))
    _check_known(f"{place} offers", "capability", table.get("offers", ()), OFFERS)
    _check_interface(place, table["interface"])
    _check_known(place, "focus", [table["focus"]] if "focus" in table else [], FOCUSES)
    _check_known(f"{place} lacks", "capability", table.get("lacks", {}), CAPABILITIES)
    for key in ("fails", "passes"):
        _check_known(f"{place} {key}", "server of this app", table.get(key, {}), table["servers"])
    servers = read_servers()
    _check_known(f"{place} servers", "server", table["servers"], servers)
    dependencies = tuple(manifest.get("project", {}).get("dependencies", ()))
    stacks = []
    for name in table["servers"]:
        server = servers[name]
        if server.interface != table["interface"]:
            raise StackError(f"{place} is {table['interface']}, server {name} {server.interface}")
        fails = _faults(f"{place} fails.{name}", table.get("fails", {}).get(name, {}))
        passes = _faults(f"{place} passes.{name}", table.get("passes", {}).get(name, {}))
        _check_known(f"{place} passes.{name}", f"failure of {name}", passes, server.fails)
        stack = Stack(
            app=folder.resolve().name,
            server=name,
            title=table["title"],
            interface=table["interface"],
            command=server.command,
            folder=folder.resolve(),
            lock=folder.resolve() / f"requirements-{name}.txt",
            dependencies=dependencies + server.dependencies,
            source=table["source"],
            focus=table.get("focus", ""),
            offers=tuple(table.get("offers", ())),
            lacks={**server.lacks, **_faults(f"{place} lacks", table.get("lacks", {}))},
            fails={case: server.fails[case] for case in server.fails if case not in passes} | fails,
            capacity=server.capacity,
        )
        stacks.append(stack)
    return stacks


def find(app: str | Path, server: str | None = None) -> Stack:
    """Return the stack of an app, given by name or folder, on `server` or its default server."""
    if isinstance(app, str):
        _check_known("apps/", "app", [app], app_names())
        app = APPS / app
    stacks = {stack.server: stack for stack in read_stacks(app)}
    if server is None:
        return next(iter(stacks.values()))
    _check_known(f"app {app.name}", "server", [server], stacks)
    return stacks[server]


def _check_keys(
    place: str, table: Mapping[str, Any], required: Sequence[str], optional: Sequence[str] = ()
) -> None:
    _check_known(place, "key", table, (*required, *optional))
    for key in required:
        if key not in table:
            raise StackError(f"{place} needs the key {key!r}")


def _check_known(place: str, what: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise StackError(f"{place}: no {what} {name!r}; known: {', '.join(known) or 'none'}")


def _check_interface(place: str, interface: str) -> None:
    _check_known(place, "interface", [interface], INTERFACES)


def _faults(place: str, table: Mapping[str, Any]) -> dict[str, Fault]:
    for name, entry in table.items():
        _check_keys(f"{place} {name}", entry, ("reason", "link"))
    return {name: Fault(**entry) for name, entry in table.items()}


# Environments


def lock(stack: Stack, to: Path | None = None) -> Path:
    """Resolve a stack's dependencies to their newest releases; write and return the lock."""
    target = to or stack.lock
    if target is None:
        raise StackError(f"{stack} has no manifest, so there is nothing to lock")
    _uv(
        "pip", "compile", "-", "--quiet", "--universal", "--upgrade", "--no-annotate",
        "--python-version", (ROOT / ".python-version").read_text().strip(),
        "--custom-compile-command", "nox -s lock", "--output-file", str(target),
        given="\n".join(stack.dependencies),
    )  # fmt: skip
    return target


def install(stack: Stack) -> None:
    """Make the stack's virtualenv hold just what its lock says; do nothing where it does."""
    if stack.lock is None:
        return
    environment = stack.environment
    environment.mkdir(parents=True, exist_ok=True)
    with (environment / ".samewire-install").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two runs of one stack may start together
        locked = stack.lock
        if not locked.exists():
            print(f"{stack}: no {locked.name}, resolving its dependencies", file=sys.stderr)
            locked = lock(stack, environment / "requirements.txt")
        installed = environment / ".samewire-lock"
        if installed.exists() and installed.read_text() == locked.read_text():
            return
        installed.unlink(missing_ok=True)
        _uv("venv", "--quiet", "--allow-existing", str(environment))
        python = str(environment / "bin" / "python")
        _uv("pip", "sync", "--quiet", "--compile-bytecode", "--python", python, str(locked))
        installed.write_text(locked.read_text())


def _uv(*arguments: str, given: str | None = None) -> None:
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise StackError("uv is not installed: python3 -m pip install uv")
    done = subprocess.run(
        [uv, *arguments], cwd=ROOT, input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StackError(f"uv {shlex.join(arguments)} failed:\n{done.stderr.strip()}")


# Processes


class Running:
    """A stack that was started: its address, its process tree and what it printed."""

    def __init__(self, stack: Stack, process: subprocess.Popen[bytes], port: int, log: Path):
        self.stack = stack
        self.process = process
        self.root = psutil.Process(process.pid)  # tells a process from a later one with its number
        self.host = HOST
        self.port = port
        self.log = log
        self._enumerator = Enumerator()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def output(self) -> str:
        """Everything that the process tree has printed so far."""
        return self.log.read_text(errors="replace")

    def tree(self) -> list[psutil.Process]:
        """The living processes that were started, children included."""
        try:
            return [self.root, *self.root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def census(self) -> Census:
        """Count what the process tree holds now."""
        return self._enumerator.census(self.tree())

    def wait_until_ready(self, within: float = READY_WITHIN) -> None:
        """Return once `GET /` gives 200; raise StackError when the process ends or time is up."""
        deadline = time.monotonic() + within
        seen = "nothing listened"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise StackError(
                    f"{self.stack} exited with {self.process.returncode} before it answered; "
                    f"its command: {shlex.join(map(str, self.process.args))}\n{self._tail()}"  # type: ignore[arg-type]  # always started from a list
                )
            seen = probe(self.host, self.port)
            if seen == "200":
                return
            time.sleep(0.01)
        raise StackError(
            f"{self.stack}: GET / gave {seen} for {within:g} s, wanted 200\n{self._tail()}"
        )

    def terminate(self) -> None:
        """Ask the server to stop, as an operator does: SIGTERM to the process that was started."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, within: float) -> float:
        """Return the seconds until the process ended; raise TimeoutError after `within`."""
        start = time.monotonic()
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running {within:g} s later") from None
        return time.monotonic() - start

    def kill(self) -> None:
        """End the process tree at once, also children that outlive or left their parent."""
        tree = self.tree()
        # Once the process has been waited for, its number may be somebody else's. Where nobody has
        # it, a group of that number is still this one: the kernel gives out no number that is held.
        if self.process.poll() is None or not psutil.pid_exists(self.process.pid):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def _tail(self, lines: int = 30) -> str:
        return "\n".join(self.output.splitlines()[-lines:])


def probe(host: str, port: int) -> str:
    """Return the status of `GET /` as text, or what went wrong."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/")
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()


def free_port() -> int:
    """Return a port that nothing is bound to, and that no other run is given while this one lasts."""
    first = random.randrange(len(PORTS))
    for port in chain(PORTS[first:], PORTS[:first]):
        if port_is_free(port, also_of_the_past=True) and _reserve(port):
            return port
    raise StackError(f"no port from {PORTS[0]} to {PORTS[-1]} is free; end what holds them")


_reserved: set[int] = set()


@cache
def _reservations() -> TextIO:
    return Path(tempfile.gettempdir(), f"samewire-ports-{os.getuid()}").open("a")


def _reserve(port: int) -> bool:
    """Keep a port for this process; return whether it was to be had.

    Between the choice of a port and the moment that a server listens on it, another lane would find it
    free too, and then be answered by that server. Byte `port` of a file that all of them lock tells;
    such a lock ends with its process, however that ends.
    """
    if port in _reserved:
        return False
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _reserved.add(port)
    return True


def port_is_free(port: int, *, also_of_the_past: bool = False) -> bool:
    """Return whether nothing listens on a port, and, if asked, no closed connection lingers."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, not also_of_the_past)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
        return True


# What starts a process; the project's own tests have a faster way for a server that they know.
popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen


def spawn(stack: Stack, port: int, environ: Mapping[str, str], log: Path) -> Running:
    """Start a stack's command in a process group of its own, without waiting for it."""
    command = [p.replace("{host}", HOST).replace("{port}", str(port)) for p in stack.command]
    if any("{upstream}" in part for part in command):
        upstream = str(free_port())
        command = [part.replace("{upstream}", upstream) for part in command]
    inherited = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    if stack.lock is not None:
        path = f"{stack.environment / 'bin'}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        inherited |= {"VIRTUAL_ENV": str(stack.environment), "PATH": path}
    try:
        with log.open("wb") as output:
            process = popen(
                command,
                cwd=stack.folder,
                env=inherited
                | {"PYTHONUNBUFFERED": "1", "TMPDIR": str(log.parent)}
                | dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise StackError(f"{stack}: cannot start {shlex.join(command)}: {error}") from None
    return Running(stack, process, port, log)


@contextmanager
def serve(
    stack: Stack, *, port: int | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Start a stack on a free port, or on `port`; leave nothing of it behind."""
    if port is not None and not port_is_free(port):
        raise StackError(f"port {port} is taken; name another, or none to get a free one")
    with tempfile.TemporaryDirectory(prefix="samewire-") as folder:
        running = spawn(stack, port or free_port(), environ or {}, Path(folder) / "log")
        try:
            yield running
        finally:
            running.kill()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a stack until Ctrl-C, or lock stacks: what `nox -s serve` and `nox -s lock` run."""
    parser = argparse.ArgumentParser(prog="stacks")
    commands = parser.add_subparsers(dest="command", required=True)
    serving = commands.add_parser("serve", help="serve an app until Ctrl-C")
    serving.add_argument("app")
    serving.add_argument("--server")
    serving.add_argument("--port", type=int)
    locking = commands.add_parser("lock", help="lock apps on all their servers")
    locking.add_argument("apps", nargs="*")
    options = parser.parse_args(arguments)
    try:
        if options.command == "lock":
            _lock(options.apps or app_names())
        else:
            _serve(find(options.app, options.server), options.port)
    except StackError as error:
        sys.exit(f"error: {error}")


def _lock(apps: Sequence[str]) -> None:
    for app in apps:
        for stack in read_stacks(find(app).folder):
            print(f"{stack}: {lock(stack).relative_to(ROOT)}")


def _serve(stack: Stack, port: int | None) -> None:
    install(stack)
    with serve(stack, port=port) as running, suppress(KeyboardInterrupt):
        running.wait_until_ready()
        print(f"{stack.title} ({stack.interface}) on {running.url}; Ctrl-C stops it", flush=True)
        running.process.wait()
        sys.exit(f"error: {stack} exited with {running.process.returncode}\n{running.output}")


if __name__ == "__main__":
    main()
