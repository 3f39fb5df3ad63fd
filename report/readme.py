"""The tables in README.md: of the stacks, made of the manifests and of what each app says of itself,
and of what they cost.
"""

from __future__ import annotations

import ast
from pathlib import Path

import stacks
from report import facts, ranking
from stacks import ROOT

PATH = ROOT / "README.md"
BEGIN, END = "<!-- made by nox -s report -- --picture: {} -->\n", "<!-- end -->"


def table() -> str:
    """Return a row for each app: its source, its interface, its servers and its own first words."""
    rows = ["| App | Interface | Servers, its own first | What it shows |", "|---|---|---|---|"]
    for name in stacks.app_names():
        found = stacks.read_stacks(stacks.APPS / name)
        servers = ", ".join(stack.server for stack in found)
        link = f"[{name}](apps/{name}/app.py)"
        rows.append(f"| {link} | {found[0].interface} | {servers} | {summary(found[0])} |")
    return "\n".join(rows) + "\n"


def summary(stack: stacks.Stack) -> str:
    """Return the first sentence of an app's docstring, without the name of the app in front."""
    docstring = ast.get_docstring(ast.parse((stack.folder / "app.py").read_text())) or ""
    return docstring.splitlines()[0].removeprefix(f"{stack.title}: ").removesuffix(".")


def with_tables(text: str) -> str:
    """Return a text with each table between its two marks; raise ValueError where these are not."""
    tables = {"stacks": table(), "costs": ranking.table(facts.read())}
    for name, made in tables.items():
        begin = BEGIN.format(name)
        before, _, rest = text.partition(begin)
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"README.md has no {begin.strip()} with an {END} behind it")
        text = before + begin + made + end + after
    return text


def write(path: Path = PATH) -> Path:
    """Bring the tables up to date."""
    path.write_text(with_tables(path.read_text()))
    return path
