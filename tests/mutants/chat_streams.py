"""Faults of the chat relay in what it makes of a stream."""

from __future__ import annotations

from tests.mutants import Mutant
from tests.mutants.chat import fails
from tests.mutants.chat_answers import DONE, FAILED, FINISHED, YIELD

BEGIN = """            if response.is_success and media_type == "text/event-stream":
                await send(response_start(response.status_code, STREAM_HEADERS))
"""
STREAM = "                return await stream(send, with_pings(completion_events(response)))\n"
EVENTS = "        async for event in httpx.EventSource(response, max_event_size=EVENT_LIMIT):\n"
UNFINISHED = "    finished = False\n"
READ = "                chunk = read_object(event.data)\n"
CHOICES = '                choices = chunk.get("choices") or ()\n'
PING = """            while not (await asyncio.wait({upcoming}, timeout=PING_INTERVAL))[0]:
                yield ": ping\\n\\n"
"""
UPCOMING = """        # Not wait_for(), which would cancel anext() when it is late, and so end the generator.
        upcoming = asyncio.ensure_future(anext(events, None))
        try:
"""
NEXT = """        finally:
            upcoming.cancel()
        if (event := upcoming.result()) is None:
            return
        yield event
"""
LIMITS = "    limits=httpx.Limits(max_connections=None),\n"

TIME_OUT = "    timeout=None,\n"
HAS_DATA = "            if event.data:  # not a lone id or retry\n"

STREAMS = [
    Mutant(
        "adds_ids",
        "Events are numbered.",
        YIELD,
        YIELD.replace('f"data', 'f"id: 1\\ndata'),
        fails("no_ids"),
    ),
    Mutant(
        "passes_ids",
        "The upstream's ids are passed on.",
        YIELD,
        YIELD.replace('f"data', 'f"id: {event.id}\\ndata'),
        fails("no_ids"),
    ),
    Mutant(
        "passes_names",
        "The upstream's names of events are passed on.",
        YIELD,
        '                yield "" if event.event == "message" else f"event: {event.event}\\n"\n'
        + YIELD,
        fails("no_named_events"),
    ),
    Mutant(
        "names_errors",
        "The app's error has a name.",
        FAILED,
        FAILED.replace('f"data', 'f"event: error\\ndata'),
        fails("no_named_events"),
    ),
    Mutant(
        "begins_with_retry",
        "The stream begins with a retry.",
        UNFINISHED,
        UNFINISHED + '    yield "retry: 3000\\n\\n"\n',
        fails("no_lone_retry", "each_event_is_data_and_a_blank_line", "pings_are_comments"),
    ),
    Mutant(
        "passes_empty_data",
        "An event of the upstream without data is passed on as one.",
        HAS_DATA,
        '            if not event.data:\n                yield "data:\\n\\n"\n            else:\n',
        fails("no_empty_data"),
    ),
    Mutant(
        "takes_lines_for_events",
        "Each line of the upstream's is taken by itself.",
        EVENTS,
        """        async for line in response.aiter_lines():
            event = httpx.ServerSentEvent(data="")
            if line.startswith("data:"):
                event = httpx.ServerSentEvent(data=line.removeprefix("data:").strip())
""",
        fails(
            "data_lines_are_joined",
            "each_event_is_data_and_a_blank_line",
            "split_characters_survive",
            "error_frame_is_passed_on",
        ),
    ),
    Mutant(
        "passes_comments",
        "The upstream's comments are passed on.",
        EVENTS,
        """        kept: list[str] = []
        def keep(line: str, decode: Any = httpx._sse._SSEEventDecoder.decode) -> Any:
            kept.extend([line] * line.startswith(":"))
            return decode(decoder, line)
        decoder = httpx._sse._SSEEventDecoder()
        source = httpx._sse._SSEParser()
        source._event_decoder.decode = keep
        async for event in ((e async for t in response.aiter_text() for e in source.decode(t))):
            yield "".join(f"{line}\\n" for line in kept)
            kept.clear()
""",
        fails("upstream_comments_are_dropped"),
    ),
    Mutant(
        "passes_bytes_through",
        "What the upstream sends is what the client gets.",
        STREAM,
        "                return await stream(send, response.aiter_text())\n",
        fails(
            "ends_with_one_done",
            "error_ends_without_done",
            "error_frame_is_passed_on",
            "no_empty_data",
            "no_ids",
            "no_lone_retry",
            "no_named_events",
            "pings_are_comments",
            "pings_come_before_the_first_token",
            "pings_come_between_tokens",
            "reset_is_an_error",
            "short_end_is_an_error",
            "upstream_comments_are_dropped",
        ),
    ),
    Mutant(
        "joins_no_lines",
        "Of several lines of data the last one counts.",
        READ,
        '                event = httpx.ServerSentEvent(data=event.data.split("\\n")[-1])\n' + READ,
        fails("data_lines_are_joined"),
    ),
    Mutant(
        "decodes_chunk_by_chunk",
        "A character that is cut is replaced.",
        EVENTS,
        '        decoded = (c.decode(errors="replace") async for c in response.aiter_bytes())\n'
        "        response.aiter_text = lambda: decoded\n" + EVENTS,
        fails("split_characters_survive", "pings_are_comments"),
    ),
    Mutant(
        "reads_latin_1",
        "The upstream is read as ISO 8859-1.",
        EVENTS,
        '        response.encoding = "latin-1"\n' + EVENTS,
        fails(
            "each_event_is_data_and_a_blank_line",
            "split_characters_survive",
            "pings_are_comments",
            "error_frame_is_passed_on",
        ),
    ),
    Mutant(
        "limits_events_to_half_a_mib",
        "An event of more than 512 KiB is an error.",
        "EVENT_LIMIT = 16 * BODY_LIMIT",
        "EVENT_LIMIT = BODY_LIMIT // 2 - 1",
        fails("split_characters_survive"),
    ),
    Mutant(
        "drops_what_has_no_choice",
        "A chunk without a choice is not passed on.",
        READ,
        READ + '                if chunk.get("choices") == []:\n                    continue\n',
        fails(
            "each_event_is_data_and_a_blank_line",
            "each_event_leaves_as_soon_as_it_comes",
            "ends_with_one_done",
            "error_frame_is_passed_on",
        ),
    ),
    Mutant(
        "drops_unknown_fields_of_chunks",
        "Only fields that the app knows are passed on.",
        YIELD,
        """                known = ("id", "object", "created", "model", "choices", "usage", "error")
                yield f"data: {json.dumps({k: v for k, v in chunk.items() if k in known})}\\n\\n"
""",
        fails(
            "each_event_is_data_and_a_blank_line",
            "data_lines_are_joined",
            "split_characters_survive",
        ),
    ),
    Mutant(
        "floats_have_six_digits",
        "What a chunk tells of probabilities is rounded.",
        YIELD,
        """                chunk = json.loads(event.data, parse_float=lambda digits: round(float(digits), 6))
                yield f"data: {json.dumps(chunk)}\\n\\n"
""",
        fails("each_event_is_data_and_a_blank_line"),
    ),
    Mutant(
        "holds_the_reason",
        "The event with the reason leaves with the next one.",
        EVENTS,
        """        async def reordered() -> AsyncIterator[Any]:
            held = None
            async for event in httpx.EventSource(response, max_event_size=EVENT_LIMIT):
                if held:
                    yield held
                held = event if '"finish_reason": "' in event.data else None
                if not held:
                    yield event
            if held:
                yield held
        async for event in reordered():
""",
        fails("each_event_leaves_as_soon_as_it_comes", "each_event_is_data_and_a_blank_line"),
    ),
    Mutant(
        "ends_with_the_reason",
        "Nothing is passed on behind a reason.",
        FINISHED,
        FINISHED + "                if finished:\n                    break\n",
        fails(
            "each_event_is_data_and_a_blank_line",
            "each_event_leaves_as_soon_as_it_comes",
            "ends_with_one_done",
            "error_frame_is_passed_on",
            "error_ends_without_done",
        ),
    ),
    Mutant(
        "looks_at_the_first_choice",
        "A reason of another choice than the first does not count.",
        CHOICES,
        '                choices = (chunk.get("choices") or ())[:1]\n',
        fails("ends_with_one_done"),
    ),
    Mutant(
        "says_done_twice",
        "The upstream's mark is passed on, and the app's follows.",
        "                finished = True\n                break\n",
        '                finished = True\n                yield "data: [DONE]\\n\\n"\n'
        "                break\n",
        fails("each_event_is_data_and_a_blank_line", "ends_with_one_done", "pings_are_comments"),
    ),
    Mutant(
        "only_passes_done",
        "Where the upstream sends no mark, there is none.",
        DONE,
        DONE.replace("    yield", '    if event.data == "[DONE]":\n            yield'),
        fails("ends_with_one_done"),
    ),
    Mutant(
        "wants_a_reason",
        "The upstream's mark is no end without a reason.",
        "                finished = True\n                break\n",
        "                break\n",
        fails("ends_with_one_done"),
    ),
    Mutant(
        "may_be_cached",
        "A stream of tokens may be kept.",
        BEGIN,
        BEGIN.replace("STREAM_HEADERS", 'STREAM_HEADERS | {"cache-control": "max-age=60"}'),
        fails("headers_are_those_of_sse"),
    ),
    Mutant(
        "allows_any_origin",
        "A page of any origin may read the tokens.",
        BEGIN,
        BEGIN.replace("STREAM_HEADERS", 'STREAM_HEADERS | {"access-control-allow-origin": "*"}'),
        fails("headers_are_those_of_sse"),
    ),
    Mutant(
        "lets_nginx_buffer_tokens",
        "A stream of tokens lacks X-Accel-Buffering.",
        BEGIN,
        BEGIN.replace("STREAM_HEADERS", 'STREAM_HEADERS | {"x-accel-buffering": "yes"}'),
        fails("x_accel_buffering_is_no"),
    ),
    Mutant(
        "begins_with_the_first_event",
        "The head waits for the first event.",
        BEGIN + STREAM,
        """            if response.is_success and media_type == "text/event-stream":
                events = completion_events(response)
                first = await anext(events)
                await send(response_start(200, STREAM_HEADERS))
                await send({"type": "http.response.body", "body": first.encode(), "more_body": True})
                return await stream(send, with_pings(events))
""",
        fails(
            "pings_come_before_the_first_token", "pings_are_comments", "cancel_before_first_token"
        ),
    ),
    Mutant(
        "pings_between_tokens_only",
        "The model is waited for in silence until its first token.",
        STREAM,
        """                events = completion_events(response)
                first = await anext(events)
                await send({"type": "http.response.body", "body": first.encode(), "more_body": True})
                return await stream(send, with_pings(events))
""",
        fails("pings_come_before_the_first_token", "pings_are_comments"),
    ),
    Mutant(
        "pings_before_tokens_only",
        "Silence between two tokens is not broken.",
        PING,
        """            while not (await asyncio.wait({upcoming}, timeout=PING_INTERVAL))[0]:
                if not locals().get("event"):
                    yield ": ping\\n\\n"
""",
        fails("pings_come_between_tokens", "pings_are_comments"),
    ),
    Mutant(
        "pings_are_put_off_by_comments",
        "A comment of the upstream counts as something that the client got.",
        PING,
        """            response = events.ag_frame.f_locals["response"]
            seen = response.num_bytes_downloaded
            while not (await asyncio.wait({upcoming}, timeout=PING_INTERVAL))[0]:
                if seen == response.num_bytes_downloaded:
                    yield ": ping\\n\\n"
                seen = response.num_bytes_downloaded
""",
        fails("pings_come_between_tokens"),
    ),
    Mutant(
        "pings_are_events",
        "A ping has a name and data.",
        PING,
        PING.replace(": ping", "event: ping\\ndata: {}"),
        fails(
            "pings_come_before_the_first_token", "pings_come_between_tokens", "pings_are_comments"
        ),
    ),
    Mutant(
        "time_out_ends_the_source",
        "A silence is found by a time-out around the source, which that ends.",
        UPCOMING + PING + NEXT,
        """        try:
            event = await asyncio.wait_for(anext(events, None), PING_INTERVAL)
        except TimeoutError:
            yield ": ping\\n\\n"
            continue
        if event is None:
            return
        yield event
""",
        fails(
            "pings_come_before_the_first_token", "pings_come_between_tokens", "pings_are_comments"
        ),
    ),
    Mutant(
        "silence_is_a_failure",
        "A model that is silent for longer than UPSTREAM_TIMEOUT is given up in mid-stream.",
        TIME_OUT,
        "    timeout=UPSTREAM_TIMEOUT + 0.5,\n",
        fails("pings_come_before_the_first_token"),
    ),
    Mutant(
        "one_after_the_other",
        "A request waits for the one before it.",
        "            patience.reschedule(None)  # its headers are there\n",
        "            patience.reschedule(None)\n"
        '            await globals().setdefault("turn", asyncio.Lock()).acquire()\n'
        "            asyncio.current_task().add_done_callback(lambda _: turn.release())\n",
        fails("streams_are_independent", "a_thousand_leavers_leave_nothing"),
    ),
    Mutant(
        "nineteen_connections",
        "The twentieth client waits for another to end.",
        LIMITS,
        "    limits=httpx.Limits(max_connections=19),\n",
        fails("streams_are_independent"),
    ),
    Mutant(
        "closes_the_client_they_share",
        "The end of one stream ends the others.",
        DONE,
        DONE + "        await upstream._transport.aclose()\n",
        fails("streams_are_independent"),
    ),
]

MUTANTS = STREAMS
