"""The Socket.IO client for Python against a stack that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from socketio import SimpleClient  # type: ignore[import-untyped]  # has no types
from socketio.exceptions import (  # type: ignore[import-untyped]  # nor has this
    ConnectionError as Refused,
)

from conformance.wire import Address

pytestmark = pytest.mark.offering("socketio")

PATIENCE = 10
TEXTS = ("a", "", "é😀\r\n", "x" * 65_536)


@pytest.fixture(params=["socketio"])
def client() -> Iterator[SimpleClient]:
    """A client that has not connected yet."""
    client = SimpleClient()
    yield client
    if client.connected:
        # To take leave in due form it would wait for the end of a long poll.
        client.client.eio.disconnect(abort=True)


def refusal(client: SimpleClient, server: Address, transport: str, origin: str = "") -> str | None:
    """Connect, and return why that failed, or None where it did not."""
    headers = {"Origin": origin} if origin else {}
    url = f"http://{server.host}:{server.port}"
    try:
        client.connect(url, headers=headers, transports=[transport], wait_timeout=PATIENCE)
    except Refused as error:
        return str(error)
    return None


def assert_echoes(client: SimpleClient, server: Address, transport: str) -> None:
    refused = refusal(client, server, transport)
    assert refused is None, f"{transport} gave {refused!r}, wanted a session"
    for text in TEXTS:
        client.emit("message", text)
    for text in TEXTS:
        seen = client.receive(timeout=PATIENCE)
        wanted = ["message", f"echo: {text}"]

        assert seen == wanted, f"saw {str(seen)[:100]}, wanted {str(wanted)[:100]}"


@pytest.mark.case("R11", "Socket.IO protocol 5")
def test_echoes_by_polling(client: SimpleClient, server: Address) -> None:
    """Messages come back with the prefix and in order by long polling."""
    assert_echoes(client, server, "polling")


@pytest.mark.case("R11", "Socket.IO protocol 5")
def test_echoes_by_websocket(client: SimpleClient, server: Address) -> None:
    """Messages come back with the prefix and in order by WebSocket."""
    assert_echoes(client, server, "websocket")


@pytest.mark.case("R11", "RFC 6455 10.2")
def test_foreign_origin_is_refused(client: SimpleClient, server: Address) -> None:
    """A page of another site gets no session, by either transport."""
    for transport in ("polling", "websocket"):
        refused = refusal(client, server, transport, "http://evil.example")

        assert refused is not None, f"{transport} gave a session, wanted none"
