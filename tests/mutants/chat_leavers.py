"""Faults of the chat relay towards clients that leave or stop reading."""

from __future__ import annotations

from tests.mutants import Mutant
from tests.mutants.chat import ASK, fails
from tests.mutants.chat_streams import NEXT, PING, UNFINISHED, UPCOMING


def ignores(name: str, sentence: str, ignored: str, *words: str, swallow: bool = False) -> Mutant:
    """Return a mutant that ignores leavers while `ignored` of `sent`, which counts no pings."""
    suppressed = "with __import__('contextlib').suppress(OSError): " if swallow else ""
    new = f"""sent = 0
    async def counting(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += message.get("body") != b": ping\\n\\n"
        {suppressed}await send(message)
    async def ignoring() -> dict[str, Any]:
        message = await receive()
        while {ignored}:
            await asyncio.sleep(0.01)
        return message
    await until_disconnect(ignoring, relay(scope, counting, "POST", "/chat/completions", body))"""
    return Mutant(name, sentence, ASK, new, fails(*words))


LEAVERS = [
    Mutant(
        "nobody_leaves",
        "That a client has left is not looked for.",
        ASK,
        'await relay(scope, send, "POST", "/chat/completions", body)',
        fails(
            "cancel_before_headers",
            "cancel_before_first_token",
            "cancel_in_silence",
            "cancel_without_stream",
        ),
    ),
    ignores(
        "asks_on_before_headers",
        "Who leaves before the headers is not noticed.",
        "sent == 0",
        "cancel_before_headers",
        "cancel_without_stream",
    ),
    ignores(
        "asks_on_before_tokens",
        "Who leaves before a token is not noticed.",
        "sent == 1",
        "cancel_before_first_token",
    ),
    ignores(
        "listens_on_in_silence",
        "Who leaves a silent model is not noticed.",
        "sent > 1",
        "cancel_in_silence",
    ),
    ignores(
        "talks_on",
        "Tokens for who has left are dropped one by one.",
        "sent > 1",
        "cancel_between_tokens",
        "cancel_in_silence",
        "cancel_while_not_reading",
        "a_thousand_leavers_leave_nothing",
        swallow=True,
    ),
    Mutant(
        "answers_in_vain",
        "Who leaves while a whole answer is made is not noticed.",
        ASK,
        f"""if not json.loads(body).get("stream"):
        return await relay(scope, send, "POST", "/chat/completions", body)
    {ASK}""",
        fails("cancel_without_stream"),
    ),
    Mutant(
        "queues_without_bound",
        "What the client does not read piles up.",
        UPCOMING + PING + NEXT,
        """        queue = locals().get("queue") or asyncio.Queue()
        async def fill() -> None:
            async for event in events:
                queue.put_nowait(event)
            queue.put_nowait(None)
        filling = locals().get("filling") or asyncio.create_task(fill())
        try:
            event = await asyncio.wait_for(queue.get(), PING_INTERVAL)
        except TimeoutError:
            event = ": ping\\n\\n"
        if event is None:
            return
        yield event
""",
        fails("a_client_that_stops_reading_stalls_the_upstream"),
    ),
    Mutant(
        "keeps_128_kib_of_each",
        "Each stream leaves 128 KiB of memory.",
        UNFINISHED,
        UNFINISHED + '    globals().setdefault("kept", []).append(b"x" * 131_072)\n',
        fails("a_thousand_leavers_leave_nothing"),
    ),
    Mutant(
        "keeps_a_descriptor_of_some",
        "One stream of 50 leaves a descriptor.",
        UNFINISHED,
        UNFINISHED + '    globals().setdefault("kept", []).append(response)\n'
        "    if len(kept) % 50 == 0:\n        kept.append(open(os.devnull))\n",
        fails("a_thousand_leavers_leave_nothing"),
    ),
    Mutant(
        "keeps_a_thread_of_some",
        "One stream of five leaves a thread.",
        UNFINISHED,
        UNFINISHED + '    globals().setdefault("kept", []).append(response)\n'
        "    if len(kept) % 5 == 0:\n"
        "        import threading\n"
        "        threading.Thread(target=threading.Event().wait, daemon=True).start()\n",
        fails("a_thousand_leavers_leave_nothing"),
    ),
]

MUTANTS = LEAVERS
