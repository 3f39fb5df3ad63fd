"""Faults of a server in the closing handshake."""

from __future__ import annotations

from tests.mutants.websocket_frames import patches, receives, server, transmits

CLOSES = (
    *("close_1000_is_answered_and_tcp_closed", "close_without_code"),
    *("valid_close_codes_are_answered", "nothing_is_echoed_behind_close"),
)

MUTANTS = [
    transmits(
        "close_is_not_answered",
        "A Close ends the TCP connection at once, without a Close of the server's.",
        "if frame.opcode is Opcode.CLOSE and protocol.close_rcvd: return",
        *CLOSES,
    ),
    transmits(
        "close_is_answered_with_1001",
        "A Close is answered with 1001, whatever its code.",
        "if protocol.close_rcvd: frame.data = b'\\x03\\xe9'",
        *CLOSES,
    ),
    transmits(
        "close_without_code_gets_1005",
        "A Close without a code is answered with 1005, which none may send.",
        "if frame.opcode is Opcode.CLOSE and not frame.data: frame.data = b'\\x03\\xed'",
        "close_without_code",
    ),
    receives(
        "close_without_code_fails",
        "A Close without a code is a protocol error.",
        "if frame.opcode is Opcode.CLOSE and not frame.data: return protocol.fail(1002)",
        "close_without_code",
    ),
    receives(
        "long_reason_fails",
        "A reason of more than 122 bytes is a protocol error.",
        "if frame.opcode is Opcode.CLOSE and len(frame.data) == 125: return protocol.fail(1002)",
        "close_1000_is_answered_and_tcp_closed",
    ),
    server(
        "client_has_to_close_first",
        "After a Close that has a reason the server leaves TCP to the client.",
        '        await self.inbox.put({"type": "websocket.disconnect", "code": code})\n',
        """        while close and close.reason and await self.client.read():
            pass
        await self.inbox.put({"type": "websocket.disconnect", "code": code})
""",
        *("close_1000_is_answered_and_tcp_closed", "valid_close_codes_are_answered"),
    ),
    receives(
        "codes_of_applications_fail",
        "A code from 4000 on is a protocol error.",
        """if frame.opcode is Opcode.CLOSE and frame.data >= b"\\x0f\\xa0":
        return protocol.fail(1002)""",
        "valid_close_codes_are_answered",
    ),
    receives(
        "codes_of_libraries_fail",
        "A code from 3000 to 3999 is a protocol error.",
        """if frame.opcode is Opcode.CLOSE and b"\\x0b\\xb8" <= frame.data < b"\\x0f\\xa0":
        return protocol.fail(1002)""",
        "valid_close_codes_are_answered",
    ),
    transmits(
        "close_is_answered_twice",
        "The answer to a Close is sent again.",
        "protocol.writes += [b'\\x88\\0'] * bool(protocol.close_rcvd)",
        *(*CLOSES, "server_frames_unmasked"),
    ),
    receives(
        "close_waits_for_what_is_behind_it",
        "A Close is passed over where something follows.",
        "if frame.opcode is Opcode.CLOSE and protocol.reader.buffer: return",
        "nothing_is_echoed_behind_close",
    ),
    patches(
        "any_close_code_is_valid",
        "A Close is answered with its own code, whatever that is.",
        "__import__('websockets.frames').frames.Close.check = lambda close: None\n",
        "invalid_close_codes_are_1002",
    ),
    patches(
        "reserved_close_code_is_valid",
        "1015, which only an app may be told, is taken for a code like any other.",
        "__import__('websockets.frames').frames.EXTERNAL_CLOSE_CODES.add(1015)\n",
        "invalid_close_codes_are_1002",
    ),
    patches(
        "close_code_999_is_valid",
        "The codes begin at 999.",
        "__import__('websockets.frames').frames.EXTERNAL_CLOSE_CODES.add(999)\n",
        "invalid_close_codes_are_1002",
    ),
    receives(
        "half_a_close_code_is_filled_up",
        "A Close of one byte is taken for 1000.",
        "if frame.opcode is Opcode.CLOSE and len(frame.data) == 1: frame.data = b'\\x03\\xe8'",
        "one_byte_close_fails",
    ),
]
