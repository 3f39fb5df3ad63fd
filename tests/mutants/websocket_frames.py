"""Faults of a server that reads, joins, answers or sends frames wrongly."""

from __future__ import annotations

from tests.mutants import Mutant

SOCKET = "class Socket:\n"
JOIN = "        self.message += frame.data\n"
WHOLE = "        if not frame.fin:\n"
TEXT = "self.message.decode()"
NOT_TEXT = """            self.protocol.fail(1007)
            return await self.flush()
"""

PINGS = ("ping_gets_same_pong", "ping_between_deflated_fragments")


def fails(*words: str) -> frozenset[str]:
    return frozenset(f"websocket/{word}" for word in words)


def server(name: str, sentence: str, old: str, new: str, *words: str) -> Mutant:
    return Mutant(name, sentence, old, new, fails(*words), file="server.py")


def patches(name: str, sentence: str, code: str, *words: str) -> Mutant:
    """Return a mutant whose fault lies in what websockets does, so it runs `code` first."""
    return server(name, sentence, SOCKET, f"{code}\n\n{SOCKET}", *words)


def receives(name: str, sentence: str, code: str, *words: str) -> Mutant:
    """Return a mutant that runs `code` before `protocol` takes a whole `frame`."""
    wrapped = f"""\
def receive_frame(protocol, frame, receive=ServerProtocol.recv_frame):
    {code}
    receive(protocol, frame)


ServerProtocol.recv_frame = receive_frame
"""
    return patches(name, sentence, wrapped, *words)


def transmits(name: str, sentence: str, code: str, *words: str) -> Mutant:
    """Return a mutant that runs `code` before `protocol` sends a `frame`."""
    wrapped = f"""\
def transmit_frame(protocol, frame, transmit=ServerProtocol.send_frame):
    {code}
    transmit(protocol, frame)


ServerProtocol.send_frame = transmit_frame
"""
    return patches(name, sentence, wrapped, *words)


def passes(name: str, sentence: str, condition: str, *words: str) -> Mutant:
    """Return a mutant that finds nothing wrong with a `frame` of which `condition` is true."""
    wrapped = f"""\
def check(frame, check=Frame.check):
    if not ({condition}):
        check(frame)


Frame.check = check
"""
    return patches(name, sentence, wrapped, *words)


def parses(name: str, sentence: str, code: str, *words: str) -> Mutant:
    """Return a mutant that runs `code` on the `head` of a frame, two bytes, before it is read."""
    wrapped = f"""\
def parse(read_exact, *, mask, parse=Frame.parse, **options):
    head = read_exact.__self__.buffer
    while len(head) < 2:
        yield
    {code}
    return (yield from parse(read_exact, mask=mask, **options))


Frame.parse = parse
"""
    return patches(name, sentence, wrapped, *words)


FRAGMENTS = [
    server(
        "empty_last_fragment_ends_nothing",
        "A last fragment without payload is not taken for the last.",
        WHOLE,
        "        if not frame.fin or (frame.opcode is Opcode.CONT and not frame.data):\n",
        *("fragments_are_joined", "exactly_1_mib_is_echoed", "binary_is_1003"),
    ),
    server(
        "empty_fragment_fails",
        "A fragment without payload is a protocol error.",
        JOIN,
        f"""{JOIN}        if not frame.fin and not frame.data:
            self.protocol.fail(1002)
            return await self.flush()
""",
        *("fragments_are_joined", "deflate_only_if_offered_and_round_trips"),
    ),
    server(
        "each_fragment_has_to_be_utf8",
        "Each fragment of a text has to be UTF-8 by itself.",
        JOIN,
        f"""{JOIN}        try:
            if self.opcode is Opcode.TEXT:
                frame.data.decode()
        except UnicodeDecodeError:
{NOT_TEXT}""",
        "fragments_are_joined",
    ),
    server(
        "a_message_has_at_most_256_fragments",
        "A message of more than 256 fragments is refused, however short it is.",
        JOIN,
        f"""{JOIN}        self.fragments = self.fragments + 1 if frame.opcode is Opcode.CONT else 1
        if self.fragments > 256:
            self.protocol.fail(1009)
            return await self.flush()
""",
        "fragments_are_joined",
    ),
    receives(
        "stray_fragment_is_passed_over",
        "A fragment that continues nothing is ignored.",
        "if frame.opcode is Opcode.CONT and protocol.current_size is None: return",
        "stray_fragments_fail",
    ),
    receives(
        "stray_fragment_is_a_message",
        "A fragment that continues nothing is a text.",
        """if frame.opcode is Opcode.CONT and protocol.current_size is None:
        frame.opcode = Opcode.TEXT""",
        "stray_fragments_fail",
    ),
    receives(
        "new_message_takes_the_place_of_an_open_one",
        "A message that begins inside another replaces it.",
        "if frame.opcode in (Opcode.TEXT, Opcode.BINARY): protocol.current_size = None",
        "stray_fragments_fail",
    ),
]

CONTROL = [
    transmits(
        "pong_is_cut_to_124_bytes",
        "The payload of a pong ends a byte early where a ping is as long as it can be.",
        "frame.data = frame.data[:124] if frame.opcode is Opcode.PONG else frame.data",
        "ping_gets_same_pong",
    ),
    transmits(
        "pong_has_to_be_utf8",
        "What is not UTF-8 in a ping is left out of its pong.",
        "if frame.opcode is Opcode.PONG: frame.data = frame.data.decode(errors='ignore').encode()",
        "ping_gets_same_pong",
    ),
    transmits(
        "empty_ping_is_not_answered",
        "A ping without payload gets no pong.",
        "if frame.opcode is Opcode.PONG and not frame.data: return",
        "ping_gets_same_pong",
    ),
    transmits(
        "no_pong_inside_a_message",
        "A ping between fragments gets no pong.",
        "if frame.opcode is Opcode.PONG and protocol.current_size is not None: return",
        *PINGS,
    ),
    receives(
        "ping_ends_an_open_message",
        "A ping between fragments makes the server forget those before it.",
        "if frame.opcode is Opcode.PING: protocol.current_size = None",
        *PINGS,
    ),
    receives(
        "unsolicited_pong_fails",
        "A pong that nobody asked for is a protocol error.",
        "if frame.opcode is Opcode.PONG: return protocol.fail(1002)",
        "unsolicited_pong_ignored",
    ),
    receives(
        "unsolicited_pong_ends_an_open_message",
        "A pong between fragments makes the server forget those before it.",
        "if frame.opcode is Opcode.PONG: protocol.current_size = None",
        "unsolicited_pong_ignored",
    ),
    receives(
        "pong_is_answered",
        "A pong is answered as a ping is.",
        "if frame.opcode is Opcode.PONG: frame.opcode = Opcode.PING",
        "unsolicited_pong_ignored",
    ),
    transmits(
        "pongs_are_masked",
        "A pong is sent as a client would.",
        """if frame.opcode is Opcode.PONG:
        return protocol.writes.append(frame.serialize(mask=True))""",
        *(*PINGS, "server_frames_unmasked"),
    ),
    transmits(
        "lengths_are_never_short",
        "A frame of 126 bytes gives its length in eight bytes.",
        """if len(frame.data) == 126:
        return protocol.writes.append(b"\\x81\\x7f" + bytes(7) + b"\\x7e" + frame.data)""",
        "server_frames_unmasked",
    ),
]

FORM = [
    parses(
        "unmasked_frames_are_taken",
        "A frame without a mask is taken like any other.",
        "mask = head[1] >= 128",
        "unmasked_frame_fails",
    ),
    parses(
        "unmasked_empty_frames_are_taken",
        "A frame without payload needs no mask.",
        "mask = head[1] != 0",
        "unmasked_frame_fails",
    ),
    parses(
        "unmasked_fragments_are_taken",
        "A last fragment needs no mask.",
        "mask = head[0] != 0x80 or head[1] >= 128",
        "unmasked_frame_fails",
    ),
    passes(
        "third_reserved_bit_is_ignored",
        "RSV3 alone is nobody's business.",
        "frame.rsv3 and not frame.rsv1 and not frame.rsv2",
        "reserved_bits_and_opcodes_fail",
    ),
    passes(
        "reserved_bits_of_pings_are_ignored",
        "A ping may have reserved bits.",
        "frame.opcode is Opcode.PING and frame.fin and len(frame.data) < 126",
        *("reserved_bits_and_opcodes_fail", "deflate_misuse_fails"),
    ),
    passes(
        "reserved_bits_of_fragments_are_ignored",
        "A later fragment may have reserved bits.",
        "frame.opcode is Opcode.CONT",
        *("reserved_bits_and_opcodes_fail", "deflate_misuse_fails"),
    ),
    parses(
        "unknown_control_frames_are_passed_over",
        "A control frame of an unknown opcode is ignored, as a pong is.",
        "head[0] = 0x8A if head[0] & 15 > 10 else head[0]",
        "reserved_bits_and_opcodes_fail",
    ),
    parses(
        "unknown_data_frames_are_text",
        "A data frame of an unknown opcode is taken for text.",
        "head[0] = 0x81 if head[0] & 15 == 7 else head[0]",
        "reserved_bits_and_opcodes_fail",
    ),
    passes(
        "control_frames_may_have_126_bytes",
        "The limit of a ping or pong is one byte too high.",
        "frame.opcode in (Opcode.PING, Opcode.PONG) and len(frame.data) == 126",
        "oversized_control_fails",
    ),
    passes(
        "pongs_may_have_any_length",
        "The limit of a control frame does not hold for pongs.",
        "frame.opcode is Opcode.PONG and len(frame.data) > 125",
        "oversized_control_fails",
    ),
    passes(
        "close_may_have_126_bytes",
        "The limit of a control frame does not hold for a reason of 124 bytes.",
        "frame.opcode is Opcode.CLOSE and len(frame.data) == 126",
        "oversized_control_fails",
    ),
    passes(
        "first_fragment_of_a_ping_is_a_ping",
        "A ping is answered, whether it is whole or not.",
        "frame.opcode is Opcode.PING and not frame.fin",
        "fragmented_control_fails",
    ),
    passes(
        "first_fragment_of_a_pong_is_a_pong",
        "A pong is passed over, whether it is whole or not.",
        "frame.opcode is Opcode.PONG and not frame.fin",
        "fragmented_control_fails",
    ),
    passes(
        "first_fragment_of_a_close_is_a_close",
        "A Close is answered, whether it is whole or not.",
        "frame.opcode is Opcode.CLOSE and not frame.fin",
        "fragmented_control_fails",
    ),
]

UTF8 = [
    server(
        "bad_utf8_is_mended",
        "What is not UTF-8 comes back as replacement characters.",
        TEXT,
        'self.message.decode(errors="replace")',
        *("bad_utf8_fails", "deflate_misuse_fails"),
    ),
    server(
        "cut_character_is_dropped",
        "A character that is cut at the end of a text is left out.",
        TEXT,
        '__import__("codecs").getincrementaldecoder("utf-8")().decode(self.message)',
        "bad_utf8_fails",
    ),
    server(
        "surrogates_are_mended",
        "A pair of surrogates, each in three bytes, is taken for the character that it stands for.",
        TEXT,
        """self.message.decode("utf-8", "surrogatepass").encode(
                    "utf-16", "surrogatepass").decode("utf-16", "replace")""",
        "bad_utf8_fails",
    ),
    server(
        "overlong_slash_is_a_slash",
        "A slash in two bytes is a slash.",
        TEXT,
        'self.message.replace(b"\\xc0\\xaf", b"/").decode()',
        "bad_utf8_fails",
    ),
    server(
        "bad_utf8_is_latin_1",
        "What is not UTF-8 is taken for Latin-1.",
        NOT_TEXT,
        '            message["text"] = self.message.decode("latin-1")\n',
        *("bad_utf8_fails", "deflate_misuse_fails"),
    ),
    server(
        "bad_utf8_is_passed_over",
        "What is not UTF-8 is ignored.",
        NOT_TEXT,
        "            return\n",
        *("bad_utf8_fails", "deflate_misuse_fails"),
    ),
]

MUTANTS = [*FRAGMENTS, *CONTROL, *FORM, *UTF8]
