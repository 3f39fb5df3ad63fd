"""The option of a soak. What runs and judges is `conformance.conftest`, as a plugin."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seconds", type=float, default=60, help="how long a soak lasts (default: 60)"
    )
