"""`/ws` before it is a WebSocket: who may open one, and what else is no handshake."""

from __future__ import annotations

import pytest

from conformance.conftest import LISTED_ORIGINS
from conformance.sockets import handshake, opened
from conformance.wire import Address, Closed, exchange

pytestmark = pytest.mark.needs("websocket")


def assert_403(server: Address, origin: str, host: str | None = None, name: str = "Origin") -> None:
    host = host or f"{server.host}:{server.port}"
    status = handshake(server, [("Host", host), (name, origin)]).status

    assert status == 403, f"{name} {origin!r} for Host {host} gave {status}, wanted 403"


def assert_accepted(server: Address, origin: str | None, host: str | None = None) -> None:
    with opened(server, host=host, origin=origin) as socket:
        socket.assert_echo("accepted")


@pytest.mark.case("W8", "RFC 6455 4.2.2 and 10.2, OWASP ASVS 5.0 4.4.2")
def test_foreign_origin_is_403(server: Address) -> None:
    """A handshake from a foreign Origin is 403, however the field's name is written."""
    for name in ("Origin", "origin", "ORIGIN"):
        assert_403(server, "https://evil.example", name=name)
    for origin in ("http://evil.example", f"http://evil.example:{server.port}"):
        assert_403(server, origin)
    assert_403(server, "https://evil.example", host="app.example")


@pytest.mark.case("W8", "RFC 6454 6.1, RFC 6455 10.2")
def test_null_origin_is_403(server: Address) -> None:
    """The Origin `null`, which any sandboxed page has, is foreign."""
    assert_403(server, "null")
    assert_403(server, "null", host="app.example")


@pytest.mark.case("W9", "RFC 6454 4 and 5, RFC 6455 10.2")
def test_lookalike_origin_is_403(server: Address) -> None:
    """An Origin that holds the Host field's value, or shares only host or port, is foreign."""
    here = f"{server.host}:{server.port}"
    for origin in (
        f"http://{here}.evil.example",
        f"http://evil.example/{here}",
        f"http://{here}@evil.example",
        f"http://{server.host}:{server.port + 1}",
        f"http://{server.host}:{server.port // 10}",
        f"http://{server.host}",
        f"https://{server.host}",
        f"http://localhost:{server.port}",
        "http://localhost",
        "http://localhost:3000",
    ):
        assert_403(server, origin)
    for host, origins in LOOKALIKES.items():
        for origin in origins:
            assert_403(server, origin, host)


LOOKALIKES = {
    "app.example": (
        "http://app.example.evil.example",
        "https://app.example.evil.example",
        "https://evil.example/app.example",
        "https://evil.example/https://app.example",
        "https://evil.example?https://app.example",
        "https://evil.example#https://app.example",
        "https://app.example@evil.example",
        "https://app.example:443@evil.example",
        "https://evil-app.example",
        "https://www.app.example",
        "https://app.example2",
        "https://app.exampl",
        "https://example",
        "https://app-example",
        "https://appxexample",
        "https://app.example:8443",
        "http://app.example:8080",
    ),
    "app.example:844": (
        "https://app.example",
        "https://app.example:84",
        "https://app.example:8443",
        "https://other.example:844",
    ),
    "[::1]:8000": ("http://[::1]", "http://[::1]:8001", "http://[::2]:8000", "http://[::]:8000"),
}


@pytest.mark.case("W10", "RFC 6454 4 and 5, RFC 6455 10.2")
def test_lookalike_of_listed_origin_is_403(server: Address) -> None:
    """A listed Origin is compared whole: scheme, host and port, never a part of it."""
    one, two = LISTED_ORIGINS
    for origin in (
        "http://one.example",
        "https://one.example:444",
        "https://one.example.evil.example",
        "https://one.example@evil.example",
        "https://evil.example/?https://one.example",
        "https://evil.example#https://one.example",
        "https://xone.example",
        "https://sub.one.example",
        "https://one.exampl",
        "https://one.example2",
        "https://onexexample",
        "https://two.example",
        "https://two.example:8080",
        "http://two.example",
        "http://two.example:80",
        "http://two.example:808",
        "http://two.example:8081",
        "http://two.example:8080@evil.example",
        "http://one.example:8080",
        f"{one},{two}",
        f"{one} , {two}",
    ):
        assert_403(server, origin)


@pytest.mark.case("W9", "RFC 6454 5, RFC 6455 10.2")
def test_own_origin_is_accepted(server: Address) -> None:
    """An Origin whose host and port are those of the Host field is accepted, by http and https."""
    here = f"{server.host}:{server.port}"
    hosts = (here, f"localhost:{server.port}", "app.example", "app.example:8443", "[::1]:8000")
    for host in hosts:
        for scheme in ("http", "https"):
            assert_accepted(server, f"{scheme}://{host}", host)


@pytest.mark.case("W10", "RFC 6454 4, RFC 6455 10.2")
def test_listed_origin_is_accepted(server: Address) -> None:
    """Every Origin that ALLOWED_ORIGINS lists is accepted, under any Host."""
    for origin in LISTED_ORIGINS:
        assert_accepted(server, origin)
        assert_accepted(server, origin, host="app.example")


@pytest.mark.case("W8", "RFC 6455 4.1 and 10.2")
def test_absent_origin_is_accepted(server: Address) -> None:
    """A client without Origin, which is no browser, is accepted."""
    assert_accepted(server, None)
    assert_accepted(server, None, host="app.example")
    status = handshake(server, [("Referer", "https://evil.example/page")]).status

    assert status == 101, f"Referer without Origin gave {status}, wanted 101"


@pytest.mark.case("W11", "RFC 6455 4.2.2")
def test_subprotocol_never_invented(server: Address) -> None:
    """The server names no subprotocol, or one that was offered."""
    field = "Sec-WebSocket-Protocol"
    for offered in ((), ("chat",), ("superchat", "chat"), ("V1.Echo", "graphql-ws")):
        headers = [(field, ", ".join(offered))] if offered else []
        lines = [(field, name) for name in offered]
        for response in (handshake(server, headers), handshake(server, lines)):
            assert response.status == 101, f"offer {offered} gave {response.status}, wanted 101"

            chosen = response.header(field.lower())
            assert chosen in (None, *offered), f"offer {offered} got {chosen!r}, wanted one or none"


@pytest.mark.case("W12", "RFC 9110 15.5.22, RFC 6455 4.2.1")
def test_plain_get_is_4xx(server: Address) -> None:
    """`GET /ws` that asks for no WebSocket is 4xx."""
    for target in ("/ws", "/ws?text=hello"):
        status = exchange(server, target=target).status

        assert 400 <= status < 500, f"GET {target} gave {status}, wanted 4xx"


@pytest.mark.case("W12", "RFC 6455 4.2.2, RFC 9110 15.5.5")
def test_handshake_elsewhere_is_refused(server: Address) -> None:
    """A handshake on an unknown path is 4xx, and no known path but `/ws` gives 101."""
    for target in ("/nowhere", "/w", "/wss", "/ws.txt", "/ws/more", "/more/ws", "/chat"):
        status = handshake(server, target=target).status

        assert 400 <= status < 500, f"a handshake on {target} gave {status}, wanted 4xx"
    for target in ("/", "/?path=/ws", "/poll?text=a", "/sse?text=a&delay=0"):
        status = handshake(server, target=target).status

        assert status != 101, f"a handshake on {target} gave 101, wanted any other status"


@pytest.mark.case("W12", "RFC 6455 4.1", decides="both")
def test_post_is_never_101(server: Address) -> None:
    """A handshake by POST never opens a WebSocket."""
    for headers in ([], [("Content-Length", "0")]):
        try:
            status = handshake(server, headers, method="POST").status
        except Closed:
            continue

        assert status != 101, "POST /ws gave 101, wanted any other status"
