"""The clients. What runs and judges is `conformance.conftest`, as a plugin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.wire import Address
from witnesses.line import Line
from witnesses.witness import CLIENTS, VISITORS, Witness


@pytest.fixture(params=CLIENTS)
def client(server: Address, request: pytest.FixtureRequest) -> Iterator[Witness]:
    """A real client of the OpenAI API that talks to the stack's relay."""
    address = f"http://{server.host}:{server.port}/v1"
    witness = Witness(request.param, CLIENTS[request.param], address)
    yield witness
    witness.stop()


@pytest.fixture
def visitor(request: pytest.FixtureRequest) -> Iterator[Witness]:
    """A real client of everything else; a case says which ones it is asked of."""
    witness = Witness(request.param, VISITORS[request.param])
    yield witness
    witness.stop()


@pytest.fixture
def line(server: Address) -> Iterator[Line]:
    """A way to the stack that can be cut."""
    line = Line(server)
    yield line
    line.close()
