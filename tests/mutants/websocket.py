"""Faults of the echo: its text, its order, its limit and what it does with binary messages."""

from __future__ import annotations

from tests.mutants import Mutant

ACCEPT = '    await send({"type": "websocket.accept"})\n'
WHILE = '    while (message := await receive())["type"] == "websocket.receive":\n'
BINARY = '        if message.get("text") is None:\n'
REPLY = """        await send({"type": "websocket.send", "text": f"echo: {message['text']}"})"""


def fails(*words: str) -> frozenset[str]:
    return frozenset(f"websocket/{word}" for word in words)


def replies(name: str, sentence: str, expression: str, *words: str) -> Mutant:
    """Return a mutant whose reply to `text` is `echo: ` + `expression`."""
    new = f"""        text = message["text"]
        await send({{"type": "websocket.send", "text": "echo: " + ({expression})}})"""
    return Mutant(name, sentence, REPLY, new, fails(*words))


TEXTS = [
    replies(
        "lower_cases_the_text",
        "The text comes back in lower case.",
        "text.lower()",
        *("echoes_with_prefix", "text_is_byte_exact"),
    ),
    replies(
        "strips_the_text_in_front",
        "Blanks in front of the text are trimmed.",
        "text.lstrip(' \\t')",
        "text_is_byte_exact",
    ),
    replies(
        "chomps_the_text",
        "A line end behind the text is taken for its end.",
        'text.removesuffix("\\n")',
        "text_is_byte_exact",
    ),
    replies(
        "cuts_the_text_at_nul",
        "The text ends at its first NUL.",
        'text.split("\\0")[0]',
        "text_is_byte_exact",
    ),
    replies(
        "drops_a_byte_order_mark",
        "U+FEFF in front is taken for a byte order mark.",
        'text.removeprefix("\\ufeff")',
        "text_is_byte_exact",
    ),
    replies(
        "composes_the_text",
        "The text is normalised to NFC.",
        '__import__("unicodedata").normalize("NFC", text)',
        "text_is_byte_exact",
    ),
    replies(
        "loses_noncharacters",
        "Code points that are no characters come back as U+FFFD.",
        're.sub("[\\ufdd0-\\ufdef\\ufffe\\uffff]", "\\ufffd", text)',
        "text_is_byte_exact",
    ),
    replies(
        "prefix_is_never_doubled",
        "A text that has the prefix already gets no other.",
        'text.removeprefix("echo: ")',
        "text_is_byte_exact",
    ),
    replies(
        "json_is_read",
        "A text that is a JSON value comes back as another text of that value.",
        'json.dumps(json.loads(text)) if text in ("null", "1e3") else text',
        "text_is_byte_exact",
    ),
    replies(
        "cuts_wide_text_at_64_kib",
        "The length is checked in characters, but a longer text is cut in bytes.",
        'text if text.isascii() else text.encode()[:65535].decode(errors="ignore")',
        *("lengths_at_every_frame_size", "exactly_1_mib_is_echoed"),
    ),
    replies(
        "a_length_is_off_by_one",
        "A text of 126 bytes loses its last one.",
        "text.encode()[: 125 if len(text.encode()) == 126 else None].decode(errors='ignore')",
        "lengths_at_every_frame_size",
    ),
]

MESSAGES = [
    Mutant(
        "empty_text_is_no_text",
        "An empty text message is taken for a binary one.",
        BINARY,
        '        if not message.get("text"):\n',
        fails(
            *("empty_message", "text_is_byte_exact", "one_reply_per_message"),
            *("fragments_are_joined", "server_frames_unmasked"),
            "deflate_only_if_offered_and_round_trips",
        ),
    ),
    Mutant(
        "each_item_gets_a_reply",
        "A list separated by semicolons is answered item by item.",
        REPLY,
        """        for item in message["text"].split("; "):
            await send({"type": "websocket.send", "text": f"echo: {item}"})""",
        fails("one_reply_per_message"),
    ),
    Mutant(
        "each_line_gets_a_reply",
        "A text of several lines is answered line by line.",
        REPLY,
        """        for line in message["text"].split("\\n"):
            await send({"type": "websocket.send", "text": f"echo: {line}"})""",
        fails("text_is_byte_exact", "one_reply_per_message"),
    ),
    Mutant(
        "short_messages_overtake_long_ones",
        "Messages are answered side by side, and a longer one takes longer.",
        REPLY,
        """        reply = send({"type": "websocket.send", "text": f"echo: {message['text']}"})
        if (length := len(message["text"])) > 1000:
            await reply
        else:
            asyncio.get_running_loop().call_later(length / 50_000, asyncio.ensure_future, reply)""",
        fails("order_of_100_pipelined"),
    ),
    Mutant(
        "a_socket_wears_out",
        "A socket is closed after 999 messages.",
        ACCEPT + WHILE,
        f"""{ACCEPT}    messages = iter(range(1000))
{WHILE}        if next(messages) == 999:
            break
""",
        fails("a_thousand_messages_on_one_socket"),
    ),
    Mutant(
        "browsers_are_greeted",
        "A client with an Origin is told something before it speaks.",
        ACCEPT,
        f"""{ACCEPT}    if "origin" in headers:
        await send({{"type": "websocket.send", "text": "welcome"}})
""",
        fails(
            "nothing_before_first_message", "own_origin_is_accepted", "listed_origin_is_accepted"
        ),
    ),
]

SOCKETS = [
    Mutant(
        "replies_cross",
        "The reply is kept in a global for a moment.",
        REPLY,
        """        global reply
        reply = f"echo: {message['text']}"
        await asyncio.sleep(0.001)
        await send({"type": "websocket.send", "text": reply})""",
        fails("no_cross_talk"),
    ),
    Mutant(
        "one_socket_is_read_at_a_time",
        "While one socket waits for a message, no other gets its own.",
        ACCEPT + WHILE,
        f"""{ACCEPT}    turn = vars(echo).setdefault("turn", asyncio.Lock())

    async def receive_alone() -> dict[str, Any]:
        await asyncio.wait_for(turn.acquire(), 3)
        try:
            return await receive()
        finally:
            turn.release()

{WHILE.replace("receive()", "receive_alone()")}""",
        fails("idle_socket_blocks_nobody", "binary_is_1003"),
    ),
    Mutant(
        "sockets_starve_hello",
        "`GET /` is 503 while more than 16 sockets are open.",
        '    await respond(scope, send, 200, "Hello from ASGI (ASGI)!")',
        """    sockets = sum("read_frames" in repr(task) for task in asyncio.all_tasks())
    await respond(scope, send, 503 if sockets > 16 else 200, "Hello from ASGI (ASGI)!")""",
        fails("hello_works_while_sockets_are_open"),
    ),
]

AT_THE_LIMIT = (
    *("exactly_1_mib_is_echoed", "over_1_mib_is_1009"),
    "deflate_only_if_offered_and_round_trips",
)

LIMITS = [
    Mutant(
        "limit_counts_the_reply",
        "A message whose reply is over 1 MiB is refused.",
        REPLY,
        f"""        if len(f"echo: {{message['text']}}".encode()) > 1_048_576:
            return await send({{"type": "websocket.close", "code": 1009}})
{REPLY}""",
        fails(*AT_THE_LIMIT),
    ),
    Mutant(
        "limit_is_exclusive",
        "A message of exactly 1 MiB is over the limit.",
        "MESSAGE_LIMIT = 1 << 20",
        "MESSAGE_LIMIT = (1 << 20) - 1",
        fails(*AT_THE_LIMIT),
        file="server.py",
    ),
    Mutant(
        "limit_is_a_byte_late",
        "A message of 1 MiB and a byte is within the limit.",
        "MESSAGE_LIMIT = 1 << 20",
        "MESSAGE_LIMIT = (1 << 20) + 1",
        fails(
            *("limit_counts_bytes_of_the_whole_message", "over_1_mib_is_1009"),
            "inflated_message_over_1_mib_fails",
        ),
        file="server.py",
    ),
]

BINARIES = [
    Mutant(
        "empty_binary_is_ignored",
        "An empty binary message is passed over.",
        BINARY,
        f"""        if message.get("text") is None and not message.get("bytes"):
            continue
{BINARY}""",
        fails("binary_is_1003"),
    ),
    Mutant(
        "binary_in_ascii_is_text",
        "A binary message that is ASCII is echoed as text.",
        BINARY,
        f"""        if message.get("text") is None and message["bytes"].isascii():
            message["text"] = message["bytes"].decode()
{BINARY}""",
        fails("binary_is_1003"),
    ),
    Mutant(
        "binary_is_1008",
        "A binary message closes with 1008.",
        '"code": 1003',
        '"code": 1008',
        fails("binary_is_1003"),
    ),
    Mutant(
        "binary_is_echoed_first",
        "A binary message is sent back before the socket is closed.",
        BINARY,
        f"""{BINARY}            await send({{"type": "websocket.send", "bytes": message["bytes"]}})
""",
        fails("binary_is_1003"),
    ),
    Mutant(
        "only_a_first_binary_is_refused",
        "Once a text has been echoed, binary messages are passed over.",
        BINARY,
        f"""        if message.get("text") is None and "echoed" in scope:
            continue
        scope["echoed"] = True
{BINARY}""",
        fails("binary_is_1003"),
    ),
]

MUTANTS = [*TEXTS, *MESSAGES, *SOCKETS, *LIMITS, *BINARIES]
