"""Puts the pages together and writes them into a folder that needs nothing but a browser."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import stacks
from conformance import results, spec
from report import charts, facts, figures, links, notes, pick
from report.facts import Known, Row
from report.guide import Guide, inline, markdown
from report.links import Reference
from report.source import ENDPOINTS, SECTIONS, Piece, Source, function_text, python
from tests.mutants import Mutant, all_mutants

HERE = Path(__file__).parent
SITE = stacks.ROOT / "site"
REPOSITORY = "Samewire"


@dataclass(frozen=True)
class Group:
    """A group of the matrix and its rows."""

    name: str
    rows: Sequence[Row]


class Comparison:
    """Everything that the pages show, worked out once."""

    def __init__(self, known: Sequence[Known]):
        self.known = sorted(known, key=pick.order)
        self.rows = facts.rows(known)
        self.notes = notes.notes(known, self.rows)
        self.findings = notes.findings()
        self.figures = figures.all_figures(known)
        self.panels = [panel for figure in self.figures for panel in figure.panels]
        self.drawing = charts.draw_all(self.panels)
        self.paragraphs = {p.number: p for p in spec.paragraphs()}
        self.guide = Guide(known, self.rows, self.figures)

    @cached_property
    def defaults(self) -> list[Known]:
        """Each app on its default server, in the order of the list."""
        return [known for known in self.known if known.is_default]

    @cached_property
    def servers(self) -> list[str]:
        return sorted({known.stack.server for known in self.known})

    @cached_property
    def groups(self) -> list[Group]:
        names = dict.fromkeys(row.group for row in self.rows)
        return [Group(name, [r for r in self.rows if r.group == name]) for name in names]

    @cached_property
    def numbers(self) -> dict[stacks.Fault, int]:
        """The number of each note."""
        return {note.fault: note.number for note in self.notes}

    @cached_property
    def drawn(self) -> Iterator[str]:
        """The drawings of all panels, in the order of the page."""
        return iter(self.drawing.result())

    @cached_property
    def mutants(self) -> dict[str, list[Mutant]]:
        """The mutants that each case catches."""
        caught: dict[str, list[Mutant]] = {}
        for mutant in all_mutants():
            for case in sorted(mutant.fails):
                caught.setdefault(case, []).append(mutant)
        return caught

    @cached_property
    def case_pages(self) -> dict[str, str]:
        """The address of each case's page; all witnesses of a case share one."""
        return {row.id: row.page for row in self.rows}

    @cached_property
    def phases(self) -> list[str]:
        """The phases of a stream in which `nox -s observe` has clients leave."""
        return figures.phases([k.observed for k in self.known if k.observed])

    @property
    def autobahn(self) -> bool:
        """Whether any stack was judged by Autobahn|Testsuite, whose cases have no rows."""
        return any(known.worn("autobahn") for known in self.known)

    def tally(self, known: Known, group: Group) -> Counter[str]:
        """Count a group's judgements by kind."""
        return Counter(known.judgement(row).kind for row in group.rows)

    def note(self, known: Known, row: Row) -> int | None:
        """Return the number of the note behind a judgement that is not plain."""
        fault = known.stack.fails.get(row.id)
        return None if fault is None else self.numbers[fault]

    def proof(self, fault: stacks.Fault) -> Reference:
        """Return where a fault can be read: at an address, or as a finding on the first page."""
        if "://" in fault.link:
            return Reference(fault.link.partition("://")[2], fault.link)
        found = [finding for finding in self.findings if finding.name == fault.link]
        return Reference(fault.link, f"index.html#{found[0].key}" if found else "")

    def differs(self, row: Row) -> bool:
        """Return whether stacks that a case applies to came to different outcomes."""
        kinds = {known.judgement(row).kind for known in self.known} - facts.NOT_APPLYING
        return len(kinds) > 1

    def provenance(self) -> list[str]:
        """Say of the conformance results what judged them, where and when."""
        judged = [known.judged for known in self.known if known.judged]
        places = Counter((r["machine"], r["date"][:10], r["suite"]) for r in judged)
        return [
            f"{count} stacks on {machine}, {date}, suite {suite}"
            for (machine, date, suite), count in sorted(places.items())
        ]

    def own_lines(self, known: Known) -> int:
        """Count the lines of an app that stand in no other."""
        others = {
            line for other in self.defaults if other is not known for line in other.source.lines
        }
        return sum(line not in others for line in known.source.lines)

    def stopping(self, *, holds: bool | None) -> list[Known]:
        """Return the apps that stop the model, go on (False), or were not judged (None)."""
        return [k for k in self.defaults if pick.stops_generation(k).holds is holds]

    @cached_property
    def beside(self) -> list[Known]:
        """The two apps to begin with: one that stops the model and one that does not."""
        framed = [k for k in self.defaults if k.source.text and k.stack.title != k.stack.interface]
        stop, go_on = (
            [k for k in framed if pick.stops_generation(k).holds is holds]
            for holds in (True, False)
        )
        return [*stop[:1], *go_on[:1]] if stop and go_on else framed[:2]


def badge(known: Known) -> dict[str, Any]:
    """Return what shields.io draws a badge from, by its `endpoint`."""
    label = f"samewire: {known}"
    if known.judged is None:
        return {"schemaVersion": 1, "label": label, "message": "not judged", "color": "lightgrey"}
    counts = known.counts()
    colour = "red" if counts["red"] else "yellow" if known.not_passed else "brightgreen"
    message = pick.ratio(known)
    return {"schemaVersion": 1, "label": label, "message": message, "color": colour}


def pages(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Yield the address of each page and its HTML."""
    environment = _environment(comparison)
    for known in comparison.known:
        yield known.page, _render(environment, "stack.html", "../", known=known)
    seen: dict[str, list[Row]] = {}
    for row in comparison.rows:
        seen.setdefault(row.page, []).append(row)
    for page, rows in seen.items():
        case = rows[0].case
        path = _module(case.module)
        text, line = function_text(path, f"test_{case.id.partition('/')[2]}")
        yield (
            page,
            _render(
                environment,
                "case.html",
                "../../",
                case=case,
                rows=rows,
                paragraph=comparison.paragraphs[case.mark.paragraph],
                references=links.references(case.mark.refs),
                mutants=comparison.mutants.get(case.id, []),
                source=Markup(python(text)),
                place=f"{path.relative_to(stacks.ROOT)}, line {line}",
            ),
        )
    yield (
        "index.html",
        _render(environment, "index.html", ""),
    )  # last: its figures are drawn meanwhile


def _module(name: str) -> Path:
    """Return the file of a module of cases, whichever package it is in."""
    packages = ("conformance", "witnesses", "strain")
    paths = [stacks.ROOT / package / f"{name}.py" for package in packages]
    return next(path for path in paths if path.exists())


def _render(environment: jinja2.Environment, name: str, root: str, **values: Any) -> str:
    html = environment.get_template(name).render(root=root, **values)
    return "\n".join(line for line in html.splitlines() if line.strip()) + "\n"


def _environment(comparison: Comparison) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([HERE / "templates", HERE / "static"]),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "inline": inline,
        "markdown": markdown,
        "python": _python,
        "paragraph": _paragraph,
    }
    environment.globals |= {
        "site": comparison,
        "questions": pick.QUESTIONS,
        "pick": pick,
        "endpoints": ENDPOINTS,
        "sections": SECTIONS,
        "level_name": facts.level_name,
        "asset": lambda name: Markup((HERE / "static" / name).read_text()),
        "outcomes": facts.WORDS,
        "witnesses": results.WITNESSES,
        "numbered": _numbered,
        "piece": _piece,
        "whole": _whole,
        "next": next,
        "badge_name": lambda known: f"badges/{known}.json",
    }
    return environment


def _python(text: str) -> Markup:
    return Markup(python(text))


def _numbered(source: Source) -> Markup:
    """Return a whole source with an anchor on each line."""
    lines = enumerate(source.html, start=1)
    return Markup("\n".join(f'<a id=L{n} href="#L{n}">{n}</a>{text}' for n, text in lines))


def _piece(source: Source, piece: Piece) -> Markup:
    return Markup("\n".join(source.html[piece.first - 1 : piece.last]))


def _whole(source: Source) -> Markup:
    return Markup("\n".join(source.html))


def _paragraph(text: str) -> Markup:
    """Return a paragraph of SPEC.md without its list of cases."""
    return inline(text.partition("\nCases:")[0])


def build(folder: Path = SITE, results: Path = facts.RESULTS) -> Comparison:
    """Write every page and badge into a folder, in place of what stood there."""
    comparison = Comparison(facts.read(results))
    written = dict(pages(comparison)) | _badges(comparison.known)
    if folder.exists():
        shutil.rmtree(folder)
    for name, text in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return comparison


def _badges(known: Sequence[Known]) -> dict[str, str]:
    return {f"badges/{one}.json": json.dumps(badge(one), indent=2) + "\n" for one in known}
