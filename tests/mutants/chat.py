"""Faults of the chat relay."""

from __future__ import annotations

from tests.mutants import Mutant

ASK = 'await until_disconnect(receive, relay(scope, send, "POST", "/chat/completions", body))'
MESSAGES = "    if not isinstance(messages, list):\n"
TOO_LONG = "    if len(body) > BODY_LIMIT:\n"
KEY = "    if UPSTREAM_API_KEY:\n"
OWN = '    elif authorization := dict(scope["headers"]).get(b"authorization"):\n'
KEPT = 'KEPT_HEADERS = ("content-type", "retry-after", "x-request-id")'
BEGIN = """            if response.is_success and media_type == "text/event-stream":
                await send(response_start(200, STREAM_HEADERS))
"""
STREAM = "                return await stream(send, with_pings(completion_events(response)))\n"
WHOLE = "    await respond(scope, send, response.status_code, response.text, kept)"
LATE = '        return await respond_error(scope, send, 504, "the upstream did not answer in time")'
REFUSED = '        return await respond_error(scope, send, 502, f"the upstream failed: {error}")'
EVENTS = "        async for event in httpx.EventSource(response, max_event_size=EVENT_LIMIT):\n"
UNFINISHED = "    finished = False\n"
HAS_DATA = "            if event.data:  # not a lone id or retry\n"
READ = "                chunk = read_object(event.data)\n"
YIELD = """                yield f"data: {event.data.replace('\\n', ' ')}\\n\\n"\n"""
TOLD = """                if chunk.get("error"):
                    return
"""
CHOICES = '                choices = chunk.get("choices") or ()\n'
FINISHED = '                finished |= any(choice.get("finish_reason") for choice in choices)\n'
SHORT = """        if not finished:
            raise ValueError("it ended too early")
"""
FAILED = (
    """        yield f"data: {error_json(f'the upstream failed: {error}', 502)}\\n\\n"\n"""
)
DONE = """    else:
        yield "data: [DONE]\\n\\n"
"""
PING = """            while not (await asyncio.wait({upcoming}, timeout=PING_INTERVAL))[0]:
                yield ": ping\\n\\n"
"""
LIMITS = "    limits=httpx.Limits(max_connections=None),\n"
TIME_OUT = "    timeout=None,\n"
COOKIES = "    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),\n"
ERROR = '    error = {"message": message, "type": kind, "code": None, "param": None}\n'


def fails(*words: str) -> frozenset[str]:
    return frozenset(f"chat/{word}" for word in words)


def asks(name: str, sentence: str, change: str, *words: str) -> Mutant:
    """Return a mutant that changes `asked`, the object that goes upstream."""
    new = f"asked = json.loads(body)\n    {change}\n    body = json.dumps(asked).encode()\n    {ASK}"
    return Mutant(name, sentence, ASK, new, fails(*words))


def ignores(name: str, sentence: str, ignored: str, *words: str, swallow: bool = False) -> Mutant:
    """Return a mutant that takes no notice of a leaver while `ignored` of `sent`, a count."""
    suppressed = "with __import__('contextlib').suppress(OSError): " if swallow else ""
    new = f"""sent = 0
    async def counting(message: dict[str, Any]) -> None:
        nonlocal sent
        sent += 1
        {suppressed}await send(message)
    async def ignoring() -> dict[str, Any]:
        message = await receive()
        while {ignored}:
            await asyncio.sleep(0.01)
        return message
    await until_disconnect(ignoring, relay(scope, counting, "POST", "/chat/completions", body))"""
    return Mutant(name, sentence, ASK, new, fails(*words))


REQUESTS = [
    asks(
        "drops_unknown_fields",
        "Only fields that the app knows go upstream.",
        'asked = {k: v for k, v in asked.items() if k in ("model", "messages", "stream", "user")}',
        "request_json_arrives_whole",
    ),
    asks(
        "drops_nulls",
        "A field that is null does not go upstream.",
        "asked = {k: v for k, v in asked.items() if v is not None}",
        "request_json_arrives_whole",
    ),
    asks(
        "asks_for_usage",
        "A stream is asked for with its usage.",
        'asked["stream"] and asked.setdefault("stream_options", {"include_usage": True})'
        ' if asked.get("stream") else None',
        "request_json_arrives_whole",
    ),
    asks(
        "says_stream_where_the_client_did_not",
        "`stream` goes upstream as a boolean, also where the client had none.",
        'asked["stream"] = bool(asked.get("stream"))',
        "request_json_arrives_whole",
    ),
    asks(
        "asks_for_a_stream_always",
        "A completion is streamed, whatever the client wants.",
        'asked["stream"] = True',
        "request_json_arrives_whole",
    ),
    Mutant(
        "refuses_an_empty_list",
        "An empty list of messages is refused.",
        MESSAGES,
        "    if not isinstance(messages, list) or not messages:\n",
        fails("request_json_arrives_whole"),
    ),
    Mutant(
        "takes_any_messages",
        "Messages are there, whatever they are.",
        MESSAGES,
        "    if messages is None:\n",
        fails("no_messages_is_400"),
    ),
    Mutant(
        "takes_messages_that_can_be_iterated",
        "A text or an object passes for a list.",
        MESSAGES,
        '    if not hasattr(messages, "__iter__"):\n',
        fails("no_messages_is_400"),
    ),
    Mutant(
        "does_not_look_for_an_object",
        "A list as body makes the handler stumble.",
        "        case dict() as value:\n",
        "        case dict() | list() as value:\n",
        fails("bad_json_is_400"),
    ),
    Mutant(
        "reads_json_up_to_its_end",
        "What stands behind the object is not looked at.",
        "    match json.loads(text):\n",
        "    text = text.decode() if isinstance(text, bytes) else text\n"
        "    match json.JSONDecoder().raw_decode(text)[0]:\n",
        fails("bad_json_is_400"),
    ),
    Mutant(
        "says_422_to_what_is_no_json",
        "A body that is not JSON is 422.",
        'send, 400, f"the body is not JSON: {error}")',
        'send, 422, f"the body is not JSON: {error}")',
        fails("bad_json_is_400"),
    ),
    Mutant(
        "limit_is_one_byte_less",
        "A body of exactly 1 MiB is refused.",
        TOO_LONG,
        "    if len(body) >= BODY_LIMIT:\n",
        fails("body_over_1_mib_is_413"),
    ),
    Mutant(
        "limit_is_a_megabyte",
        "The limit of a body is a million bytes.",
        "BODY_LIMIT = 1024 * 1024",
        "BODY_LIMIT = 1000 * 1000",
        fails("body_over_1_mib_is_413"),
    ),
    Mutant(
        "limit_is_told_by_content_length",
        "A chunked body may be of any size.",
        "    body = await read_body(receive)\n" + TOO_LONG,
        """    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if int(request_headers(scope).get("content-length", 0)) > BODY_LIMIT:
""",
        fails("body_over_1_mib_is_413"),
    ),
    Mutant(
        "limit_counts_characters",
        "The limit of a body counts characters.",
        TOO_LONG,
        '    if len(body.decode(errors="replace")) > BODY_LIMIT:\n',
        fails("body_over_1_mib_is_413"),
    ),
    Mutant(
        "drops_authorization",
        "The client's Authorization stays with the app.",
        OWN,
        "    elif authorization := b'':\n",
        fails("authorization_goes_upstream"),
    ),
    Mutant(
        "drops_authorization_of_models",
        "The client's Authorization goes upstream with a completion only.",
        OWN,
        '    elif body and (authorization := dict(scope["headers"]).get(b"authorization")):\n',
        fails("authorization_goes_upstream"),
    ),
    Mutant(
        "passes_bearers_only",
        "Only a bearer's Authorization goes upstream.",
        OWN,
        '    elif (authorization := dict(scope["headers"]).get(b"authorization", b""))'
        '.startswith(b"Bearer "):\n',
        fails("authorization_goes_upstream"),
    ),
    Mutant(
        "remembers_authorization",
        "The last Authorization is sent for who has none.",
        "        headers[b\"authorization\"] = authorization\n",
        "        upstream.headers[b\"authorization\"] = authorization\n",
        fails("authorization_goes_upstream"),
    ),
    Mutant(
        "key_is_only_a_default",
        "UPSTREAM_API_KEY counts only where the client sends no Authorization.",
        KEY,
        '    if UPSTREAM_API_KEY and b"authorization" not in dict(scope["headers"]):\n',
        fails("upstream_api_key_wins"),
    ),
    Mutant(
        "key_only_replaces",
        "UPSTREAM_API_KEY counts only where the client sends an Authorization.",
        KEY,
        '    if UPSTREAM_API_KEY and b"authorization" in dict(scope["headers"]):\n',
        fails("upstream_api_key_wins"),
    ),
    Mutant(
        "key_not_for_models",
        "UPSTREAM_API_KEY counts for completions only.",
        KEY,
        "    if UPSTREAM_API_KEY and body:\n",
        fails("upstream_api_key_wins"),
    ),
    Mutant(
        "key_without_bearer",
        "UPSTREAM_API_KEY goes upstream without its scheme.",
        'f"Bearer {UPSTREAM_API_KEY}".encode()',
        "UPSTREAM_API_KEY.encode()",
        fails("upstream_api_key_wins"),
    ),
    Mutant(
        "keeps_cookies",
        "A cookie of the upstream is sent with the next client's request.",
        COOKIES,
        "",
        fails("cookies_stay_with_nobody"),
    ),
]

ANSWERS = [
    Mutant(
        "models_are_asked_for_once",
        "The list of models is asked for once and kept.",
        'await until_disconnect(receive, relay(scope, send, "GET", "/models"))',
        """sent = globals().setdefault("MODELS", [])
    async def keeping(message: dict[str, Any]) -> None:
        sent.append(message)
        await send(message)
    for message in list(sent):
        await send(message)
    if not sent:
        await until_disconnect(receive, relay(scope, keeping, "GET", "/models"))""",
        fails("models_are_the_upstreams"),
    ),
    Mutant(
        "success_is_200",
        "A status of success becomes 200.",
        WHOLE,
        WHOLE.replace("response.status_code", "200 if response.is_success else response.status_code"),
        fails("not_streaming_returns_the_upstreams_json"),
    ),
    Mutant(
        "keeps_content_encoding",
        "An answer says it is compressed when it no longer is.",
        KEPT,
        KEPT.replace('"retry', '"content-encoding", "retry'),
        fails("compressed_answers_are_readable"),
    ),
    Mutant(
        "refusals_are_502",
        "What the upstream refuses is a bad gateway.",
        WHOLE,
        WHOLE.replace("response.status_code", "502 if response.is_error else response.status_code"),
        fails("upstream_status_is_kept"),
    ),
    Mutant(
        "unknown_statuses_are_500",
        "A status that is in no registry becomes 500.",
        WHOLE,
        WHOLE.replace("response.status_code", "response.status_code if response.reason_phrase != ''"
                      " and response.status_code in httpx.codes._value2member_map_ else 500"),
        fails("upstream_status_is_kept"),
    ),
    Mutant(
        "refusals_are_told_anew",
        "The JSON of a refusal is the app's own.",
        WHOLE,
        "    if response.is_error:\n"
        '        return await respond_error(scope, send, response.status_code, "refused")\n' + WHOLE,
        fails("upstream_status_is_kept", "retry_after_is_kept"),
    ),
    Mutant(
        "asks_again",
        "An upstream that is overloaded is asked again.",
        "            await response.aread()\n",
        "            await response.aread()\n"
        "        if response.status_code == 503:\n"
        "            response = await upstream.request(method, path, content=body)\n",
        fails("upstream_status_is_kept", "retry_after_is_kept"),
    ),
    Mutant(
        "drops_retry_after",
        "Nobody learns when to come back.",
        KEPT,
        KEPT.replace('"retry-after", ', ""),
        fails("retry_after_is_kept"),
    ),
    Mutant(
        "drops_request_id",
        "Nobody learns the upstream's name for the request.",
        KEPT,
        KEPT.replace(', "x-request-id"', ""),
        fails("retry_after_is_kept"),
    ),
    Mutant(
        "refused_is_503",
        "An upstream that is not there is 503.",
        REFUSED,
        REFUSED.replace("502", "503"),
        fails("upstream_refused_is_502"),
    ),
    Mutant(
        "late_is_502",
        "An upstream that is late is 502.",
        LATE,
        LATE.replace("504", "502"),
        fails("late_headers_are_504"),
    ),
    Mutant(
        "gives_up_early",
        "An upstream is given up before its time.",
        "            asyncio.timeout(UPSTREAM_TIMEOUT) as patience,\n",
        "            asyncio.timeout(UPSTREAM_TIMEOUT * 0.9) as patience,\n",
        fails("late_headers_are_504"),
    ),
    Mutant(
        "waits_twice_as_long",
        "An upstream is given up in double the time.",
        "            asyncio.timeout(UPSTREAM_TIMEOUT) as patience,\n",
        "            asyncio.timeout(UPSTREAM_TIMEOUT * 2) as patience,\n",
        fails("late_headers_are_504"),
    ),
    Mutant(
        "errors_are_text",
        "An error of the app's own is text.",
        """    headers = {"content-type": "application/json"}
    await respond(scope, send, status, error_json""",
        """    headers = {"content-type": "text/plain"}
    await respond(scope, send, status, error_json""",
        fails("errors_are_json"),
    ),
    Mutant(
        "errors_have_no_param",
        "An error of the app's own lacks a field.",
        ERROR,
        ERROR.replace(', "param": None', ""),
        fails("errors_are_json"),
    ),
    Mutant(
        "errors_are_details",
        "An error of the app's own has the form that its framework has for errors.",
        '    return json.dumps({"error": error})\n',
        '    return json.dumps({"error": message, "detail": error})\n',
        fails("errors_are_json"),
    ),
]

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
        '                yield "" if event.event == "message" else f"event: {event.event}\\n"\n' + YIELD,
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
        fails("no_lone_retry"),
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
        fails("data_lines_are_joined", "each_event_is_data_and_a_blank_line",
              "split_characters_survive"),
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
        fails(),
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
        fails("split_characters_survive"),
    ),
    Mutant(
        "reads_latin_1",
        "The upstream is read as ISO 8859-1.",
        EVENTS,
        '        response.encoding = "latin-1"\n' + EVENTS,
        fails("each_event_is_data_and_a_blank_line", "split_characters_survive"),
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
        fails("each_event_is_data_and_a_blank_line", "each_event_leaves_as_soon_as_it_comes",
              "ends_with_one_done"),
    ),
    Mutant(
        "drops_unknown_fields_of_chunks",
        "Only fields that the app knows are passed on.",
        YIELD,
        """                known = ("id", "object", "created", "model", "choices", "usage", "error")
                yield f"data: {json.dumps({k: v for k, v in chunk.items() if k in known})}\\n\\n"
""",
        fails("each_event_is_data_and_a_blank_line"),
    ),
    Mutant(
        "holds_the_last_event",
        "The event with the reason leaves with the end.",
        YIELD,
        """                if any(choice.get("finish_reason") for choice in chunk.get("choices", ())):
                    last = event.data
                    continue
""" + YIELD,
        fails("each_event_leaves_as_soon_as_it_comes"),
    ),
    Mutant(
        "fills_a_buffer",
        "Small events wait until there is a kilobyte, or a ping.",
        """        if (event := upcoming.result()) is None:
            return
        yield event
""",
        """        event = upcoming.result()
        held = locals().get("held", "") + (event or "")
        if event is None or len(held) > 1000 or "[DONE]" in held:
            yield held
            held = ""
        if event is None:
            return
""",
        fails("each_event_leaves_as_soon_as_it_comes"),
    ),
    Mutant(
        "ends_with_the_reason",
        "Nothing is passed on behind a reason.",
        FINISHED,
        FINISHED + "                if finished:\n                    break\n",
        fails("each_event_is_data_and_a_blank_line", "ends_with_one_done"),
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
        '                finished = True\n                break\n',
        '                finished = True\n                yield "data: [DONE]\\n\\n"\n'
        "                break\n",
        fails("ends_with_one_done", "each_event_is_data_and_a_blank_line"),
    ),
    Mutant(
        "only_passes_done",
        "Where the upstream sends no mark, there is none.",
        DONE,
        DONE.replace('    yield', '    if event.data == "[DONE]":\n            yield'),
        fails("ends_with_one_done"),
    ),
    Mutant(
        "wants_a_reason",
        "The upstream's mark is no end without a reason.",
        '                finished = True\n                break\n',
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
        fails("pings_come_before_the_first_token"),
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
        fails("pings_come_before_the_first_token"),
    ),
    Mutant(
        "pings_before_tokens_only",
        "Silence between two tokens is not broken.",
        PING,
        """            while not (await asyncio.wait({upcoming}, timeout=PING_INTERVAL))[0]:
                if not locals().get("event"):
                    yield ": ping\\n\\n"
""",
        fails("pings_come_between_tokens"),
    ),
    Mutant(
        "pings_are_put_off_by_comments",
        "A comment of the upstream counts as something that the client got.",
        PING,
        """            while not (await asyncio.wait({upcoming}, timeout=PING_INTERVAL))[0]:
                global came
                if not globals().pop("came", False):
                    yield ": ping\\n\\n"
""",
        fails("pings_come_between_tokens"),
    ),
    Mutant(
        "pings_are_events",
        "A ping has a name and data.",
        PING,
        PING.replace(": ping", "event: ping\\ndata: {}"),
        fails("pings_are_comments"),
    ),
    Mutant(
        "time_out_ends_the_wait",
        "A silence is found by a time-out around the source, which that ends.",
        PING,
        """            yield await asyncio.wait_for(upcoming, PING_INTERVAL) or ""
        except TimeoutError:
            yield ": ping\\n\\n"
            continue
""",
        fails(),
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
        fails("streams_are_independent"),
    ),
    Mutant(
        "ten_connections",
        "The eleventh client waits for another to end.",
        LIMITS,
        "    limits=httpx.Limits(max_connections=10),\n",
        fails("streams_are_independent", "a_thousand_leavers_leave_nothing"),
    ),
    Mutant(
        "closes_the_client_they_share",
        "The end of one stream ends the others.",
        DONE,
        DONE + "        await upstream._transport.aclose()\n",
        fails("streams_are_independent"),
    ),
]

FAILURES = [
    Mutant(
        "swallows_errors",
        "An error that the upstream tells ends the stream without a word.",
        YIELD + TOLD,
        TOLD + YIELD,
        fails("error_frame_is_passed_on"),
    ),
    Mutant(
        "goes_on_after_an_error",
        "An error that the upstream tells is an event like any other.",
        TOLD,
        "",
        fails("error_frame_is_passed_on", "error_ends_without_done"),
    ),
    Mutant(
        "tells_errors_anew",
        "An error that the upstream tells is told in the app's words.",
        YIELD + TOLD,
        TOLD.replace("return", 'raise ValueError("it failed")') + YIELD,
        fails("error_frame_is_passed_on"),
    ),
    Mutant(
        "resets_end_in_silence",
        "Where the upstream breaks off, the stream just ends.",
        FAILED,
        "        if not isinstance(error, httpx.HTTPError):\n    " + FAILED,
        fails("reset_is_an_error"),
    ),
    Mutant(
        "resets_look_good",
        "Where the upstream breaks off, the stream is done.",
        FAILED,
        '        is_reset = isinstance(error, httpx.HTTPError)\n        yield "data: [DONE]\\n\\n"'
        f" if is_reset else {FAILED.strip().removeprefix('yield ')}\n",
        fails("reset_is_an_error", "error_ends_without_done"),
    ),
    Mutant(
        "says_done_behind_an_error",
        "The mark follows the error.",
        FAILED,
        FAILED + '        yield "data: [DONE]\\n\\n"\n',
        fails("error_ends_without_done"),
    ),
    Mutant(
        "any_end_is_good",
        "An end in good order is success.",
        SHORT,
        "",
        fails("short_end_is_an_error", "error_ends_without_done"),
    ),
    Mutant(
        "any_token_is_enough",
        "A stream that held a token has finished.",
        FINISHED,
        "                finished = True\n",
        fails("short_end_is_an_error", "error_ends_without_done"),
    ),
    Mutant(
        "null_is_a_reason",
        "A reason that is null counts.",
        FINISHED,
        FINISHED.replace('choice.get("finish_reason")', '"finish_reason" in choice'),
        fails("short_end_is_an_error", "error_ends_without_done"),
    ),
    Mutant(
        "searches_for_a_reason",
        "A reason is searched for in the text of the event.",
        FINISHED,
        "                finished |= bool("
        "re.search(r'finish_reason\\W+(?!null)\\w', event.data))\n",
        fails("short_end_is_an_error", "error_ends_without_done"),
    ),
    Mutant(
        "searches_for_the_mark",
        "The mark is searched for in the text of the event.",
        FINISHED,
        FINISHED + '                finished |= "[DONE]" in event.data\n',
        fails("short_end_is_an_error", "error_ends_without_done"),
    ),
    Mutant(
        "passes_half_an_event",
        "What came of an event before the upstream broke off is passed on.",
        EVENTS,
        """        text = ""
        async def halves() -> AsyncIterator[str]:
            with __import__("contextlib").suppress(httpx.HTTPError):
                async for part in response.aiter_bytes():
                    yield part.decode(errors="replace")
            yield '"}}]}\\n\\n'
""" + EVENTS,
        fails(),
    ),
]

LEAVERS = [
    Mutant(
        "nobody_leaves",
        "That a client has left is not looked for.",
        ASK,
        'await relay(scope, send, "POST", "/chat/completions", body)',
        fails(),
    ),
    ignores("asks_on_before_headers", "Who leaves before the headers is not noticed.", "sent == 0"),
    ignores("asks_on_before_tokens", "Who leaves before a token is not noticed.", "sent == 1"),
    ignores("listens_on_in_silence", "Who leaves a silent model is not noticed.", "sent > 1"),
    ignores(
        "talks_on",
        "Tokens for who has left are dropped one by one.",
        "sent > 1",
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
        PING,
        """            queue: asyncio.Queue[str | None] = asyncio.Queue()
            async def fill() -> None:
                while (event := await upcoming if upcoming else None):
                    await queue.put(event)
""",
        fails("a_client_that_stops_reading_stalls_the_upstream"),
    ),
    Mutant(
        "keeps_64_kib_of_each",
        "Each request leaves 64 KiB of memory.",
        UNFINISHED,
        UNFINISHED + '    globals().setdefault("kept", []).append(bytes(65536) + b".")\n',
        fails("a_thousand_leavers_leave_nothing"),
    ),
    Mutant(
        "keeps_a_descriptor_of_some",
        "One request of 200 leaves a descriptor.",
        UNFINISHED,
        UNFINISHED + '    globals().setdefault("kept", []).append(response)\n'
        "    if len(kept) % 200 == 0:\n        kept.append(open(os.devnull))\n",
        fails("a_thousand_leavers_leave_nothing"),
    ),
]

MUTANTS = [*REQUESTS, *ANSWERS, *STREAMS, *FAILURES, *LEAVERS]
