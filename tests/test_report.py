"""The pages say what is recorded, lead where they say, and show what is missing as missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import stacks
from conformance import results
from report import benched, charts, facts, figures, links, notes, pick, picture, site
from report.charts import Point
from report.facts import Known
from report.guide import Guide
from report.source import parse
from tests.report_site import built

LIMIT = 1_500_000


def known(app: str, cases: Mapping[str, str] | None = None, **more: Any) -> Known:
    """Return an app's default stack with these outcomes by case, not judged without any."""
    stack = stacks.find(app)
    one = next(one for one in facts.read(Path("nowhere")) if one.stack == stack)
    judged = None
    if cases is not None:
        judged = results.Result(
            app=app,
            server=stack.server,
            interface=stack.interface,
            suite="sha256:0",
            versions={},
            machine="Linux",
            date="2026-11-22T12:00:00+00:00",
            seconds=1.5,
            cases={
                name: results.Case(
                    outcome=outcome,
                    level="required",
                    message="" if outcome == "passed" else "seen",
                    seconds=0.1,
                )
                for name, outcome in cases.items()
            },
        )
    return replace(one, judged=judged, **more)


class Addresses(HTMLParser):
    """Collects the links and the ids of a page, and what it loads."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        if tag == "a":
            self.links.append(given.get("href", ""))
        self.loaded += [value for name, value in given.items() if name in ("src", "srcset", "data")]
        if tag == "link":
            self.loaded.append(given["href"])


# The whole


def test_first_page_is_small_and_names_every_stack(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The first page stays under its limit, with each stack and each case on it."""
    folder = built(tmp_path_factory)
    text = (folder / "index.html").read_text()
    everything = facts.read()

    assert len(text.encode()) < LIMIT
    for one in everything:
        assert f'href="{one.page}"' in text
        assert (folder / one.page).exists()
    for row in facts.rows(everything):
        assert f'href="{row.page}"' in text


def test_every_link_leads_somewhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Each link within the pages leads to a page that exists, and to an id that stands there."""
    folder = built(tmp_path_factory)
    pages = {path: Addresses(path.read_text()) for path in folder.glob("**/*.html")}

    broken = []
    for path, page in pages.items():
        for link in (link for link in page.links if "://" not in link):
            address, _, anchor = link.partition("#")
            target = (path.parent / address).resolve() if address else path
            place = anchor.partition("?")[0]
            ids = pages[target].ids if target in pages else set()
            if not target.exists() or (place and place not in ids):
                broken.append(f"{path.relative_to(folder)}: {link}")

    assert broken == []


def test_pages_load_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No page loads anything: what it shows is in it."""
    folder = built(tmp_path_factory)
    loaded = {
        address
        for path in folder.glob("**/*.html")
        for address in Addresses(path.read_text()).loaded
    }

    assert loaded <= {"data:,"}


def test_case_page_proves_its_case(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A case's page has its sentence, its rule, its test and the mutants that it catches."""
    text = (built(tmp_path_factory) / "case/sse/resume_at_end_is_204.html").read_text()

    assert "https://html.spec.whatwg.org/" in text
    assert "test_resume_at_end_is_204" in text
    assert '<dl class="mutants">' in text
    for one in facts.read():
        assert f">{one}</a>" in text


def test_nothing_recorded_is_shown_as_missing(tmp_path: Path) -> None:
    """Without any results the pages are built all the same, and say that nothing is known."""
    comparison = site.build(tmp_path / "site", tmp_path / "no results")
    text = (tmp_path / "site/index.html").read_text()

    assert all(one.judged is None for one in comparison.known)
    assert "not judged" in text
    assert text.count("Nothing is recorded.") >= 5
    assert "Not judged yet" in (tmp_path / "site" / comparison.known[0].page).read_text()


def test_what_wore_a_stack_out_is_in_the_matrix(tmp_path: Path) -> None:
    """A fuzzer's case has a row and a page as any other; Autobahn's many are told by their number."""
    judged = known("asgi", {"fuzz/survives_requests": "passed"}).judged
    numbered = known(
        "asgi", {"autobahn/1_1_1": "passed", "autobahn/7_1_5": "expected-failure"}
    ).judged
    records = {
        "conformance/asgi-uvicorn.json": known("asgi", {"hello/get": "passed"}).judged,
        "fuzz/asgi-uvicorn.json": judged,
        "autobahn/asgi-uvicorn.json": numbered,
    }
    for path, found in records.items():
        assert found is not None
        results.write(tmp_path / path, found)
    everything = facts.read(tmp_path)
    asgi = next(one for one in everything if str(one) == "asgi-uvicorn")

    assert [row.id for row in facts.rows(everything)][-1:] == ["fuzz/survives_requests"]
    assert asgi.worn("autobahn") == {"passed": 1, "declared": 1}
    site.build(tmp_path / "site", tmp_path)
    assert (tmp_path / "site" / "case" / "fuzz" / "survives_requests.html").exists()
    assert "Autobahn|Testsuite" in (tmp_path / "site" / "index.html").read_text()
    assert "autobahn/7_1_5" in (tmp_path / "site" / asgi.page).read_text()


def test_build_replaces_what_stood_there(tmp_path: Path) -> None:
    """A page of a stack that is gone does not outlive it."""
    old = tmp_path / "site/stack/gone-uvicorn.html"
    old.parent.mkdir(parents=True)
    old.touch()
    site.build(tmp_path / "site", tmp_path)

    assert not old.exists()


# Facts


def test_packages_are_those_of_linux(tmp_path: Path) -> None:
    """What a lock names for another system is not counted."""
    lock = tmp_path / "requirements-uvicorn.txt"
    lock.write_text("# by uv\nanyio==4.16.0\ncolorama==0.4.6 ; sys_platform == 'win32'\n")

    packages = facts.read_packages(replace(stacks.find("asgi"), lock=lock))
    assert packages == ("anyio==4.16.0",)
    assert facts.read_packages(replace(stacks.find("asgi"), lock=tmp_path / "none")) is None


def test_judgement_tells_missing_from_what_does_not_apply() -> None:
    """A case that only asks stacks without a capability is not missing from one that has it."""
    rows = {row.id: row for row in facts.rows([])}
    refusal, hello = rows["websocket/upgrade_gets_plain_http_answer"], rows["hello/body_is_exact"]

    assert known("asgi", {}).judgement(refusal).kind == "other"
    assert known("wsgi", {}).judgement(refusal).kind == "missing"
    assert known("asgi", {hello.id: "passed"}).judgement(hello).kind == "passed"


# Pick


@pytest.mark.parametrize(
    ("outcomes", "holds"),
    [
        pytest.param(None, None, id="not_judged"),
        pytest.param({"chat/cancel_in_silence": "passed"}, True, id="all_pass"),
        pytest.param(
            {"chat/cancel_in_silence": "passed", "chat/cancel_before_headers": "failed"},
            False,
            id="one_fails",
        ),
    ],
)
def test_who_stops_generation(outcomes: dict[str, str] | None, holds: bool | None) -> None:
    """A stack stops the model if it passes each case about leavers; unknown is not no."""
    answer = pick.stops_generation(known("starlette", outcomes))

    assert answer.holds is holds
    assert ("before headers" in answer.sentence) == (holds is False)


@pytest.mark.parametrize(
    ("app", "websocket", "synchronous", "html", "wsgi"),
    [
        pytest.param("wsgi", False, True, False, True, id="wsgi"),
        pytest.param("flask", True, True, False, True, id="flask"),
        pytest.param("fasthtml", True, False, True, False, id="fasthtml"),
    ],
)
def test_answers_come_from_manifest_and_source(
    app: str, websocket: bool, synchronous: bool, html: bool, wsgi: bool
) -> None:
    """What a stack is comes from its manifest and its source, and from nowhere else."""
    one = known(app, {"websocket/empty_message": "passed"})

    assert pick.speaks_websocket(one).holds is websocket
    assert pick.is_synchronous(one).holds is synchronous
    assert pick.is_html_first(one).holds is html
    assert pick.runs_on_wsgi(one).holds is wsgi


def test_order_counts_what_is_lacking() -> None:
    """A stack that is asked less does not stand before one that passes more."""
    less = known("wsgi", {"hello/body_is_exact": "passed", "websocket/empty_message": "lacks"})
    more = known("asgi", {"hello/body_is_exact": "passed", "websocket/empty_message": "passed"})

    assert sorted([less, more], key=pick.order) == [more, less]


def test_badge() -> None:
    """A badge counts what can pass, and is red only for what is not declared."""
    passed, declared, failed = "passed", "expected-failure", "failed"

    badge = site.badge(known("asgi", {"hello/a": passed, "hello/b": declared}))
    assert (badge["message"], badge["color"]) == ("1 of 2", "yellow")
    assert site.badge(known("asgi", {"hello/a": failed}))["color"] == "red"
    assert site.badge(known("asgi"))["message"] == "not judged"


# Source

PROGRAM = '''\
"""A program."""

LIMIT = 1
app = App()


@app.get("/")
def hello():
    """Say so."""
    return "hello"


async def echo(websocket):
    return shout(LIMIT)


def shout(text):
    # Loud.
    return tokenize(text)


@app.before_request
def check():
    pass


def sse():
    return tokenize("a")


def tokenize(text):
    return text.split()


app.add(sse)
'''


def test_source_in_sections() -> None:
    """A piece belongs to the endpoint that alone reaches it, a hook to the handler above it."""
    source = parse(PROGRAM)
    names = {
        section: [name for piece in pieces for name in piece.names]
        for section, pieces in source.sections.items()
    }

    assert names == {
        "hello": ["hello"],
        "websocket": ["echo", "shout", "check"],
        "sse": ["sse"],
        "poll": [],
        "chat": [],
        "shared": ["tokenize"],
        "setup": ["LIMIT", "app"],
        "wiring": [],
    }
    assert source.lines_of_code("wiring") == 1
    assert source.is_async
    assert source.docstring == "A program."


def test_lines_of_code() -> None:
    """Blanks, comments and docstrings are no lines of code; decorators are."""
    source = parse(PROGRAM)

    assert source.lines_of_code("hello") == 3
    assert source.lines_of_code("websocket") == 2 + 2 + 3


@pytest.mark.parametrize("one", [pytest.param(k, id=str(k)) for k in facts.read() if k.is_default])
def test_every_app_has_its_endpoints(one: Known) -> None:
    """Each app's handlers are found, but for those of what it lacks."""
    wanted = [e for e in ("hello", "websocket", "sse", "poll", "chat") if e not in one.stack.lacks]
    if one.source.text:
        assert [e for e in wanted if not one.source.lines_of_code(e)] == []


# Links, notes, guide


@pytest.mark.parametrize(
    ("refs", "wanted"),
    [
        pytest.param(
            "RFC 6455 5.6 and 8.1, CWE-93",
            [
                ("RFC 6455 5.6 and 8.1", "https://www.rfc-editor.org/rfc/rfc6455#section-5.6"),
                ("CWE-93", "https://cwe.mitre.org/data/definitions/93.html"),
            ],
            id="two",
        ),
        pytest.param("SPEC.md", [("SPEC.md", "")], id="the_contract"),
        pytest.param(
            "OWASP ASVS 5.0 4.4.2",
            [("OWASP ASVS 5.0 4.4.2", "https://github.com/OWASP/ASVS/tree/v5.0.0/5.0/en")],
            id="plain",
        ),
    ],
)
def test_references(refs: str, wanted: list[tuple[str, str]]) -> None:
    """Each spec that a case cites is a link to its section, where sections have addresses."""
    assert [(r.text, r.link) for r in links.references(refs)] == wanted


def test_notes_are_shared() -> None:
    """A reason that several stacks give stands once, with all of them."""
    both = [known("asgi"), known("starlette")]
    seen = notes.notes(both, facts.rows(both))

    assert [note.number for note in seen] == list(range(1, len(seen) + 1))
    assert all(note.stacks == both for note in seen)
    assert len({note.fault for note in seen}) == len(seen)


def test_finding_is_a_script_with_a_docstring(tmp_path: Path) -> None:
    """A finding's title is the first line of its docstring; without one it is an error."""
    script = tmp_path / "findings/early.py"
    script.parent.mkdir()
    run = 'if __name__ == "__main__":\n    print(1)\n'
    script.write_text(f'"""It is early.\n\nRun it.\n"""\n{run}')
    (script.parent / "help.py").write_text('"""What they share."""\n')

    assert [(f.title, f.text) for f in notes.findings(script.parent)] == [
        ("It is early.", "Run it.")
    ]
    script.write_text(run)
    with pytest.raises(LookupError, match="no docstring"):
        notes.findings(script.parent)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        pytest.param(lambda guide: guide.case("sse/none"), "case 'sse/none'", id="case"),
        pytest.param(lambda guide: guide.app("none"), "app 'none'", id="app"),
        pytest.param(lambda guide: guide.code("asgi", "none"), "binds no 'none'", id="code"),
        pytest.param(lambda guide: guide.figure("none", "x"), "figure 'none'", id="figure"),
    ],
)
def test_claim_without_proof_is_an_error(call: Any, said: str) -> None:
    """What the guide names has to exist."""
    everything = facts.read(Path("nowhere"))
    guide = Guide(everything, facts.rows(everything), figures.all_figures(everything))

    with pytest.raises(LookupError, match=re.escape(said)):
        call(guide)


def test_no_browser_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Chromium, the message says how to install one."""
    monkeypatch.setenv("PATH", "")

    with pytest.raises(stacks.StackError, match="apt-get install chromium"):
        picture.chromium_path()


# Figures


def test_ties() -> None:
    """Who overlaps with the first of a rank shares it, and the next rank counts them all."""
    points = [
        Point("slow", 9, 8, 10),
        Point("quick", 1, 0.8, 1.2),
        Point("also quick", 1.1, 1, 1.3),
        Point("never", None, note="not noticed"),
        Point("middling", 1.5, 1.25, 1.7),
    ]

    ranked = charts.ranked(points)
    assert [(p.stack, p.place) for p in ranked] == [
        ("quick", "1="),
        ("also quick", "1="),
        ("middling", "3"),
        ("slow", "4"),
        ("never", ""),
    ]


def test_drawing_takes_its_colours_from_the_page() -> None:
    """A drawing names the page's colours, keeps its figures whole and has no fonts of its own."""
    svg = charts.draw(charts.Panel("t", "ms", charts.ranked([Point("a", 0.0625, 0.06, 0.07)])))

    assert "var(--accent)" in svg
    assert ">0.0625</text>" in svg
    assert svg.count("font-family") == 1


def record(**parts: Any) -> dict[str, Any]:
    machine = {"processor": "P", "cores": 2, "memory_bytes": 2**30, "system": "Linux"}
    return {
        "machine": machine,
        "command": "nox -s bench",
        "date": "2026-11-26T00:00:00+00:00",
        **parts,
    }


def test_bench_ranks_are_the_benchmarks_own() -> None:
    """A rank that the benchmark gave to two stacks is drawn as a tie, and nobody else's is known."""

    def hello(rank: int | None) -> dict[str, Any]:
        ratio = {"median": 1.0, "low": 0.9, "high": 1.1} if rank else None
        return {
            "unit": "request",
            "cpu_ratio": ratio,
            "wall_ratio": ratio,
            "cpu_rank": rank,
            "wall_rank": rank,
            "marks": [],
            "invalid": None if rank else "the generator was the limit",
        }

    tied, broken = (record(wire={"hello": hello(rank)}) for rank in (1, None))
    everyone = [known(app, benched={"m": tied}) for app in ("asgi", "starlette")]
    everyone += [known("air", benched={"m": broken}), known("wsgi")]
    seen = benched.figures(everyone)
    points = seen[0].panels[0].points

    assert [bool(figure.panels) for figure in seen] == [True, True, False, False, False]
    assert [point.place for point in points] == ["1=", "1=", ""]
    assert points[-1].shown == "the generator was the limit"
    assert seen[0].missing == ["wsgi-gunicorn"]
    assert seen[0].provenance == ["P, 2 cores, 1 GiB, Linux; 2026-11-26"]


def test_a_crowd_that_was_not_served_has_no_place() -> None:
    """Who takes a tenth of the streams is not quicker than who takes them all; it is told."""

    def felt(opened: int, seconds: float) -> dict[str, Any]:
        crowd = {
            "wanted": 1000,
            "opened": opened,
            "first_event_seconds": {"samples": opened, "p50": seconds, "p99": seconds},
            "cpu_seconds_an_event": 0.001,
        }
        return record(felt={"crowds": [crowd], "echo_beside_idle": None})

    few, all_of_them = felt(100, 0.01), felt(1000, 0.02)
    seen = benched.figures(
        [known("flask", benched={"m": few}), known("asgi", benched={"m": all_of_them})]
    )
    panels = (panel for figure in seen for panel in figure.panels)
    panel = next(panel for panel in panels if panel.title == "first event, p99, 1,000 streams")

    assert [(point.stack, point.place, point.shown) for point in panel.points] == [
        ("asgi-uvicorn", "", "20"),
        ("flask-gunicorn", "", "100 of 1,000 served"),
    ]
