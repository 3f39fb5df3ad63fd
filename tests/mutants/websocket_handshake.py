"""Faults in what the app takes for a handshake, and in what it answers to one."""

from __future__ import annotations

from tests.mutants import Mutant
from tests.mutants.websocket import ACCEPT, WHILE, fails

ELSEWHERE = """    if scope["type"] == "websocket" and scope["path"] != "/ws":
        return await send({"type": "websocket.close"})"""
OFFER = 'headers.get("sec-websocket-protocol")'

HANDSHAKES = [
    Mutant(
        "subprotocol_is_invented",
        "A client that offers subprotocols is told another one.",
        ACCEPT,
        f"""    subprotocol = "echo" if {OFFER} else None
    await send({{"type": "websocket.accept", "subprotocol": subprotocol}})
""",
        fails("subprotocol_never_invented"),
    ),
    Mutant(
        "whole_offer_is_the_subprotocol",
        "The list of subprotocols is sent back as it came.",
        ACCEPT,
        f"""    await send({{"type": "websocket.accept", "subprotocol": {OFFER}}})
""",
        fails("subprotocol_never_invented"),
    ),
    Mutant(
        "subprotocol_in_lower_case",
        "The first subprotocol is chosen, but written in lower case.",
        ACCEPT,
        f"""    subprotocol = ({OFFER} or "").lower().split(",")[0]
    await send({{"type": "websocket.accept", "subprotocol": subprotocol}})
""",
        fails("subprotocol_never_invented"),
    ),
    Mutant(
        "offer_of_subprotocols_is_refused",
        "A client that offers subprotocols gets no socket.",
        ACCEPT,
        f"""    if {OFFER}:
        return await send({{"type": "websocket.close"}})
{ACCEPT}""",
        fails("subprotocol_never_invented"),
    ),
    Mutant(
        "plain_get_is_200",
        "A plain GET is told in a page what it ought to be.",
        "return await respond(scope, send, 426, headers=upgrade)",
        'return await respond(scope, send, 200, "use WebSocket", headers=upgrade)',
        fails("plain_get_is_4xx"),
    ),
    Mutant(
        "plain_get_is_500",
        "The app stumbles over a plain GET.",
        "return await respond(scope, send, 426, headers=upgrade)",
        "raise LookupError(upgrade)",
        fails("plain_get_is_4xx"),
    ),
    Mutant(
        "every_path_is_a_socket",
        "A handshake is accepted on any path.",
        ELSEWHERE,
        """    if scope["type"] == "websocket":
        return await echo(scope, receive, send)""",
        fails("handshake_elsewhere_is_refused"),
    ),
    Mutant(
        "paths_below_are_sockets",
        "A handshake is accepted on any path that begins with /ws.",
        ELSEWHERE,
        """    if scope["type"] == "websocket":
        known = scope["path"].startswith("/ws")
        return await (echo(scope, receive, send) if known else send({"type": "websocket.close"}))""",
        fails("handshake_elsewhere_is_refused"),
    ),
    Mutant(
        "root_is_a_socket_too",
        "A handshake is accepted on / as well.",
        ELSEWHERE,
        """    if scope["type"] == "websocket":
        known = scope["path"] in ("/", "/ws")
        return await (echo(scope, receive, send) if known else send({"type": "websocket.close"}))""",
        fails("handshake_elsewhere_is_refused"),
    ),
    Mutant(
        "unknown_path_stumbles",
        "A handshake on an unknown path raises in the app.",
        ELSEWHERE,
        """    if scope["type"] == "websocket" and scope["path"] != "/ws":
        raise LookupError(scope["path"])""",
        fails("handshake_elsewhere_is_refused"),
    ),
    Mutant(
        "post_opens_a_socket",
        "The method of a handshake is not looked at.",
        """        request.method == b"GET"
        and request.http_version""",
        "        request.http_version",
        fails("post_is_never_101"),
        file="server.py",
    ),
]

LACKING = ("--lacks", "websocket")

REFUSALS = [
    Mutant(
        "upgrade_is_taken_and_dropped",
        "A stack without WebSocket says 101 all the same.",
        WHILE,
        "    while False:\n",
        fails("upgrade_gets_plain_http_answer"),
        options=LACKING,
    ),
    Mutant(
        "upgrade_is_answered_late",
        "A stack without WebSocket answers a handshake after 3 s.",
        "    await receive()  # websocket.connect\n",
        """    await asyncio.sleep(3)
    return await send({"type": "websocket.close"})
""",
        fails("upgrade_gets_plain_http_answer"),
        options=LACKING,
    ),
]

MUTANTS = [*HANDSHAKES, *REFUSALS]
