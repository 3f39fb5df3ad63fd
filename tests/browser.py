"""The browser that is installed, as a person's that opens a page, and axe-core on what it shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")


def chromium_path() -> str:
    """Return where Chromium is; raise FileNotFoundError, which says how to install it."""
    for name in NAMES:
        if (path := shutil.which(name)) is not None:
            return path
    raise FileNotFoundError(
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


def serious_faults(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical: the rule, and where it is broken."""
    return [
        f"{fault['id']}: {node['target']}: {node['failureSummary']}"
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
