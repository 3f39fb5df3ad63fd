"""A person with a browser: sends a prompt to all stacks, and kills one, cuts another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

import stacks
from conformance.upstream import Upstream
from report.picture import browser
from tests import live_process
from tests.browser import serious_faults
from tests.live_process import Live

PATIENCE = 60_000  # milliseconds, on a machine that runs the other tests too
PHONE, TABLET, DESK = 390, 820, 1280
PROMPT = "Zwölf Boxkämpfer\njagen Viktor quer  über den großen Sylter Deich, one token at a time."
TOKENS = 15
# For what has to be caught in the middle: four seconds at a token a second.
SLOW, SLOW_TOKENS = "one token at a time", 5
MIDDLE = re.compile(f"^[1-{SLOW_TOKENS - 1}]/{SLOW_TOKENS}$")

# How much the page has moved by itself since it was opened; 0 is nothing.
SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def two() -> Iterator[Live]:
    """The page of one stack that has WebSocket and one that lacks it."""
    with live_process.started("--apps", "asgi,wsgi") as live:
        live.wait_until_all_run()
        yield live


@pytest.fixture
def said() -> list[str]:
    """What pages complain of; a test takes out what it has provoked."""
    return []


@pytest.fixture
def page(chromium: Browser, said: list[str]) -> Iterator[Page]:
    """A page that nobody has opened; a test fails if it complains of anything."""
    page = chromium.new_page(viewport={"width": DESK, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    page.close()
    assert said == []


@pytest.fixture
def every() -> Iterator[Live]:
    """The page of all stacks."""
    with live_process.started() as live:
        live.wait_until_all_run()
        yield live


@pytest.fixture
def model() -> Iterator[Upstream]:
    """The model, played by the test."""
    with closing(Upstream()) as model:
        yield model


@pytest.fixture
def one(model: Upstream) -> Iterator[Live]:
    """The page of one stack, which asks the model."""
    environ = {"UPSTREAM_BASE_URL": model.url}
    with live_process.started("--apps", "asgi", environ=environ) as live:
        live.wait_until_all_run()
        yield live


def row(page: Page, stack: str) -> Locator:
    return page.locator(f"[data-stack={stack}]")


def outcome(page: Page, stack: str) -> Locator:
    return row(page, stack).locator(".outcome")


def figure(page: Page, stack: str, name: str) -> Locator:
    return row(page, stack).locator(f"[data-figure={name}]")


def press(page: Page, action: str, stack: str) -> None:
    row(page, stack).get_by_role("button", name=action).click()


def send(page: Page, transport: str, *, delay: str = "0.05", text: str = PROMPT) -> None:
    """Ask over a transport, with the keyboard."""
    page.get_by_role("radio", name=transport).check()
    if transport != "Chat":
        page.get_by_label("Seconds between tokens").fill(delay)
    page.get_by_label("Prompt").fill(text)
    page.get_by_label("Prompt").press("Enter")


def open_page(page: Page, live: Live) -> None:
    page.goto(live.url)
    expect(page.locator(".state:not([data-state=running])")).to_have_count(0)


def test_every_stack_streams_to_a_browser(every: Live, page: Page) -> None:
    """EventSource, WebSocket and polls get the text whole from each stack, and nothing moves."""
    status = every.wait_until_all_run()
    page.add_init_script(SHIFTS)
    open_page(page, every)
    for transport in ("SSE", "WebSocket", "Long poll"):
        send(page, transport)
        asked = {name for name, one in status.items() if transport.lower() not in one["lacks"]}
        count = f"{len(asked)} of {len(asked)} answers came whole."
        expect(page.locator("form [role=status]")).to_have_text(count)
        for name in asked:
            assert outcome(page, name).inner_text() == f"whole: {TOKENS} tokens, each once"
            assert row(page, name).locator(".answer").inner_text() == PROMPT
            assert figure(page, name, "count").inner_text() == f"{TOKENS}/{TOKENS}"
            for measured in ("first", "rate", "gap", "longest"):
                assert float(figure(page, name, measured).inner_text()) >= 0
        for name in status.keys() - asked:
            assert outcome(page, name).inner_text() == "lacks websocket"
            assert (
                row(page, name).locator(".answer").inner_text()
                == status[name]["lacks"]["websocket"]
            )
    assert len(status) == len(stacks.app_names())
    assert page.evaluate("window.shifted") == 0


def test_cut_event_source_resumes(two: Live, page: Page, said: list[str]) -> None:
    """An EventSource that loses its connection comes back, and no token is lost or doubled."""
    open_page(page, two)
    send(page, "SSE", delay="1", text=SLOW)
    expect(figure(page, "asgi-uvicorn", "count")).to_have_text(MIDDLE)
    press(page, "Cut", "asgi-uvicorn")
    expect(page.locator("form [role=status]")).to_have_text(
        "ASGI (asgi-uvicorn): 1 relayed connection cut."
    )

    whole = f"whole: {SLOW_TOKENS} tokens, each once"
    expect(outcome(page, "asgi-uvicorn")).to_have_text(f"{whole}, resumed 1 time")
    expect(outcome(page, "wsgi-gunicorn")).to_have_text(whole)
    assert row(page, "asgi-uvicorn").locator(".answer").inner_text() == SLOW
    said[:] = [text for text in said if "net::ERR_INCOMPLETE_CHUNKED_ENCODING" not in text]


def test_page_on_another_origin_is_refused(two: Live, page: Page, said: list[str]) -> None:
    """The same page by another port is another origin, which no stack lets in."""
    port = two.wait_until_all_run()["asgi-uvicorn"]["relay"]
    page.goto(f"http://127.0.0.1:{port}/")
    expect(page.locator(".state:not([data-state=running])")).to_have_count(0)
    send(page, "WebSocket")

    expect(outcome(page, "asgi-uvicorn")).to_have_text("closed with 1006, after 0 tokens")
    assert [text.rpartition(": ")[2] for text in said] == ["403"]
    said.clear()


def test_killed_stack_tells_and_the_others_go_on(two: Live, page: Page, said: list[str]) -> None:
    """The answer of a stack that is killed shows its error; the others come whole; it starts again."""
    open_page(page, two)
    send(page, "Long poll", delay="1", text=SLOW)
    expect(figure(page, "wsgi-gunicorn", "count")).to_have_text(MIDDLE)
    press(page, "Kill", "wsgi-gunicorn")

    expect(row(page, "wsgi-gunicorn").locator(".state")).to_contain_text("s after SIGKILL")
    expect(outcome(page, "wsgi-gunicorn")).to_contain_text("502: wsgi-gunicorn is ")
    expect(outcome(page, "asgi-uvicorn")).to_have_text(f"whole: {SLOW_TOKENS} tokens, each once")
    expect(page.locator("form [role=status]")).to_have_text("1 of 2 answers came whole.")
    send(page, "SSE")
    expect(outcome(page, "wsgi-gunicorn")).to_have_text("not asked, for it is killed")
    press(page, "Start", "wsgi-gunicorn")
    expect(row(page, "wsgi-gunicorn").locator(".state")).to_contain_text("running on port")
    said[:] = [text for text in said if "status of 502" not in text]


def test_leaving_stops_every_answer(two: Live, page: Page) -> None:
    """A person who leaves keeps what has come, and gets no more."""
    open_page(page, two)
    send(page, "SSE", delay="30")
    for name in ("asgi-uvicorn", "wsgi-gunicorn"):
        expect(figure(page, name, "count")).to_have_text(f"1/{TOKENS}")
    page.get_by_role("button", name="Leave").click()

    for name in ("asgi-uvicorn", "wsgi-gunicorn"):
        expect(outcome(page, name)).to_have_text("left after 1 token")


def test_chat_goes_through_each_stack_to_the_model(model: Upstream, one: Live, page: Page) -> None:
    """What the model says comes as it is said; where none answers, the page tells how to start one."""
    open_page(page, one)
    with model.refusing():
        send(page, "Chat")
        unsent = "Nothing was sent: no model answers."
        expect(page.locator("form [role=status]")).to_have_text(unsent)
        expect(page.locator("#how")).to_contain_text(f"No model answers at {model.url}")
        expect(page.locator("#how")).to_contain_text("uvx nox -s model")

    send(page, "Chat", text="Count.")
    model.next_request(live_process.WITHIN).respond(200, {"data": [{"id": "suite"}]})
    answer = model.next_request(live_process.WITHIN)
    answer.start()
    answer.say("one ")
    expect(row(page, "asgi-uvicorn").locator(".answer")).to_have_text("one")
    answer.say("two")
    answer.finish()

    expect(outcome(page, "asgi-uvicorn")).to_have_text("whole: 2 tokens, then [DONE]")
    expect(page.locator("#how")).to_contain_text("It calls itself suite, at")
    assert answer.json["model"] == "suite"
    assert answer.json["messages"] == [{"role": "user", "content": "Count."}]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(chromium: Browser, two: Live, scheme: str) -> None:
    """Names, roles, contrast and focus hold in either scheme, on a phone and on a desk."""
    page = chromium.new_page(color_scheme="dark" if scheme == "dark" else "light")
    page.set_default_timeout(PATIENCE)
    with closing(page):
        open_page(page, two)
        faults = serious_faults(page)
        send(page, "WebSocket", delay="0")
        expect(outcome(page, "asgi-uvicorn")).to_contain_text("whole")
        for width in (PHONE, TABLET, DESK):
            page.set_viewport_size({"width": width, "height": 844})
            faults += serious_faults(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width

    assert faults == []
