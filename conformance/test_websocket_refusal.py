"""`/ws` on a stack that lacks WebSocket."""

from __future__ import annotations

import pytest

from conformance.sockets import handshake
from conformance.wire import Address, exchange
from stacks import Stack


@pytest.mark.lacking("websocket")
@pytest.mark.case("W13", "RFC 9110 7.8", decides="both")
def test_upgrade_gets_plain_http_answer(server: Address, stack: Stack) -> None:
    """A handshake gets an HTTP response other than 101 within 2 s, and the server goes on."""
    for target in ("/ws", "/", "/nowhere"):
        status = handshake(server, target=target, within=2).status

        assert status != 101, f"a handshake on {target} gave 101, wanted a plain HTTP response"
    after = exchange(server).body
    wanted = f"Hello from {stack.title} ({stack.interface})!".encode()

    assert after == wanted, f"afterwards GET / gave {after!r}, wanted {wanted!r}"
