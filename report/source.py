"""An app's source in pieces: what each endpoint takes, which lines that is, how it is shown."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import BashLexer, PythonLexer

# The handlers have these names in every app, as a class or a function.
ENDPOINTS: Mapping[str, tuple[str, ...]] = {
    "hello": ("hello",),
    "websocket": ("echo",),
    "sse": ("sse",),
    "poll": ("poll",),
    "chat": ("chat", "models"),
}
SECTIONS = (*ENDPOINTS, "shared", "setup", "wiring")
# Names and punctuation are most of a program and look like the rest of it.
PLAIN = re.compile(r'<span class="(?:n|p|w|o|nn|nb|fm)">([^<]*)</span>')

type Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Piece:
    """A statement of the module: the names it binds and its lines, from 1, the last included."""

    names: tuple[str, ...]
    first: int
    last: int
    text: str
    lines_of_code: int
    is_definition: bool


@dataclass(frozen=True)
class Source:
    """The `app.py` of an app, its pieces by section in the order of the file."""

    text: str = ""
    docstring: str = ""
    is_async: bool = False
    sections: Mapping[str, Sequence[Piece]] = field(default_factory=dict)

    def lines_of_code(self, section: str) -> int:
        """Count lines without blanks, comments and docstrings."""
        return sum(piece.lines_of_code for piece in self.sections.get(section, ()))

    @property
    def all_lines(self) -> int:
        return sum(self.lines_of_code(section) for section in self.sections)

    @cached_property
    def html(self) -> list[str]:
        """Every line of the file, highlighted."""
        return python(self.text).split("\n")

    @property
    def lines(self) -> list[str]:
        """Lines that say something, without what stands around them."""
        pieces = (piece for pieces in self.sections.values() for piece in pieces)
        stripped = (line.strip() for piece in pieces for line in piece.text.splitlines())
        return [line for line in stripped if line and not line.startswith("#")]

    def find(self, name: str) -> Piece:
        """Return the piece that binds a name; raise LookupError where none does."""
        for piece in (piece for pieces in self.sections.values() for piece in pieces):
            if name in piece.names:
                return piece
        raise LookupError(f"app.py binds no {name!r}")


def read_source(folder: Path, name: str = "app.py") -> Source:
    """Read a module of an app's folder; an empty source where there is none."""
    path = folder / name
    return parse(path.read_text()) if path.exists() else Source()


@cache  # the same text is asked for with every reading of the records
def parse(text: str) -> Source:
    """Return a module's text in pieces, each in the section that it belongs to."""
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree) or ""
    body = tree.body[1:] if docstring else tree.body
    pieces = {node: _piece(node, text.splitlines()) for node in body}
    sections: dict[str, list[Piece]] = {section: [] for section in SECTIONS}
    for node, section in zip(body, _sections(body), strict=True):
        sections[section].append(pieces[node])
    is_async = any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree))
    return Source(text, docstring, is_async, sections)


def _piece(node: ast.stmt, lines: Sequence[str]) -> Piece:
    decorators = getattr(node, "decorator_list", ())
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    last = node.end_lineno or node.lineno
    code = set(range(first, last + 1)) - set(_docstring_lines(node))
    counted = [
        n for n in code if lines[n - 1].strip() and not lines[n - 1].lstrip().startswith("#")
    ]
    while first > 1 and lines[first - 2].startswith("#"):  # a comment right above belongs to it
        first -= 1
    return Piece(
        tuple(_bound(node)),
        first,
        last,
        "\n".join(lines[first - 1 : last]),
        len(counted),
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)),
    )


def _docstring_lines(node: ast.stmt) -> Iterator[int]:
    for inner in ast.walk(node):
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            match inner.body[0]:
                case ast.Expr(value=ast.Constant(value=str())) as found:
                    yield from range(found.lineno, (found.end_lineno or found.lineno) + 1)


def _bound(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.TypeAlias():
            yield node.name if isinstance(node.name, str) else node.name.id
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (n for target in targets for n in ast.walk(target)):
                if isinstance(name, ast.Name):
                    yield name.id


def _sections(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Say where each statement belongs.

    What one endpoint alone reaches is its own, what several reach is shared. A hook that nobody calls
    by its name belongs to the handler above it. Behind the handlers the rest is wiring, before them
    it sets the module up.
    """
    named = {name: node for node in body for name in _bound(node)}
    handlers = {
        endpoint: [node for name, node in named.items() if name.lower() in wanted]
        for endpoint, wanted in ENDPOINTS.items()
    }
    reached = {endpoint: _reached(nodes, named) for endpoint, nodes in handlers.items()}
    current = ""
    for node in body:
        users = [endpoint for endpoint, nodes in reached.items() if node in nodes]
        begun = next((e for e, nodes in handlers.items() if node in nodes), "")
        current = begun or current
        if begun:
            yield begun
        elif not current and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield "setup"
        elif users:
            yield users[0] if len(users) == 1 else "shared"
        elif current and getattr(node, "decorator_list", None):
            yield current
        else:
            yield "wiring"


def _reached(start: Iterable[ast.stmt], named: Mapping[str, ast.stmt]) -> set[ast.stmt]:
    """Return what these statements use of the module, and what that uses in its turn."""
    seen: set[ast.stmt] = set()
    waiting = list(start)
    while waiting:
        node = waiting.pop()
        seen.add(node)
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        waiting += [named[name] for name in used if name in named and named[name] not in seen]
    return seen


FORMATTER = HtmlFormatter(nowrap=True)


@cache
def python(text: str) -> str:
    """Return Python as HTML, a span a line."""
    lines = PLAIN.sub(r"\1", highlight(text, PythonLexer(stripnl=False), FORMATTER)).splitlines()
    return "\n".join(f"<span class=l>{line}</span>" for line in lines)


def shell(text: str) -> str:
    """Return a command as HTML."""
    return PLAIN.sub(r"\1", highlight(text, BashLexer(), FORMATTER)).rstrip()


def function_text(path: Path, name: str) -> tuple[str, int]:
    """Return a function of a file, its decorators included, and its first line's number."""
    functions = _functions(path)
    if name not in functions:
        raise LookupError(f"{path.name} has no function {name!r}")
    return functions[name]


@cache
def _functions(path: Path) -> dict[str, tuple[str, int]]:
    text = path.read_text()
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found[node.name] = "\n".join(text.splitlines()[first - 1 : node.end_lineno]), first
    return found
