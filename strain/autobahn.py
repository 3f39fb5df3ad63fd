"""Autobahn|Testsuite against `/ws`: what the field has measured WebSocket servers by since 2011.

    python -m strain.autobahn APP [--server NAME] [--results FILE]

It runs under CPython 2.7 and no other, and compares each echo with what it sent. So it gets a hook that
takes the prefix off a whole text message, behind its own parser of frames and before the case looks;
what does not begin with the prefix is handed on as it is, and fails. Left out are messages that are
binary or over 1 MiB, which the contract has refused, a thousand messages against the clock, and
compression (12 and 13), which takes minutes. What it calls NON-STRICT is a should here: nearly always a
server that fails a connection at once, and does not answer first what came before the fault. So is a
pong that an echo overtook, which it calls FAILED: RFC 6455 5.5.2 wants it as soon as is practical.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import stacks
from conformance import results
from conformance.judgement import judge
from conformance.results import Level, Outcome
from conformance.sockets import PREFIX

LOCK = stacks.ROOT / "requirements" / "autobahn.txt"
LIBRARY = stacks.ENVIRONMENTS / "autobahn"
WITHIN = 600.0

BINARY = ("1.2.*", "9.2.*", "9.4.*", "9.6.*", "9.8.*")
TIMED = ("9.7.*",)
OVER_1_MIB = ("9.1.4", "9.1.5", "9.1.6", "9.3.*")
COMPRESSED = ("12.*", "13.*")

# In Python 2.7. Its arguments are LIBRARY and the prefix, its input what Autobahn calls a specification.
HOOKED = """
import json, site, sys
site.addsitedir(sys.argv[1])  # zope is put together from .pth files
from autobahntestsuite import choosereactor, fuzzing
from twisted.internet import reactor

def without_prefix(self, message, binary):
    prefix = sys.argv[2]
    if not binary and message.startswith(prefix):
        message = message[len(prefix):]
    self.runCase.onMessage(message, binary)

fuzzing.FuzzingProtocol.onMessage = without_prefix
fuzzing.startClient(json.load(sys.stdin))
reactor.run()
"""

# Of how a case went and of how its connection ended; everything else is a failure.
LEVELS = {
    "OK": Level.REQUIRED,
    "NON-STRICT": Level.SHOULD,
    "OVERTAKEN": Level.SHOULD,
    "INFORMATIONAL": Level.OBSERVE,
}


def python27() -> str:
    """Return a CPython 2.7; raise StackError that says how to get one."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    candidates = [str(path) for path in pyenv.glob("versions/2.7.*/bin/python2.7")]
    if found := shutil.which("python2.7"):
        candidates.insert(0, found)
    for candidate in candidates:
        asked = [candidate, "-c", "import sys; print(sys.version_info[:2] == (2, 7))"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.stdout.strip() == "True":
            return candidate
    raise stacks.StackError(
        f"Autobahn|Testsuite needs CPython 2.7; tried {candidates or 'python2.7 on PATH'}. Neither "
        "Debian 12 nor PyPI has it; pyenv builds it: pyenv install 2.7.18"
    )


def install(python: str) -> None:
    """Make LIBRARY hold what the lock says; wsaccel and ujson are compiled, which takes a minute."""
    installed = LIBRARY / ".samewire-lock"
    if installed.exists() and installed.read_text() == LOCK.read_text():
        return
    shutil.rmtree(LIBRARY, ignore_errors=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(LIBRARY)]
    done = subprocess.run([*pip, "-r", str(LOCK)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise stacks.StackError(f"pip of Python 2.7 failed; it needs a compiler:\n{done.stderr}")
    installed.write_text(LOCK.read_text())


def report(python: str, server: stacks.Running) -> Mapping[str, Mapping[str, object]]:
    """Run the testsuite; return its report on each case by number."""
    with tempfile.TemporaryDirectory(prefix="samewire-autobahn-") as folder:
        specification = {
            "outdir": folder,
            "servers": [{"agent": "stack", "url": f"ws://{server.host}:{server.port}/ws"}],
            "cases": ["*"],
            "exclude-cases": [*BINARY, *OVER_1_MIB, *TIMED, *COMPRESSED],
            "exclude-agent-cases": {},
        }
        done = subprocess.run(
            [python, "-c", HOOKED, str(LIBRARY), PREFIX],
            input=json.dumps(specification),
            capture_output=True,
            text=True,
            timeout=WITHIN,
            check=False,
        )
        index = Path(folder, "index.json")
        if done.returncode or not index.exists():
            raise stacks.StackError(f"the testsuite failed:\n{done.stdout[-2000:]}{done.stderr}")
        cases: dict[str, dict[str, object]] = json.loads(index.read_text())["stack"]
        for seen in cases.values():
            if seen["behavior"] == "FAILED":
                told = json.loads(Path(folder, str(seen["reportfile"])).read_text())
                seen["behavior"] = "OVERTAKEN" if overtaken(told) else "FAILED"
        return cases


def overtaken(told: Mapping[str, Any]) -> bool:
    """Return whether all came that a case had expected, the messages in order and so the pongs."""

    def apart(events: Sequence[Sequence[object]]) -> tuple[list[object], list[object]]:
        others: list[object] = [event for event in events if event[0] != "pong"]
        return [event for event in events if event[0] == "pong"], others

    received = apart(told["received"])
    return any(received == apart(expected) for expected in told["expected"].values())


def judged(stack: stacks.Stack, number: str, seen: Mapping[str, object]) -> results.Case:
    """Return what a case of the testsuite came to in the words of this suite."""
    behaviour, ending = str(seen["behavior"]), str(seen["behaviorClose"])
    level = LEVELS.get(behaviour, Level.REQUIRED)
    sound = behaviour == "OK" and ending in ("OK", "INFORMATIONAL")
    words = f"{behaviour}, its connection ended {ending} with {seen['remoteCloseCode']}"
    if behaviour in LEVELS and ending not in ("OK", "INFORMATIONAL"):
        level = Level.REQUIRED
    error = None if sound or level is Level.OBSERVE else AssertionError(words)
    declared = stack.fails.get(case_id(number))
    outcome, message = judge(level, declared, error, observed=words)
    seconds = int(str(seen["duration"])) / 1000
    return results.Case(outcome=outcome.value, level=level.value, message=message, seconds=seconds)


def case_id(number: str) -> str:
    return f"autobahn/{number.replace('.', '_')}"


def run(stack: stacks.Stack, python: str) -> results.Result:
    """Judge the stack's `/ws` by the testsuite."""
    began, date = time.monotonic(), datetime.datetime.now(datetime.UTC)
    with stacks.serve(stack) as running:
        running.wait_until_ready()
        reports = report(python, running)
    return results.Result(
        app=stack.app,
        server=stack.server,
        interface=stack.interface,
        suite=results.suite_version(),
        versions=stack.versions,
        machine=results.machine(),
        date=date.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        cases={case_id(n): judged(stack, n, seen) for n, seen in sorted(reports.items())},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge an app, tell what did not pass, and fail if any of that is red."""
    parser = argparse.ArgumentParser(prog="strain.autobahn")
    parser.add_argument("app")
    parser.add_argument("--server")
    parser.add_argument("--results", type=Path, help="write every outcome to this JSON file")
    options = parser.parse_args(arguments)
    try:
        stack = stacks.find(options.app, options.server)
        if fault := stack.lacks.get("websocket"):
            print(f"{stack} lacks websocket, so there is nothing to judge: {fault.reason}")
            return
        python = python27()
        install(python)
        stacks.install(stack)
        result = run(stack, python)
    except stacks.StackError as error:
        sys.exit(f"error: {error}")
    if options.results:
        results.write(options.results, result)
    tell(result)


def tell(result: results.Result) -> None:
    cases = result["cases"]
    for name, case in cases.items():
        if case["outcome"] != Outcome.PASSED:
            print(f"{case['outcome']}, {case['level']}: {name}: {case['message']}")
    passed = sum(case["outcome"] == Outcome.PASSED for case in cases.values())
    red = sum(results.is_red(case["outcome"], case["level"]) for case in cases.values())
    print(f"{passed} of {len(cases)} passed, {red} red")
    sys.exit(red > 0)


if __name__ == "__main__":
    main()
