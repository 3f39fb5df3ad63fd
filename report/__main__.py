"""Builds the pages: python -m report [--picture]."""

from __future__ import annotations

import argparse
import time

from report import picture, site
from stacks import ROOT


def main() -> None:
    """Write site/, and draw the picture of README.md if asked."""
    parser = argparse.ArgumentParser(prog="report")
    parser.add_argument("--picture", action="store_true", help=f"draw {picture.PATH.name} too")
    options = parser.parse_args()
    start = time.monotonic()
    comparison = site.build()
    index = site.SITE / "index.html"
    print(
        f"{index.relative_to(ROOT)}: {len(comparison.known)} stacks, {len(comparison.rows)} cases, "
        f"{index.stat().st_size / 1e6:.2f} MB, {time.monotonic() - start:.1f} s"
    )
    if options.picture:
        with picture.browser() as chromium:
            print(picture.draw(chromium, index).relative_to(ROOT))


if __name__ == "__main__":
    main()
