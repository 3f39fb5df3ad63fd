"""The guide: a text in Markdown whose claims are links that have to lead somewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup

from report.charts import Figure, Point
from report.facts import NOT_APPLYING, Known, Row
from report.source import python, shell

HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"


@dataclass(frozen=True)
class Command:
    """A command of the guide and what it prints; a server prints nothing of interest."""

    line: str
    output: str = ""


class Guide:
    """Renders guide.md; a claim that names what does not exist raises LookupError."""

    def __init__(self, known: Sequence[Known], rows: Sequence[Row], figures: Sequence[Figure]):
        self.known = {str(one): one for one in known}
        self.apps = {one.stack.app: one for one in known if one.is_default}
        self.rows = {row.id: row for row in rows}
        self.figures = {figure.key: figure for figure in figures}
        self.commands: list[Command] = []

    def html(self) -> Markup:
        """Return the text as HTML, and collect its commands."""
        self.commands = []
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
        names = ("case", "app", "code", "example", "run", "figure", "has", "median", "passing")
        text = environment.from_string((HERE / "guide.md").read_text()).render(
            {name: getattr(self, name) for name in names}
            | {"sidecar_diagram": (HERE / "templates" / "sidecar.html").read_text()}
        )
        return markdown(text)

    def case(self, name: str) -> str:
        """Link a case."""
        return f'<a class=case href="{_found("case", name, self.rows).page}">{name}</a>'

    def app(self, name: str) -> str:
        """Link the page of an app on its default server."""
        known = _found("app", name, self.apps)
        return f'<a href="{known.page}">{known.stack.title}</a>'

    def has(self, name: str) -> bool:
        return name in self.apps

    def code(self, app: str, name: str) -> str:
        """Show what an app binds to a name, and link the line."""
        known = _found("app", app, self.apps)
        piece = known.source.find(name)
        label = f"apps/{app}/app.py, line {piece.first}"
        link = f'<a href="{known.page}#L{piece.first}">{label}</a>'
        return _block(python(piece.text), link)

    def example(self, name: str) -> str:
        """Show one of the guide's own programs."""
        path = f"report/examples/{name}"
        return _block(python((EXAMPLES / name).read_text().rstrip()), escape(path))

    def run(self, line: str, output: str = "") -> str:
        """Show a command, and what it prints; a test runs it and compares."""
        self.commands.append(Command(line, output))
        printed = f"\n<samp>{escape(output)}</samp>" if output else ""
        return _block(f"<b>$ </b>{shell(line)}{printed}", "")

    def passing(self, name: str) -> str:
        """Say how many of the stacks that were asked pass a case."""
        row = _found("case", name, self.rows)
        kinds = [known.judgement(row).kind for known in self.known.values()]
        asked = [kind for kind in kinds if kind not in NOT_APPLYING]
        return f"{asked.count('passed')} of {len(asked)} stacks"

    def figure(self, key: str, words: str) -> str:
        """Link a figure."""
        return f'<a href="#figure-{_found("figure", key, self.figures).key}">{words}</a>'

    def median(self, key: str, panel: str, stack: str) -> str:
        """Return a figure in words, `12 ms`, or say that it is missing."""
        for shown in _found("figure", key, self.figures).panels:
            for point in shown.points:
                if shown.title == panel and point.stack == stack:
                    return _in_words(point, shown.unit)
        return "(not measured)"


def _in_words(point: Point, unit: str) -> str:
    return point.note if point.value is None else f"{point.value:,.3g} {unit}".rstrip()


def _found[Value](what: str, name: str, known: Mapping[str, Value]) -> Value:
    if name not in known:
        raise LookupError(f"guide.md names the {what} {name!r}, which does not exist")
    return known[name]


def _block(html: str, caption: str) -> str:
    # Markdown ends a block of HTML at an empty line, so none may stand in it.
    html = html.replace("\n\n", "\n<span></span>\n")
    captioned = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure class=code><pre tabindex=0><code>{html}</code></pre>{captioned}</figure>\n"


_PAGES = MarkdownIt("commonmark", {"html": True}).enable("table")
_LINES = MarkdownIt("commonmark")


def markdown(text: str) -> Markup:
    """Return Markdown as HTML."""
    return Markup(_PAGES.render(text))


@cache
def inline(text: str) -> Markup:
    """Return a line of Markdown as HTML, without a paragraph around it."""
    return Markup(_LINES.renderInline(text))
