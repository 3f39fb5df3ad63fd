"""What a server owes an opening handshake, whatever app it serves."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from conformance.frames import connect, opening, with_field
from conformance.sockets import UPGRADE
from conformance.wire import Address, Connection, Headers, Reader, Response

pytestmark = pytest.mark.needs("websocket")

KEY = dict(UPGRADE)["Sec-WebSocket-Key"]


def answer(server: Address, fields: Headers) -> Response:
    """Return the answer to an opening handshake with just these fields."""
    with Connection(server) as connection:
        connection.send(opening(server, fields))
        return Reader(connection).response()


def assert_4xx(server: Address, fields: Headers, what: str) -> None:
    status = answer(server, fields).status

    assert 400 <= status < 500, f"a handshake with {what} gave {status}, wanted 4xx"


@pytest.mark.case("W20", "RFC 6455 4.2.2", decides="server")
def test_accept_key_is_right(server: Address) -> None:
    """A handshake gets 101, the two upgrade fields and the answer to its own key."""
    odd = (bytes(16), b"\xff" * 16, b"\xfb\xef\xbe\0" * 4)
    for key in (KEY, *(base64.b64encode(key).decode() for key in odd)):
        with connect(server, with_field("Sec-WebSocket-Key", key)) as socket:
            response = socket.response
            echo = socket.echo("open")
        seen = [(response.header(name) or "").lower() for name in ("upgrade", "connection")]
        accept = response.header("sec-websocket-accept")

        assert accept == accept_for(key), (
            f"the key {key} got Sec-WebSocket-Accept {accept!r}, wanted {accept_for(key)!r}"
        )
        assert seen[0] == "websocket", f"Upgrade is {seen[0]!r}, wanted 'websocket'"
        assert "upgrade" in re.split(r"\s*,\s*", seen[1]), (
            f"Connection is {seen[1]!r}, wanted 'Upgrade' among its members"
        )
        assert echo == "echo: open", f"'open' gave {echo!r}, wanted 'echo: open'"


def accept_for(key: str) -> str:
    """Return the Sec-WebSocket-Accept that answers a key."""
    digest = hashlib.sha1(
        f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False
    )
    return base64.b64encode(digest.digest()).decode()


@pytest.mark.case("W20", "RFC 6455 4.2.1, RFC 9110 5.1 and 7.6.1", decides="server")
def test_header_tokens_ignore_case(server: Address) -> None:
    """Field names, `websocket` and `Upgrade` are known in any case, `Upgrade` also in a list."""
    for upgrade, connection in (
        ("WebSocket", "Upgrade"),
        ("WEBSOCKET", "UPGRADE"),
        ("websocket", "upgrade"),
        ("websocket", "keep-alive, Upgrade"),
        ("websocket", "Upgrade, Keep-Alive"),
        ("wEbsOckEt", "Keep-Alive,uPGRADE"),
    ):
        fields = dict(UPGRADE) | {"Upgrade": upgrade, "Connection": connection}
        for write in (str.lower, str.upper, str.title):
            names = [(write(name), value) for name, value in fields.items()]
            status = answer(server, names).status

            assert status == 101, (
                f"{names[0][0]} {connection!r}, {names[1][0]} {upgrade!r} gave {status}, wanted 101"
            )


@pytest.mark.case("W21", "RFC 6455 4.2.1", decides="server")
def test_missing_key_is_4xx(server: Address) -> None:
    """A handshake without Sec-WebSocket-Key is refused."""
    assert_4xx(server, with_field("Sec-WebSocket-Key", None), "no key")


@pytest.mark.case("W21", "RFC 6455 4.2.1", decides="server")
def test_bad_key_is_4xx(server: Address) -> None:
    """A key that is not 16 bytes in base64 is refused."""
    for key in (
        "",
        "16 bytes, in raw",
        base64.b64encode(bytes(15)).decode(),
        base64.b64encode(bytes(17)).decode(),
        base64.b64encode(bytes(32)).decode(),
        KEY.rstrip("="),
        KEY.replace("h", "!", 1),
        f"{KEY[:8]}!!!!{KEY[8:]}",
    ):
        assert_4xx(server, with_field("Sec-WebSocket-Key", key), f"the key {key!r}")


@pytest.mark.case("W22", "RFC 6455 4.2.1", decides="server")
def test_wrong_version_is_4xx(server: Address) -> None:
    """A version that the server does not speak is refused."""
    for version in ("99", "14", "113", "130", "1", "3"):
        assert_4xx(server, with_field("Sec-WebSocket-Version", version), f"version {version}")


@pytest.mark.case("W23", "RFC 6455 4.2.2 and 4.4", level="should", decides="server")
def test_wrong_version_names_13(server: Address) -> None:
    """The refusal of a version says that the server speaks version 13."""
    response = answer(server, with_field("Sec-WebSocket-Version", "99"))
    versions = re.split(r"\s*,\s*", response.header("sec-websocket-version") or "none")

    assert "13" in versions, f"Sec-WebSocket-Version lists {versions}, wanted '13' among them"
