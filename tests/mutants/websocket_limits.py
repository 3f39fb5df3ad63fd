"""Faults of a server that compresses wrongly, takes too much or keeps what has gone."""

from __future__ import annotations

from tests.mutants import Mutant
from tests.mutants.websocket_frames import patches, server

ACCEPTED = "        self.client = client\n        self.scope = scope(client, request"
LIMIT = "            max_size=MESSAGE_LIMIT,\n"
INBOX = "asyncio.Queue(INBOX)"
LEFT = "        close = self.protocol.close_rcvd\n"

DEFLATE = "deflate_only_if_offered_and_round_trips"
PING = "ping_between_deflated_fragments"
PER_MESSAGE = "__import__('websockets.extensions.permessage_deflate').extensions.permessage_deflate"


def deflates(name: str, sentence: str, code: str, *words: str) -> Mutant:
    """Return a mutant that runs `code` on each `extension` that was agreed on."""
    new = f"""        for extension in self.protocol.extensions:
            {code}
{ACCEPTED}"""
    return server(name, sentence, ACCEPTED, new, *words)


def inflates(name: str, sentence: str, code: str, *words: str) -> Mutant:
    """Return a mutant that runs `code` before `extension` inflates a `frame`."""
    wrapped = f"""\
def inflate(extension, frame, *, max_size=None, inflate={PER_MESSAGE}.PerMessageDeflate.decode):
    {code}
    return inflate(extension, frame, max_size=max_size)


{PER_MESSAGE}.PerMessageDeflate.decode = inflate
"""
    return patches(name, sentence, wrapped, *words)


COMPRESSION = [
    server(
        "any_extension_is_agreed_to",
        "Every extension that a client offers is accepted.",
        ACCEPTED,
        f"""        offer = fields.get("Sec-WebSocket-Extensions")
        if offer and not self.protocol.extensions:
            self.response.headers["Sec-WebSocket-Extensions"] = offer
{ACCEPTED}""",
        DEFLATE,
    ),
    deflates(
        "context_of_replies_is_kept",
        "The server keeps its context although it agreed not to.",
        """if extension.local_no_context_takeover:
                extension.local_no_context_takeover = False
                extension.encoder = __import__("zlib").compressobj(wbits=-15)""",
        DEFLATE,
    ),
    deflates(
        "context_of_messages_is_lost",
        "The server forgets the client's context although it agreed to keep it.",
        "extension.remote_no_context_takeover = True",
        DEFLATE,
    ),
    deflates(
        "window_is_larger_than_agreed",
        "The server names a window of 512 bytes for its replies and uses 32 KiB.",
        """agreed = self.response.headers.pop("Sec-WebSocket-Extensions")
            agreed += "; server_max_window_bits=9"
            self.response.headers["Sec-WebSocket-Extensions"] = agreed""",
        DEFLATE,
    ),
    inflates(
        "ping_ends_a_compressed_message",
        "After a ping the rest of a compressed message is taken as it is.",
        "extension.decode_cont_data &= frame.opcode is not Opcode.PING",
        PING,
    ),
    inflates(
        "fragments_may_say_that_they_are_compressed",
        "RSV1 on a later fragment is overlooked.",
        "frame.rsv1 &= frame.opcode is not Opcode.CONT",
        "deflate_misuse_fails",
    ),
    inflates(
        "pings_may_say_that_they_are_compressed",
        "RSV1 on a ping is overlooked once compression is agreed on.",
        "frame.rsv1 &= frame.opcode is not Opcode.PING",
        "deflate_misuse_fails",
    ),
    inflates(
        "compressed_messages_may_have_reserved_bits",
        "RSV2 is overlooked once compression is agreed on.",
        "frame.rsv2 = False",
        "deflate_misuse_fails",
    ),
]

BY_HAND = ("over_1_mib_is_1009", "limit_counts_bytes_of_the_whole_message")
INFLATED = "inflated_message_over_1_mib_fails"
BOMB = "deflate_bomb_is_bounded"


def limits(name: str, sentence: str, most: str, condition: str, *words: str) -> Mutant:
    """Return a mutant with `most` for a limit that also refuses a `message` if `condition` holds.

    `message` is what the `frame` adds to, with the frame's data.
    """
    new = f"""        self.protocol.max_message_size = {most}
        take = self.take

        async def take_what_fits(frame: Frame) -> None:
            message = self.message + frame.data if frame.opcode is Opcode.CONT else frame.data
            if frame.opcode in DATA_OPCODES and ({condition}):
                self.protocol.fail(1009)
                return await self.flush()
            await take(frame)

        self.take = take_what_fits
{ACCEPTED}"""
    return server(name, sentence, ACCEPTED, new, *words)


LIMITS = [
    server(
        "limit_is_a_frames",
        "Each fragment may have 1 MiB.",
        LIMIT,
        "            max_size=(None, MESSAGE_LIMIT),\n",
        *(*BY_HAND, INFLATED, BOMB, "endless_message_is_bounded"),
    ),
    limits(
        "limit_is_for_fragments_only",
        "One frame may have 16 MiB, fragments have 1 MiB together.",
        "16 * MESSAGE_LIMIT",
        "frame.opcode is Opcode.CONT and len(message) > MESSAGE_LIMIT",
        *("over_1_mib_is_1009", INFLATED),
    ),
    limits(
        "limit_leaves_the_last_fragment_out",
        "Of a message in fragments the last one is not counted.",
        "2 * MESSAGE_LIMIT",
        "len(message) > MESSAGE_LIMIT and not (frame.opcode is Opcode.CONT and frame.fin)",
        *("over_1_mib_is_1009", INFLATED),
    ),
    limits(
        "limit_counts_characters",
        "A message may have 1,048,576 characters, however many bytes those are.",
        "4 * MESSAGE_LIMIT",
        "len(message.decode(errors='ignore')) > MESSAGE_LIMIT",
        *(*BY_HAND, INFLATED),
    ),
    limits(
        "limit_is_looked_at_when_all_is_there",
        "The size of a message is looked at when it is whole.",
        "None",
        "frame.fin and len(message) > MESSAGE_LIMIT",
        *("endless_message_is_bounded", BOMB),
    ),
    limits(
        "limit_is_a_connections",
        "All messages of a connection together may have 2.5 MiB.",
        "MESSAGE_LIMIT",
        "vars(self).update(sum=vars(self).get('sum', 0) + len(frame.data)) or self.sum > 2_621_440",
        *("over_1_mib_is_1009", "exactly_1_mib_is_echoed"),
    ),
    patches(
        "too_big_is_1002",
        "A message over the limit closes with 1002.",
        """\
def fail(protocol, code, reason="", fail=ServerProtocol.fail):
    fail(protocol, 1002 if code == 1009 else code, reason)


ServerProtocol.fail = fail
""",
        *BY_HAND,
    ),
    inflates(
        "inflated_messages_have_no_limit",
        "A message may inflate to anything.",
        "max_size = None",
        *(INFLATED, BOMB),
    ),
    inflates(
        "inflated_messages_have_a_larger_limit",
        "A message may inflate to 16 MiB.",
        "max_size = 16 * MESSAGE_LIMIT",
        INFLATED,
    ),
    patches(
        "size_is_looked_at_when_inflated",
        "A message is inflated whole before its size is looked at.",
        f"""\
def inflate(extension, frame, *, max_size=None, inflate={PER_MESSAGE}.PerMessageDeflate.decode):
    frame = inflate(extension, frame)
    if max_size is not None and len(frame.data) > max_size:
        raise __import__("websockets").exceptions.PayloadTooBig(len(frame.data), max_size)
    return frame


{PER_MESSAGE}.PerMessageDeflate.decode = inflate
""",
        BOMB,
    ),
    server(
        "inbox_has_no_bounds",
        "Messages are read as fast as they come, and wait in memory for the app.",
        INBOX,
        "asyncio.Queue()",
        "flooding_client_that_never_reads_is_bounded",
    ),
]

FOREVER = "await asyncio.Event().wait()"
LEAVERS = ("abrupt_drop_frees_the_handler", "half_a_frame_then_gone")
EARLY = "early_frame_leaks_nothing"

LEAKS = [
    server(
        "early_frame_leaks_its_socket",
        "A frame that comes with the handshake is refused with 400, and the connection is kept.",
        ACCEPTED,
        f"""        if client.buffer:
            self.run = lambda: asyncio.gather(
                client.write(Refusal(400, "early").response()), asyncio.Event().wait()
            )
{ACCEPTED}""",
        EARLY,
    ),
    server(
        "early_frame_is_500",
        "The server stumbles over a frame that comes with the handshake.",
        ACCEPTED,
        f"""        if client.buffer:
            raise Refusal(500, "early")
{ACCEPTED}""",
        EARLY,
    ),
    server(
        "only_close_frees_the_handler",
        "The app waits for ever for a client that left without a Close.",
        LEFT,
        f"""        if not self.protocol.eof_sent:
            {FOREVER}
{LEFT}""",
        *(*LEAVERS, EARLY),
    ),
    server(
        "half_a_frame_is_waited_for",
        "The app waits for ever for the rest of a frame.",
        LEFT,
        f"""        if self.protocol.reader.buffer:
            {FOREVER}
{LEFT}""",
        "half_a_frame_then_gone",
    ),
    server(
        "half_a_message_is_waited_for",
        "The app waits for ever for the last fragment of a message.",
        LEFT,
        f"""        if self.protocol.current_size is not None and not self.protocol.eof_sent:
            {FOREVER}
{LEFT}""",
        "half_a_frame_then_gone",
    ),
    server(
        "each_leaver_leaves_a_thread",
        "A thread waits for a client that left without a Close.",
        LEFT,
        f"""        if not self.protocol.eof_sent:
            threading = __import__("threading")
            threading.Thread(target=threading.Event().wait, daemon=True).start()
{LEFT}""",
        *(*LEAVERS, EARLY),
    ),
]

MUTANTS = [*COMPRESSION, *LIMITS, *LEAKS]
