"""Has a headless Chromium that is installed look at a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from stacks import ROOT, StackError

PATH = ROOT / "results" / "report.png"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def chromium_path() -> str:
    """Return where Chromium is; raise StackError, which says how to install it, where it is not."""
    for name in NAMES:
        if (path := shutil.which(name)) is not None:
            return path
    raise StackError(
        f"none of {', '.join(NAMES)} is installed, and a browser has to look at the page: "
        "apt-get install chromium"
    )


@contextmanager
def browser() -> Iterator[Browser]:
    """Start the Chromium that is installed, and end it."""
    path = chromium_path()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        try:
            yield chromium
        finally:
            chromium.close()


def draw(chromium: Browser, page: Path, to: Path = PATH) -> Path:
    """Draw the beginning of a page as README.md shows it."""
    view = chromium.new_page(viewport={"width": 1200, "height": 900}, device_scale_factor=1.5)
    view.goto(page.as_uri())
    view.screenshot(path=to)
    view.close()
    return to
