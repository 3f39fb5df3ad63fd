"""What a stack takes before anybody has asked for anything: code, disk, start and memory."""

from __future__ import annotations

import ast
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import stacks
from bench import processes, statistics
from bench.figures import Footprint, Interval, Lines
from stacks import Stack, StackError

ENDPOINTS = ("hello", "echo", "sse", "poll", "chat", "models")
REPEATS = 5

# The difference is what the app adds to the interpreter, whose own start nobody can choose.
IMPORT = """
import sys, time
sys.path.insert(0, "")
before = time.process_time()
import app
print(time.process_time() - before)
"""


def measure(stack: Stack, environ: Mapping[str, str], core: set[int], date: str) -> Footprint:
    """Return the footprint of an installed stack."""
    source = (stack.folder / "app.py").read_text()
    site = site_packages(stack)
    starts, idle = [], 0
    for _ in range(REPEATS):
        with processes.pinned(core):
            began = time.perf_counter()
            serving = stacks.serve(stack, environ=environ)
            running = serving.__enter__()
        try:
            running.wait_until_ready()
            starts.append(time.perf_counter() - began)
            idle = processes.memory_bytes(running.tree())
        finally:
            serving.__exit__(None, None, None)
    return Footprint(
        date=date,
        lines=len(code_lines(ast.parse(source))),
        lines_by_endpoint=lines_by_endpoint(source),
        packages=len(list(site.glob("*.dist-info"))),
        installed_bytes=installed_bytes(site),
        import_cpu_seconds=rounded([import_cpu_seconds(stack) for _ in range(REPEATS)]),
        first_answer_seconds=rounded(starts),
        idle_bytes=idle,
    )


def rounded(seconds: list[float]) -> Interval:
    found = statistics.interval([round(each, 6) for each in seconds])
    assert found is not None
    return found


# Disk and import


def site_packages(stack: Stack) -> Path:
    """Return where a stack's distributions are installed; raise StackError where they are not."""
    found = next(stack.environment.glob("lib/python*/site-packages"), None)
    if found is None:
        raise StackError(f"{stack} is not installed in {stack.environment}")
    return found


def installed_bytes(site: Path) -> int:
    """Return the size of all files but bytecode, which depends on what has been imported."""
    files = (path for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return sum(path.stat().st_size for path in files)


def import_cpu_seconds(stack: Stack) -> float:
    """Return the CPU time of `import app` in a process of its own."""
    python = stack.environment / "bin" / "python"
    done = subprocess.run(
        [python, "-c", IMPORT], cwd=stack.folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise StackError(f"{stack}: app.py cannot be imported:\n{done.stderr.strip()}")
    return float(json.loads(done.stdout.splitlines()[-1]))


# Lines


def lines_by_endpoint(source: str) -> dict[str, Lines]:
    """Return for each endpoint how many lines of code it needs, and how many only it needs.

    What a handler needs is itself and every function, class and assignment of the module that it
    names, and what these name in turn; but for what names several handlers, which is the routing.
    """
    module = ast.parse(source)
    defined = definitions(module)
    needs = {name: reached(name, defined) for name in ENDPOINTS if name in defined}
    result = {}
    for endpoint, needed in needs.items():
        others = set().union(*(each for other, each in needs.items() if other != endpoint))
        every = set().union(*(code_lines(defined[name]) for name in needed))
        shared = set().union(*(code_lines(defined[name]) for name in needed & others))
        result[endpoint] = Lines(own=len(every - shared), all=len(every))
    return result


def definitions(module: ast.Module) -> dict[str, ast.stmt]:
    """Return what a module defines at its top, by name."""
    found: dict[str, ast.stmt] = {}
    for statement in module.body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.TypeAlias():
                name = statement.name
                found[name.id if isinstance(name, ast.Name) else name] = statement
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = statement
    return found


def reached(start: str, defined: Mapping[str, ast.stmt]) -> set[str]:
    """Return a name and all that its definition leads to."""
    routing = {name for name, node in defined.items() if len(names(node) & set(ENDPOINTS)) > 1}
    seen, left = set[str](), {start}
    while left:
        name = left.pop()
        seen.add(name)
        left |= (names(defined[name]) & defined.keys()) - seen - routing
    return seen


def names(node: ast.AST) -> set[str]:
    """Return the names that a definition takes from elsewhere: none that it binds itself."""
    seen = {each for each in ast.walk(node) if isinstance(each, ast.Name)}
    bound = {each.id for each in seen if isinstance(each.ctx, ast.Store)}
    bound |= {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
    return {each.id for each in seen} - bound


def code_lines(node: ast.AST) -> set[int]:
    """Return the numbers of lines that hold code: no blank ones, comments or docstrings."""
    doc = set[int]()
    for each in ast.walk(node):
        if isinstance(each, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = each.body[0] if each.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                doc |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = set[int]()
    for each in ast.walk(node):
        if isinstance(each, ast.expr | ast.stmt | ast.arg | ast.alias | ast.keyword):
            lines |= {each.lineno, each.end_lineno or each.lineno}
    return lines - doc
