"""The pages as built from what is committed, once for all lanes of a run."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from report import site


def built(factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the pages, which the first lane that asks builds."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "site"
    with (shared / "site.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not folder.exists():
            site.build(folder)
    return folder
