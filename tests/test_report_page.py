"""A person with a browser can use the pages: what they read, pick, filter and compare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from report import facts, pick, picture
from tests.browser import serious_faults
from tests.report_site import built

PAGES = ("index.html", "stack/flask-gunicorn.html", "case/chat/cancel_before_headers.html")
PHONE, TABLET, DESK = 390, 820, 1280
PATIENCE = 60_000  # milliseconds, on a machine that runs the other tests too


expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with picture.browser() as browser:
        yield browser


@pytest.fixture
def said() -> list[str]:
    """What pages complain of in the console, and what they ask the network for."""
    return []


@pytest.fixture
def page(chromium: Browser, said: list[str]) -> Iterator[Page]:
    """A page that nobody has opened; a test fails if any error is said on it."""
    page = chromium.new_page(viewport={"width": DESK, "height": 900}, reduced_motion="reduce")
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("requestfailed", lambda request: said.append(request.url))
    yield page
    page.close()
    assert said == []


@pytest.fixture
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    return (built(tmp_path_factory) / "index.html").as_uri()


def titles(page: Page) -> list[str]:
    """Return the stacks that the list shows, in its order."""
    return page.locator("#picked > li > h3 > a").all_inner_texts()


def test_pick_narrows_and_orders(page: Page, index: str) -> None:
    """A box leaves out who does not fit, and says why; an order orders; the address brings it back."""
    defaults = [one for one in facts.read() if one.is_default]
    fitting = {one.stack.title for one in defaults if pick.stops_generation(one).holds}
    page.goto(index)
    assert len(titles(page)) == len(defaults)

    page.get_by_label("stops paid generation").check()
    assert set(titles(page)) == fitting
    page.get_by_text("Left out").click()
    out = page.locator("#left-out > ol > li")
    assert out.count() == len(defaults) - len(fitting)
    assert "Keeps the model at work" in out.first.inner_text()

    page.get_by_label("fewest dependencies").check()
    packages = {one.stack.title: len(one.packages or ()) for one in defaults}
    ordered = titles(page)
    assert [packages[title] for title in ordered] == sorted(packages[title] for title in fitting)

    address = page.evaluate("location.href")
    page.goto("about:blank")
    page.goto(address)
    assert address.endswith("?leave&order=packages")
    assert titles(page) == ordered

    page.get_by_role("button", name="Start over").click()
    page.wait_for_function("!location.hash.includes('?')")
    assert len(titles(page)) == len(defaults)


def test_matrix_filters(page: Page, index: str) -> None:
    """Text, group, level and who decides narrow the rows; servers narrow the columns."""
    rows = facts.rows(facts.read())
    page.goto(index)
    form = page.get_by_role("form", name="Filter the matrix")
    shown = page.locator("#grid tr.case:visible")

    form.get_by_label("Cases").select_option("all")
    assert shown.count() == len(rows)
    form.get_by_label("Text").fill("cancel headers")
    assert shown.all_inner_texts()[0].startswith("cancel before headers")
    assert shown.count() < 5
    form.get_by_label("Text").fill("")
    form.get_by_label("Group").select_option("websocket")
    form.get_by_label("Decided by").select_option("server")
    wanted = [r for r in rows if r.group == "websocket" and r.case.mark.decides == "server"]
    assert shown.count() == len(wanted)

    form.get_by_label("Servers").select_option("gunicorn")
    heads = page.locator("#grid thead th[data-server]:visible")
    on_gunicorn = [one for one in facts.read() if one.stack.server == "gunicorn"]
    assert heads.count() == len(on_gunicorn)


def test_side_by_side(page: Page, index: str) -> None:
    """Two sources stand beside each other, their differing lines marked; four are the most."""
    page.goto(index)
    websocket = page.locator("#columns section[aria-label=websocket] .cells > div:visible")
    assert websocket.count() == 2
    assert page.locator("#columns .l.own:visible").count() > 10

    while (ticked := page.locator("[data-side]:checked")).count():
        ticked.first.uncheck()
    for app in ("starlette", "fasthtml"):
        page.locator(f"#side-{app}").check()
    texts = websocket.locator("pre").all_inner_texts()
    assert len(texts) == 2
    assert all("def echo(" in text for text in texts)
    left, right = (cell.bounding_box() for cell in websocket.all())
    assert left and right and left["y"] == right["y"] and left["x"] < right["x"]
    unmarked = page.locator("#columns section[aria-label=shared] .l.own:visible")
    assert "tokenize" not in " ".join(unmarked.all_inner_texts())

    for app in ("asgi", "flask"):
        page.locator(f"#side-{app}").check()
    assert page.locator("[data-side]:not(:checked):enabled").count() == 0


# axe-core looks at each element for itself, for minutes where thousands are alike, so of what repeats
# it is shown the first few.
REPEATED = "tr, tbody, td, li, .l, [data-app], text, line, path, .panels > figure, .chart, .row, #guide figure"
KEEP_FEW = """(repeated) => {
  for (const element of document.querySelectorAll(repeated)) {
    let before = 0;
    for (let e = element.previousElementSibling; e && before < 3; e = e.previousElementSibling)
      before += e.tagName === element.tagName;
    if (before >= 3 || !element.checkVisibility()) element.dataset.cut = "";
  }
  document.querySelectorAll("[data-cut]").forEach((element) => element.remove());
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory, scheme: str
) -> None:
    """Names, roles, contrast and order hold in either scheme, as far as axe-core can see."""
    folder = built(tmp_path_factory)
    page = chromium.new_page(color_scheme="dark" if scheme == "dark" else "light")
    page.set_default_timeout(PATIENCE)
    seen = []
    for name in PAGES:
        page.goto((folder / name).as_uri())
        page.evaluate(KEEP_FEW, REPEATED)
        seen += [f"{name}: {fault}" for fault in serious_faults(page)]
    page.close()

    assert seen == []


@pytest.mark.parametrize("width", [PHONE, TABLET, DESK])
def test_nothing_is_wider_than_the_screen_or_moves(
    page: Page, tmp_path_factory: pytest.TempPathFactory, width: int
) -> None:
    """No page scrolls sideways as a whole, and nothing shifts while it loads."""
    folder = built(tmp_path_factory)
    page.set_viewport_size({"width": width, "height": 900})
    for name in PAGES:
        page.goto((folder / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(SHIFTS) == 0, name


SHIFTS = """new Promise((resolve) => {
  let sum = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) sum += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(sum)));
})"""


def test_paper_cuts_nothing(page: Page, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Printed, the matrix of all stacks fits on A4 turned, and everything else on A4 upright."""
    folder = built(tmp_path_factory)
    page.emulate_media(media="print")
    for name in PAGES:
        page.goto((folder / name).as_uri() + "#matrix?cases=all&columns=all")
        page.set_viewport_size({"width": TURNED, "height": 700})
        assert page.evaluate(WIDEST, "#grid") <= TURNED, name
        page.set_viewport_size({"width": UPRIGHT, "height": 1000})
        assert page.evaluate(WIDEST, "table:not(#grid), dl, pre, p, svg") <= UPRIGHT, name
        assert page.locator("form:visible").count() == 0, name


# A4 less the margins of the style sheet, in CSS pixels: 277 and 186 mm.
TURNED, UPRIGHT = 1047, 703
WIDEST = """(selector) => Math.max(0, ...[...document.querySelectorAll(selector)].map(
  (element) => Math.floor(element.getBoundingClientRect().left) + element.scrollWidth))"""


def test_without_scripts(chromium: Browser, index: str) -> None:
    """Everything can be read where scripts do not run, and two sources are shown."""
    page = chromium.new_page(java_script_enabled=False)
    page.set_default_timeout(PATIENCE)
    page.goto(index)
    stacks, rows = facts.read(), facts.rows(facts.read())

    assert page.locator("#picked > li:visible").count() == len(stacks)
    assert page.locator("#grid tr.case:visible").count() == len(rows)
    assert page.locator("#columns section[aria-label=sse] pre:visible").count() == 2
    page.close()


def test_keyboard_reaches_what_a_mouse_does(page: Page, index: str) -> None:
    """The first key leads past the bar, and a box is ticked by the blank."""
    page.goto(index)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.get_by_label("speaks WebSocket").focus()
    page.keyboard.press("Space")

    page.wait_for_function("location.hash === '#?websocket'")


def test_links_with_answers_bring_them(page: Page, index: str) -> None:
    """A link of the guide to a pick ticks its boxes; a plain link keeps what was asked."""
    page.goto(index)
    page.locator('#guide a[href="#pick?leave"]').click()
    expect(page.get_by_label("stops paid generation")).to_be_checked()
    page.get_by_role("link", name="Figures").click()

    page.wait_for_function("location.hash === '#figures?leave'")


def test_picture_is_drawn(
    chromium: Browser, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """README's picture is a PNG of the first page."""
    page = built(tmp_path_factory) / "index.html"
    drawn = picture.draw(chromium, page, tmp_path / "report.png")

    assert drawn.read_bytes().startswith(b"\x89PNG")
