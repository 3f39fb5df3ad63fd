"""The clients. What runs and judges is `conformance.conftest`, as a plugin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.wire import Address
from witnesses.witness import PROGRAMS, Witness


@pytest.fixture(params=PROGRAMS)
def client(server: Address, request: pytest.FixtureRequest) -> Iterator[Witness]:
    """A real client that talks to the stack."""
    witness = Witness(request.param, f"http://{server.host}:{server.port}/v1")
    yield witness
    witness.stop()
