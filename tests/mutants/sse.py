"""Faults of the event stream: its head, its events, when they come, and how it is resumed."""

from __future__ import annotations

from tests.mutants import Mutant

METHODS = """async def sse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        return await respond(scope, send, 405, headers=READ_ONLY)
"""
READ_ID = 'whole_number(request_headers(scope).get("last-event-id", ""))'
AT_END = "    if last_event_id is not None and last_event_id >= len(tokens):\n"
START = "    await send(response_start(200, STREAM_HEADERS))\n"
HEAD = """    if scope["method"] == "HEAD":
        return await send({"type": "http.response.body"})
"""
EVENTS = "    events = token_events(tokens, last_event_id or 0, delay)\n"
STREAMS = "    await until_disconnect(receive, stream(send, events))\n"
CHUNKS = """    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
"""
NUMBERS = "enumerate(tokens[sent:], start=sent + 1)"
WAITS = "        if number > 1:\n"
PINGS = """            async for ping in pause(delay):
                yield ping
"""
TOKEN = '        yield f"id: {number}\\n" + event("token", token)\n'
DONE = '    yield event("done", str(len(tokens)))\n'
WHILE = "    while delay > PING_INTERVAL:\n"
SLEEP = "        await asyncio.sleep(PING_INTERVAL)\n        delay -= PING_INTERVAL\n"
PING = '": ping\\n\\n"\n'
YIELD = '        yield ": ping\\n\\n"\n'
REST = "    await asyncio.sleep(delay)\n\n\n"
LINES = '    lines = "".join(f"data: {line}\\n" for line in data.split("\\n"))\n'
EVENT = '    return f"event: {name}\\n{lines}\\n"\n'


def fails(*words: str) -> frozenset[str]:
    return frozenset(word if "/" in word else f"sse/{word}" for word in words)


HEADS = [
    Mutant(
        "stream_is_plain_text",
        "A stream is `text/plain`.",
        '"content-type": "text/event-stream"',
        '"content-type": "text/plain; charset=utf-8"',
        fails("type_is_event_stream", "chat/headers_are_those_of_sse"),
    ),
    Mutant(
        "stream_is_kept_until_stale",
        "A cache may keep a stream, and has to ask only once it is stale.",
        '    "cache-control": "no-store",\n',
        '    "cache-control": "private, max-age=0, must-revalidate",\n',
        fails("cache_control_is_no_cache_or_no_store", "chat/headers_are_those_of_sse"),
    ),
    Mutant(
        "nginx_may_buffer",
        "nginx is not told to pass events on.",
        '    "x-accel-buffering": "no",\n',
        "",
        fails("x_accel_buffering_is_no", "chat/x_accel_buffering_is_no"),
    ),
    Mutant(
        "origin_is_echoed",
        "Whoever asks from a foreign origin may read the stream.",
        START,
        """    allowed = {"access-control-allow-origin": request_headers(scope).get("origin", "none")}
    await send(response_start(200, STREAM_HEADERS | allowed))
""",
        fails("no_permissive_cors"),
    ),
    Mutant(
        "stream_without_delay_has_a_length",
        "Where no delay is asked for, the stream is put together first.",
        START,
        """    if delay == 0:
        whole = "".join([e async for e in token_events(tokens, last_event_id or 0, delay)])
        return await respond(scope, send, 200, whole, STREAM_HEADERS)
"""
        + START,
        fails("no_content_length"),
    ),
    Mutant(
        "gzip_is_not_flushed",
        "To a client that takes gzip, events leave when the compressor has enough of them.",
        START,
        """    headers, plain, packer = dict(STREAM_HEADERS), send, __import__("zlib").compressobj(wbits=31)
    if "gzip" in request_headers(scope).get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"

        async def send(message: dict[str, Any]) -> None:
            packed = packer.compress(message.get("body", b""))
            rest = b"" if "more_body" in message or "status" in message else packer.flush()
            await plain(message if "status" in message else message | {"body": packed + rest})
    await send(response_start(200, headers))
""",
        fails("not_compressed_unless_flushed"),
    ),
    Mutant(
        "stream_forbids_post",
        "POST is 403, as from a filter that looks for a token.",
        METHODS,
        METHODS.replace("405, headers=READ_ONLY", "403"),
        fails("post_is_405"),
    ),
    Mutant(
        "head_runs_the_stream",
        "HEAD waits for every token, and only the body is left out.",
        HEAD,
        "",
        fails("head_has_no_body_and_ends"),
    ),
    Mutant(
        "head_of_a_stream_is_404",
        "HEAD is not routed.",
        METHODS,
        METHODS
        + '    if scope["method"] == "HEAD":\n        return await respond(scope, send, 404)\n',
        fails("head_has_no_body_and_ends"),
    ),
]

FORM = [
    Mutant(
        "ids_count_from_zero",
        "The id of an event is the index of its token.",
        TOKEN,
        TOKEN.replace("{number}", "{number - 1}"),
        fails("ids_count_from_one", "last_event_id_resumes_after"),
    ),
    Mutant(
        "done_has_an_id",
        "A browser that comes back after `done` asks for what is behind it.",
        DONE,
        '    yield f"id: {len(tokens) + 1}\\n" + event("done", str(len(tokens)))\n',
        fails("ids_count_from_one"),
    ),
    Mutant(
        "tokens_have_no_name",
        "Tokens are events without a name.",
        TOKEN,
        TOKEN.replace('"token", token)', '"message", token)'),
        fails("event_names"),
    ),
    Mutant(
        "last_blank_line_is_missing",
        "The stream ends with the data of `done`.",
        DONE,
        '    yield event("done", str(len(tokens))).removesuffix("\\n")\n',
        fails(
            "done_closes_the_stream",
            "done_counts_all_tokens",
            "done_follows_the_last_token_at_once",
            "empty_text_is_done_at_once",
            "event_names",
            "every_event_ends_with_a_blank_line",
            "ids_count_from_one",
            "unicode_line_separators_are_data",
        ),
    ),
    Mutant(
        "events_have_a_time",
        "Each event has a field that no browser knows.",
        EVENT,
        '    return f"event: {name}\\ntime: 0\\n{lines}\\n"\n',
        fails("only_known_fields"),
    ),
    Mutant(
        "empty_lines_are_left_out",
        "A data line that would be empty is not sent.",
        LINES,
        LINES.replace('split("\\n"))', 'split("\\n") if line)'),
        fails(
            "poll/same_tokens_as_sse",
            "carriage_return_counts_as_line_feed",
            "data_cannot_forge_an_event",
            "data_joins_to_the_text",
            "line_feed_becomes_data_lines",
            "token_boundaries",
        ),
    ),
    Mutant(
        "data_lines_by_splitlines",
        "Python's idea of a line end splits the data.",
        LINES,
        LINES.replace('data.split("\\n")', '(data + "\\n" * data.endswith("\\n")).splitlines()'),
        fails(
            "poll/same_tokens_as_sse",
            "data_cannot_forge_an_event",
            "data_joins_to_the_text",
            "token_boundaries",
            "unicode_line_separators_are_data",
        ),
    ),
    Mutant(
        "no_space_behind_the_colon",
        "The reader takes the first blank of the data for the optional one.",
        LINES,
        LINES.replace("data: {line}", "data:{line}"),
        fails(
            "poll/same_tokens_as_sse",
            "data_joins_to_the_text",
            "leading_space_survives",
            "token_boundaries",
        ),
    ),
    Mutant(
        "latin_1_where_it_fits",
        "An event without characters beyond U+00FF is sent in Latin-1.",
        CHUNKS,
        CHUNKS.replace("encode()", 'encode("latin-1" if max(chunk) < "\\u0100" else "utf-8")'),
        fails(
            "poll/same_tokens_as_sse",
            "data_cannot_forge_an_event",
            "data_joins_to_the_text",
            "long_text_is_refused",
            "token_boundaries",
            "unicode_line_separators_are_data",
            "wire_is_utf8",
        ),
    ),
    Mutant(
        "done_counts_what_was_sent",
        "After a resume, `done` tells the number of events instead of tokens.",
        DONE,
        DONE.replace("len(tokens)", "len(tokens) - sent"),
        fails("done_counts_all_tokens"),
    ),
    Mutant(
        "done_counts_words",
        "Blanks at the start of the text are not counted.",
        DONE,
        DONE.replace("len(tokens)", 'len("".join(tokens).split())'),
        fails("done_counts_all_tokens"),
    ),
    Mutant(
        "empty_text_ends_without_done",
        "Where there is no token, there is no event at all.",
        DONE,
        "    if tokens:\n    " + DONE,
        fails("empty_text_is_done_at_once"),
    ),
    Mutant(
        "response_stays_open_behind_done",
        "The server leaves the end to the client.",
        STREAMS,
        """    async def endless(message: dict[str, Any]) -> None:
        await (send(message) if message.get("body") else asyncio.sleep(3600))

    await until_disconnect(receive, stream(endless, events))
""",
        fails(
            "done_closes_the_stream",
            "hello/http10_client_gets_no_chunks",
            "hello/requests_leave_no_state",
            "lifecycle/no_traceback_in_the_log",
            "lifecycle/silent_stream_left_is_freed",
            "lifecycle/thirty_aborted_streams_free_everything",
            "security/crlf_in_query_or_header_reaches_no_header",
        ),
    ),
    Mutant(
        "something_follows_done",
        "Behind `done` comes another event.",
        DONE,
        DONE + '    yield "data: bye\\n\\n"\n',
        fails("done_closes_the_stream"),
    ),
    Mutant(
        "last_chunk_is_missing",
        "The server closes a stream without the chunk that ends it.",
        '        if not message.get("more_body", False):\n',
        """        if self.started and not body and self.scope["path"] == "/sse":
            self.ended = True
            self.client.writer.close()
        elif not message.get("more_body", False):
""",
        fails(
            "done_closes_the_stream",
            "hello/requests_leave_no_state",
            "lifecycle/no_traceback_in_the_log",
            "lifecycle/silent_stream_left_is_freed",
            "lifecycle/thirty_aborted_streams_free_everything",
            "security/crlf_in_query_or_header_reaches_no_header",
        ),
        file="server.py",
    ),
]

TIMES = [
    Mutant(
        "first_token_waits",
        "The delay stands before the first token too.",
        WAITS,
        "        if number > 0:\n",
        fails(
            "bad_last_event_id_is_ignored",
            "delay_is_waited",
            "done_follows_the_last_token_at_once",
            "first_event_does_not_wait_for_second",
            "hello_is_quick_beside_20_open_streams",
            "not_compressed_unless_flushed",
            "ping_breaks_silence",
            "ping_is_a_comment_and_harmless",
            "lifecycle/no_traceback_in_the_log",
            "lifecycle/sigterm_with_open_stream_exits",
            "lifecycle/silent_stream_left_is_freed",
            "lifecycle/thirty_aborted_streams_free_everything",
        ),
    ),
    Mutant(
        "done_waits",
        "The delay stands behind each token instead of before it.",
        WAITS + PINGS + TOKEN,
        TOKEN
        + PINGS.replace("            ", "        ", 1).replace(
            "                y", "            y"
        ),
        fails(
            "done_follows_the_last_token_at_once",
            "resume_waits_before_its_first_event",
        ),
    ),
    Mutant(
        "resume_does_not_wait",
        "The first event of a resume comes at once.",
        WAITS,
        "        if number > sent + 1:\n",
        fails(
            "ping_breaks_silence",
            "ping_interval_is_configurable",
            "resume_waits_before_its_first_event",
        ),
    ),
    Mutant(
        "waits_twice_as_long",
        "The delay is waited twice.",
        "pause(delay)",
        "pause(2 * delay)",
        fails(
            "delay_is_waited",
            "ping_is_a_comment_and_harmless",
        ),
    ),
    Mutant(
        "waits_whole_seconds",
        "The fraction of the delay is lost.",
        "pause(delay)",
        "pause(int(delay))",
        fails(
            "default_delay_is_waited",
            "delay_is_waited",
            "each_event_arrives_alone",
            "ping_is_a_comment_and_harmless",
            "resume_waits_before_its_first_event",
        ),
    ),
    Mutant(
        "event_leaves_with_the_next",
        "Each event but the first is held until the next one is due.",
        CHUNKS,
        """    held = b""
    async for chunk in chunks:
        alone = chunk.startswith((":", "id: 1\\n"))
        await send({"type": "http.response.body", "body": held, "more_body": True})
        held = b"" if alone else chunk.encode()
        if alone:
            await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": held, "more_body": True})
""",
        fails("each_event_arrives_alone"),
    ),
    Mutant(
        "stream_is_sent_whole",
        "Every event waits for the last one.",
        STREAMS,
        """    async def whole() -> AsyncIterator[str]:
        yield "".join([chunk async for chunk in events])

    await until_disconnect(receive, stream(send, whole()))
""",
        fails(
            "bad_last_event_id_is_ignored",
            "each_event_arrives_alone",
            "first_event_does_not_wait_for_second",
            "hello_is_quick_beside_20_open_streams",
            "not_compressed_unless_flushed",
            "ping_breaks_silence",
            "ping_interval_is_configurable",
            "lifecycle/no_traceback_in_the_log",
            "lifecycle/sigterm_with_open_stream_exits",
            "lifecycle/silent_stream_left_is_freed",
            "lifecycle/thirty_aborted_streams_free_everything",
        ),
    ),
    Mutant(
        "head_leaves_with_the_first_event",
        "The server sends the head of a response together with the first piece of its body.",
        '            await self.transmit(h11.Response(status_code=message["status"], headers=headers))\n            return\n',
        """            self.head = h11.Response(status_code=message["status"], headers=headers)
            return
        if head := self.__dict__.pop("head", None):
            await self.transmit(head)
""",
        fails(
            "head_leaves_at_once",
        ),
        file="server.py",
    ),
    Mutant(
        "head_waits_for_the_first_event",
        "The head waits until the first event is due, and there is no ping before.",
        START + HEAD + EVENTS + STREAMS,
        HEAD.replace(
            "return await", "await send(response_start(200, STREAM_HEADERS)); return await"
        )
        + EVENTS
        + "    first = await anext(event async for event in events if event[0] != ':')\n"
        + START
        + '    await send({"type": "http.response.body", "body": first.encode(), "more_body": True})\n'
        + STREAMS,
        fails(
            "headers_come_before_first_event_is_due",
            "head_leaves_at_once",
            "ping_breaks_silence",
            "ping_interval_is_configurable",
            "lifecycle/silent_stream_left_is_freed",
        ),
    ),
    Mutant(
        "stream_ends_after_a_minute",
        "A time-out cuts a stream that is still at work.",
        STREAMS,
        "    async with asyncio.timeout(60):\n    " + STREAMS,
        fails("stream_lives_past_65_seconds"),
        options=("--slow",),
    ),
]

SILENCES = [
    Mutant(
        "silence_is_not_broken",
        "There are no pings.",
        WHILE,
        "    while delay > 60:\n",
        fails(
            "ping_breaks_silence",
            "ping_interval_is_configurable",
        ),
    ),
    Mutant(
        "no_ping_before_the_first_event",
        "A resume is silent until its first event.",
        PINGS,
        PINGS.replace("yield ping", "if number > sent + 1:\n                    yield ping"),
        fails(
            "ping_breaks_silence",
            "ping_interval_is_configurable",
        ),
    ),
    Mutant(
        "pings_only_before_the_first_event",
        "A stream is silent between two events.",
        PINGS,
        PINGS.replace("yield ping", "if number == sent + 1:\n                    yield ping"),
        fails(
            "ping_breaks_silence",
        ),
    ),
    Mutant(
        "ping_interval_is_a_constant",
        "PING_INTERVAL is not read.",
        'float(os.environ.get("PING_INTERVAL", "15"))',
        "15.0",
        fails(
            "ping_interval_is_configurable",
            "chat/pings_are_comments",
            "chat/pings_come_before_the_first_token",
            "chat/pings_come_between_tokens",
        ),
    ),
    Mutant(
        "pings_are_events_without_data",
        "A ping has a name, so it is more than a comment.",
        PING + REST,
        '": ping\\nevent: ping\\n\\n"\n' + REST,
        fails("ping_is_a_comment_and_harmless"),
    ),
    Mutant(
        "pings_forget_the_id",
        "A ping makes the browser forget where it was.",
        PING + REST,
        '": ping\\nid\\n\\n"\n' + REST,
        fails("ping_is_a_comment_and_harmless"),
    ),
    Mutant(
        "pings_have_no_line_end",
        "A ping swallows the first line of the next event.",
        PING + REST,
        '": ping"\n' + REST,
        fails(
            "ping_breaks_silence",
            "ping_interval_is_configurable",
        ),
    ),
    Mutant(
        "pings_cost_time",
        "Each ping puts the next token off by half its interval.",
        SLEEP,
        SLEEP.replace("delay -= PING_INTERVAL", "delay -= PING_INTERVAL / 2"),
        fails("ping_is_a_comment_and_harmless"),
    ),
    Mutant(
        "pings_save_time",
        "What is left of the delay after the last ping is not waited.",
        WHILE + SLEEP + YIELD + REST,
        "    if delay <= PING_INTERVAL:\n    "
        + REST.rstrip()
        + "\n"
        + WHILE
        + SLEEP
        + YIELD
        + "\n\n",
        fails(
            "delay_is_waited",
            "ping_is_a_comment_and_harmless",
        ),
    ),
]

CROWDS = [
    Mutant(
        "short_delay_blocks_everybody",
        "A delay that needs no ping stops the whole server.",
        REST,
        REST.replace("await asyncio", '__import__("time")'),
        fails("streams_are_independent"),
    ),
    Mutant(
        "one_stream_at_a_time",
        "A stream waits until those before it have ended.",
        STREAMS,
        '    async with sse.__dict__.setdefault("lock", asyncio.Lock()):\n    ' + STREAMS,
        fails(
            "head_leaves_at_once",
            "hello_is_quick_beside_20_open_streams",
            "ping_breaks_silence",
            "streams_are_independent",
            "lifecycle/silent_stream_left_is_freed",
            "lifecycle/thirty_aborted_streams_free_everything",
        ),
    ),
]

RESUMES = [
    Mutant(
        "resumes_at_the_last_event",
        "The event that the client has seen comes again.",
        NUMBERS,
        "enumerate(tokens[max(sent - 1, 0) :], start=max(sent, 1))",
        fails(
            "last_event_id_resumes_after",
            "resume_waits_before_its_first_event",
            "streams_are_independent",
        ),
    ),
    Mutant(
        "ids_start_again_after_a_resume",
        "The ids of a resume count from 1.",
        TOKEN,
        TOKEN.replace("{number}", "{number - sent}"),
        fails("last_event_id_resumes_after"),
    ),
    Mutant(
        "end_is_not_reached_at_the_end",
        "Who has seen the last token gets `done` again.",
        AT_END,
        AT_END.replace(">=", ">"),
        fails("resume_at_end_is_204"),
    ),
    Mutant(
        "end_is_only_the_last_token",
        "An id past the end gets `done`.",
        AT_END,
        AT_END.replace(">=", "=="),
        fails("resume_at_end_is_204"),
    ),
    Mutant(
        "ids_compared_as_text",
        "9 is past 10.",
        AT_END,
        AT_END.replace("last_event_id >= len(tokens)", "str(last_event_id) >= str(len(tokens))"),
        fails(
            "last_event_id_resumes_after",
            "resume_at_end_is_204",
        ),
    ),
    Mutant(
        "zero_is_no_last_event_id",
        "0 counts as absent, so an empty text is streamed for ever.",
        AT_END,
        AT_END.replace("last_event_id is not None", "last_event_id"),
        fails("resume_at_end_is_204"),
    ),
    Mutant(
        "empty_text_is_at_its_end",
        "An empty text is 204 without Last-Event-ID too.",
        AT_END,
        "    if (last_event_id or 0) >= len(tokens):\n",
        fails(
            "bad_last_event_id_is_ignored",
            "empty_text_is_done_at_once",
        ),
    ),
    Mutant(
        "bad_last_event_id_is_refused",
        "A Last-Event-ID that is no number is past the end.",
        AT_END,
        '    if last_event_id is None and request_headers(scope).get("last-event-id"):\n        return await respond(scope, send, 204)\n'
        + AT_END,
        fails("bad_last_event_id_is_ignored"),
    ),
    Mutant(
        "empty_last_event_id_is_refused",
        "A Last-Event-ID that is there has to be a number.",
        AT_END,
        '    if last_event_id is None and request_headers(scope).get("last-event-id") == "":\n        return await respond(scope, send, 400)\n'
        + AT_END,
        fails("bad_last_event_id_is_ignored"),
    ),
    Mutant(
        "digits_at_the_start_are_enough",
        "What follows the digits of a Last-Event-ID is not looked at.",
        READ_ID,
        'whole_number(re.split("[^0-9]", request_headers(scope).get("last-event-id", ""))[0])',
        fails("bad_last_event_id_is_ignored"),
    ),
    Mutant(
        "negative_ids_count_from_the_end",
        "-1 is an index from the end.",
        READ_ID,
        READ_ID
        + """
    if re.fullmatch("-[1-9]", last := request_headers(scope).get("last-event-id", "")):
        last_event_id = max(len(tokens) + int(last), 0)""",
        fails("bad_last_event_id_is_ignored"),
    ),
]

MUTANTS = [*HEADS, *FORM, *TIMES, *SILENCES, *CROWDS, *RESUMES]
