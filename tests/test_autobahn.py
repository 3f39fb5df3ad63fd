"""What Autobahn|Testsuite tells of a case, and what that comes to here."""

from __future__ import annotations

import pytest

from strain.autobahn import overtaken

PONG, ONE, TWO = ["pong", "p"], ["message", "one", False], ["message", "two", False]


@pytest.mark.parametrize(
    ("received", "told"),
    [
        pytest.param([ONE, PONG, TWO], True, id="the_pong_came_later"),
        pytest.param([TWO, PONG, ONE], False, id="the_echoes_changed_places"),
        pytest.param([ONE, TWO], False, id="the_pong_never_came"),
        pytest.param([ONE, PONG, TWO, TWO], False, id="an_echo_came_twice"),
    ],
)
def test_only_a_pong_may_be_overtaken(received: list[object], told: bool) -> None:
    """RFC 6455 5.5.2 wants a pong as soon as is practical; echoes come in order, and once."""
    assert overtaken({"expected": {"OK": [PONG, ONE, TWO]}, "received": received}) is told
