"""Builds the pages: python -m report [--picture]."""

from __future__ import annotations

import argparse
import time

from report import picture, readme, site
from stacks import ROOT


def main() -> None:
    """Write site/, and bring the picture and the table of README.md up to date if asked."""
    parser = argparse.ArgumentParser(prog="report")
    parser.add_argument("--picture", action="store_true", help="README's picture and table too")
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
        print(readme.write().relative_to(ROOT))


if __name__ == "__main__":
    main()
