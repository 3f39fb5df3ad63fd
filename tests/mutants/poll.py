"""Faults of the long poll, and of the tokens and the query that it shares with the stream."""

from __future__ import annotations

from tests.mutants import Mutant

CRLF = r'    text = text.replace("\r\n", "\n").replace("\r", "\n")' + "\n"
CUT = r'    return re.findall(r"[^ \t\n]+[ \t\n]*|[ \t\n]+", text)'
DEFAULT = 'DEFAULT_TEXT = "Hello from ASGI, one token at a time."'
TEXT = '    text = query.get("text", DEFAULT_TEXT)\n'
DELAY = '    delay = float(query.get("delay", "0.05"))\n'
LONG = "    if len(text) > 1000:\n"
RANGE = "    if not 0 <= delay <= 60:"
WHOLE = '    return int(value) if re.fullmatch("[0-9]{1,4000}", value) else None'
QUERY = 'parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)'

METHODS = """async def poll(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
        return await respond(scope, send, 405, headers=READ_ONLY)
"""
AFTER = '    after = whole_number(query.get("after", "0"))\n'
BAD_AFTER = "    if after is None:\n"
END = """    if after >= len(tokens):
        return await respond(scope, send, 204, headers={"cache-control": "no-store"})
"""
WAIT = """    if after > 0:
        await until_disconnect(receive, asyncio.sleep(delay))
"""
ANSWER = (
    '    answer = {"id": after + 1, "token": tokens[after], "done": after + 1 == len(tokens)}\n'
)
HEADERS = '    headers = {"content-type": "application/json", "cache-control": "no-store"}\n'
JSON = "json.dumps(answer)"


def fails(*words: str) -> frozenset[str]:
    return frozenset(word if "/" in word else f"poll/{word}" for word in words)


def both(*words: str) -> frozenset[str]:
    return fails(*words) | fails(*(f"sse/{word}" for word in words))


def text_limit(name: str, sentence: str, condition: str) -> Mutant:
    """Return a mutant that refuses a text by `condition`."""
    return Mutant(name, sentence, LONG, f"    if {condition}:\n", both("long_text_is_refused"))


def delay_limit(name: str, sentence: str, condition: str) -> Mutant:
    """Return a mutant that refuses a delay by `condition`."""
    return Mutant(name, sentence, RANGE, f"    if {condition}:", both("bad_delay_is_refused"))


def answers(name: str, sentence: str, old: str, new: str, *words: str) -> Mutant:
    """Return a mutant whose answer has `new` where it has `old`."""
    assert ANSWER.count(old) == 1, name
    return Mutant(name, sentence, ANSWER, ANSWER.replace(old, new), fails(*words))


TOKENS = [
    Mutant(
        "blanks_are_what_python_strips",
        "Every white space of Unicode ends a token.",
        CUT,
        r'    return re.findall(r"\S+\s*|\s+", text)',
        fails("sse/token_boundaries"),
    ),
    Mutant(
        "blanks_are_those_of_ascii",
        "Vertical tab and form feed end a token.",
        CUT,
        CUT.replace(r"\n]", r"\n\v\f]"),
        fails("sse/token_boundaries"),
    ),
    Mutant(
        "tab_is_no_blank",
        "A tab is a character like any other.",
        CUT,
        CUT.replace(r"\t", ""),
        fails(
            "sse/token_boundaries",
        ),
    ),
    Mutant(
        "one_blank_ends_a_token",
        "Further blanks are a token of their own.",
        CUT,
        CUT.replace("]*|", "]?|"),
        fails(
            "done_marks_the_last",
            "sse/carriage_return_counts_as_line_feed",
            "sse/line_feed_becomes_data_lines",
            "sse/token_boundaries",
        ),
    ),
    Mutant(
        "blanks_at_the_start_join_the_first_word",
        "Blanks at the start of the text are no token.",
        CUT,
        CUT.replace('r"[^', 'r"(?:^[ \\t\\n]+)?[^'),
        fails(
            "sse/carriage_return_counts_as_line_feed",
            "sse/done_counts_all_tokens",
            "sse/ids_count_from_one",
            "sse/line_feed_becomes_data_lines",
            "sse/token_boundaries",
        ),
    ),
    Mutant(
        "blanks_at_the_end_are_dropped",
        "The text is trimmed behind its last word.",
        CUT,
        CUT.replace(", text)", ", text.rstrip(' \\t\\n'))"),
        fails(
            "walking_it_gives_the_text",
            "sse/carriage_return_counts_as_line_feed",
            "sse/data_cannot_forge_an_event",
            "sse/data_joins_to_the_text",
            "sse/long_text_is_refused",
            "sse/token_boundaries",
        ),
    ),
    Mutant(
        "carriage_return_is_kept",
        "A CR alone is no line feed.",
        CRLF,
        r'    text = text.replace("\r\n", "\n")' + "\n",
        fails(
            "same_tokens_as_sse",
            "walking_it_gives_the_text",
            "sse/carriage_return_counts_as_line_feed",
            "sse/data_cannot_forge_an_event",
            "sse/data_joins_to_the_text",
        ),
    ),
    Mutant(
        "crlf_is_two_line_feeds",
        "CR and LF of a CRLF count one by one.",
        CRLF,
        r'    text = text.replace("\r", "\n")' + "\n",
        fails(
            "walking_it_gives_the_text",
            "sse/carriage_return_counts_as_line_feed",
            "sse/data_cannot_forge_an_event",
            "sse/data_joins_to_the_text",
        ),
    ),
    Mutant(
        "line_separator_is_a_line_feed",
        "U+2028 is taken for a line end of the text.",
        CRLF,
        CRLF + r'    text = text.replace("\u2028", "\n")' + "\n",
        fails(
            "json_is_utf8",
            "walking_it_gives_the_text",
            "sse/data_cannot_forge_an_event",
            "sse/data_joins_to_the_text",
            "sse/token_boundaries",
            "sse/unicode_line_separators_are_data",
        ),
    ),
    Mutant(
        "text_is_composed",
        "The text is normalised to NFC.",
        CRLF,
        CRLF + '    text = __import__("unicodedata").normalize("NFC", text)\n',
        fails(
            "long_text_is_refused",
            "walking_it_gives_the_text",
            "sse/data_joins_to_the_text",
            "sse/long_text_is_refused",
            "sse/wire_is_utf8",
        ),
    ),
    Mutant(
        "byte_order_mark_is_dropped",
        "U+FEFF at the start of the text is taken for a byte order mark.",
        CRLF,
        CRLF + r'    text = text.removeprefix("\ufeff")' + "\n",
        fails(
            "json_is_utf8",
            "walking_it_gives_the_text",
            "sse/data_joins_to_the_text",
            "sse/wire_is_utf8",
        ),
    ),
]

QUERIES = [
    Mutant(
        "default_text_without_full_stop",
        "The default text lacks its last character.",
        DEFAULT,
        DEFAULT.replace(".", ""),
        both("default_text"),
    ),
    Mutant(
        "empty_text_is_the_default",
        "A text that is there but empty counts as absent.",
        TEXT,
        '    text = query.get("text") or DEFAULT_TEXT\n',
        fails(
            "past_the_end_is_204",
            "sse/empty_text_is_done_at_once",
            "sse/resume_at_end_is_204",
        ),
    ),
    Mutant(
        "plus_is_a_plus",
        "The query is percent-decoded, not form-decoded.",
        QUERY,
        QUERY.replace(", keep", '.replace("+", "%2B"), keep'),
        fails(
            "query_is_form_encoded",
            "sse/query_is_form_encoded",
        ),
    ),
    Mutant(
        "query_is_decoded_twice",
        "A percent sign that was escaped starts an escape.",
        TEXT,
        TEXT
        + '    text = dict(parse_qsl("text=" + text, keep_blank_values=True)).get("text", text)\n',
        fails(
            "query_is_form_encoded",
            "walking_it_gives_the_text",
            "sse/data_joins_to_the_text",
            "sse/query_is_form_encoded",
        ),
    ),
    Mutant(
        "empty_parameters_are_dropped",
        "A parameter without a value counts as absent.",
        QUERY,
        QUERY.replace(", keep_blank_values=True", ""),
        fails(
            "bad_after_is_refused",
            "bad_delay_is_refused",
            "past_the_end_is_204",
            "sse/bad_delay_is_refused",
            "sse/empty_text_is_done_at_once",
            "sse/resume_at_end_is_204",
        ),
    ),
    Mutant(
        "invalid_utf8_raises",
        "An octet in the query that is not UTF-8 makes the app fail.",
        QUERY,
        QUERY.replace("=True", '=True, errors="strict"'),
        fails(
            "odd_queries_never_5xx",
        ),
    ),
    Mutant(
        "superscripts_are_digits",
        "A character that is a digit, but not for `int`, makes the app fail.",
        WHOLE,
        "    return int(value) if value.isdigit() else None",
        fails(
            "odd_queries_never_5xx",
            "sse/odd_queries_never_5xx",
        ),
    ),
    Mutant(
        "huge_numbers_raise",
        "A number of 5,000 digits makes the app fail.",
        WHOLE,
        WHOLE.replace("{1,4000}", "+"),
        fails(
            "odd_queries_never_5xx",
            "sse/odd_queries_never_5xx",
        ),
    ),
    text_limit("text_of_1000_is_too_long", "1,000 characters are refused.", "len(text) >= 1000"),
    text_limit("text_of_1001_is_fine", "1,001 characters are not refused.", "len(text) > 1001"),
    text_limit("limit_counts_octets", "Octets are counted.", "len(text.encode()) > 1000"),
    text_limit(
        "limit_counts_utf_16",
        "A character beyond U+FFFF counts as two.",
        'len(text.encode("utf-16-le")) > 2000',
    ),
    text_limit(
        "limit_counts_what_is_seen",
        "A letter and its accent count as one.",
        """len(__import__("unicodedata").normalize("NFC", text)) > 1000""",
    ),
    text_limit(
        "limit_ignores_blanks", "Blanks at the ends do not count.", "len(text.strip()) > 1000"
    ),
    Mutant(
        "long_text_is_cut",
        "A text that is too long loses its end.",
        LONG,
        "    text = text[:1000]\n" + LONG,
        both("long_text_is_refused"),
    ),
    delay_limit("delay_of_60_is_too_long", "60 s are refused.", "not 0 <= delay < 60"),
    delay_limit("delay_is_judged_whole", "60.5 s count as 60.", "not 0 <= delay < 61"),
    delay_limit(
        "delay_is_judged_rounded", "60.001 s count as 60.", "not 0 <= round(delay, 2) <= 60"
    ),
    delay_limit(
        "delay_may_be_nan", "NaN is below no limit and above none.", "delay < 0 or delay > 60"
    ),
    Mutant(
        "empty_delay_is_the_default",
        "A delay that is there but empty counts as absent.",
        DELAY,
        '    delay = float(query.get("delay") or "0.05")\n',
        both("bad_delay_is_refused"),
    ),
    Mutant(
        "delay_may_have_a_unit",
        "What follows the number is not looked at.",
        DELAY,
        '    delay = float(re.sub("(?<=[0-9])[a-z]+$", "", query.get("delay", "0.05")))\n',
        both("bad_delay_is_refused"),
    ),
    Mutant(
        "delay_of_an_empty_text_is_not_judged",
        "A text without tokens needs no delay, so a bad one is not noticed.",
        DELAY,
        '    delay = float(query.get("delay", "0.05")) if text else 0.0\n',
        both("bad_delay_is_refused"),
    ),
    Mutant(
        "default_delay_is_half_a_second",
        "Without a delay, ten times the right one is waited.",
        DELAY,
        DELAY.replace("0.05", "0.5"),
        both("default_delay_is_waited"),
    ),
    Mutant(
        "default_delay_is_none",
        "Without a delay, nothing is waited for.",
        DELAY,
        DELAY.replace("0.05", "0"),
        both("default_delay_is_waited"),
    ),
]

ANSWERS = [
    Mutant(
        "poll_forbids_post",
        "POST is 403, as from a filter that looks for a token.",
        METHODS,
        METHODS.replace("405, headers=READ_ONLY", "403"),
        fails("post_is_405"),
    ),
    Mutant(
        "answer_is_plain_text",
        "The JSON is `text/plain`.",
        HEADERS,
        HEADERS.replace("application/json", "text/plain; charset=utf-8"),
        fails("content_type_is_json"),
    ),
    Mutant(
        "first_answer_may_be_cached",
        "A cache keeps the answer that waits for nothing.",
        HEADERS,
        HEADERS.replace('"no-store"', '"no-store" if after else "max-age=60"'),
        fails("cache_control_is_no_cache_or_no_store"),
    ),
    Mutant(
        "json_escapes_half_a_pair",
        "A character beyond U+FFFF loses the second half of its escape.",
        JSON,
        f're.sub(r"(?<=ud83d).u[0-9a-f]+", "", {JSON})',
        fails(
            "json_is_utf8",
            "long_text_is_refused",
            "same_tokens_as_sse",
            "walking_it_gives_the_text",
        ),
    ),
    answers(
        "answer_counts_the_tokens",
        "The answer has a fourth member.",
        "}",
        ', "count": len(tokens)}',
        "answer_is_id_token_and_done",
    ),
    answers(
        "done_is_a_number",
        "`done` is 0 or 1.",
        "after + 1 == len(tokens)",
        "int(after + 1 == len(tokens))",
        "answer_is_id_token_and_done",
    ),
    answers(
        "id_is_what_was_asked",
        "The id is `after`, not that of the token.",
        '"id": after + 1',
        '"id": after',
        "after_defaults_to_0",
        "answer_is_id_token_and_done",
        "first_token_does_not_wait",
        "ids_count_from_one",
        "waits_for_the_delay",
    ),
    answers(
        "token_at_after",
        "The token that the client has seen comes again.",
        "tokens[after]",
        "tokens[max(after - 1, 0)]",
        "answer_is_id_token_and_done",
        "default_text",
        "ids_count_from_one",
        "pollers_wait_side_by_side",
        "same_tokens_as_sse",
        "walking_it_gives_the_text",
        "lifecycle/sigterm_finishes_request_in_flight",
    ),
    answers(
        "done_comes_with_the_last_but_one",
        "`done` is true one token early, if there are several.",
        "after + 1 == len(tokens)",
        "after + 2 >= len(tokens)",
        "answer_is_id_token_and_done",
        "done_marks_the_last",
    ),
    answers(
        "done_counts_the_blanks",
        "`done` compares with the number of blanks.",
        "after + 1 == len(tokens)",
        'after == "".join(tokens).count(" ")',
        "done_marks_the_last",
    ),
    answers(
        "token_is_trimmed",
        "The token comes without the blanks behind it.",
        "tokens[after]",
        "tokens[after].rstrip(' ')",
        "answer_is_id_token_and_done",
        "default_text",
        "ids_count_from_one",
        "long_text_is_refused",
        "query_is_form_encoded",
        "same_tokens_as_sse",
        "walking_it_gives_the_text",
    ),
    Mutant(
        "poll_has_its_own_tokens",
        "`/poll` takes every white space of Unicode for a blank.",
        "    tokens = tokenize(text)\n" + AFTER,
        r'    tokens = re.findall(r"\S+\s*|\s+", re.sub("\r\n?", "\n", text))' + "\n" + AFTER,
        fails("same_tokens_as_sse"),
    ),
    Mutant(
        "after_defaults_to_1",
        "Without `after`, the second token comes.",
        AFTER,
        AFTER.replace('"0"', '"1"'),
        fails(
            "after_defaults_to_0",
            "first_token_does_not_wait",
        ),
    ),
    Mutant(
        "poll_past_the_end_is_the_last_token",
        "An `after` past the end gives the last token once more.",
        END,
        END.replace(">=", "==") + "    after = min(after, len(tokens) - 1)\n",
        fails(
            "past_the_end_is_204",
        ),
    ),
    Mutant(
        "poll_past_the_end_is_404",
        "What is not there is 404.",
        END,
        END.replace("204", "404"),
        fails(
            "past_the_end_is_204",
            "same_tokens_as_sse",
            "walking_it_gives_the_text",
        ),
    ),
    Mutant(
        "poll_of_an_empty_text_is_an_empty_token",
        "An empty text has one token, an empty one.",
        END,
        '    tokens = tokens or [""]\n' + END,
        fails("past_the_end_is_204"),
    ),
]

WAITS = [
    Mutant(
        "first_poll_waits",
        "The delay stands before the first token too.",
        WAIT,
        WAIT.replace("after > 0", "after >= 0"),
        fails(
            "bad_delay_is_refused",
            "first_token_does_not_wait",
        ),
    ),
    Mutant(
        "last_poll_does_not_wait",
        "The last token comes at once.",
        WAIT,
        WAIT.replace("after > 0", "0 < after < len(tokens) - 1"),
        fails(
            "waits_for_the_delay",
        ),
    ),
    Mutant(
        "poll_waits_twice_as_long",
        "The delay is waited twice.",
        WAIT,
        WAIT.replace("sleep(delay)", "sleep(2 * delay)"),
        fails(
            "waits_for_the_delay",
        ),
    ),
    Mutant(
        "one_poller_at_a_time",
        "A poller waits until those before it have been answered.",
        WAIT,
        WAIT.replace(
            "await",
            'async with poll.__dict__.setdefault("lock", asyncio.Lock()):\n            await',
        ),
        fails(
            "pollers_wait_side_by_side",
        ),
    ),
    Mutant(
        "pollers_share_their_text",
        "The last text to come is everybody's.",
        WAIT,
        '    poll.__dict__["tokens"] = tokens\n' + WAIT + '    tokens = poll.__dict__["tokens"]\n',
        fails("pollers_wait_side_by_side"),
    ),
    Mutant(
        "each_poll_leaves_a_thread",
        "A thread watches over each poll for a minute, whoever is left to see it.",
        WAIT,
        WAIT
        + """    threading, time = __import__("threading"), __import__("time")
    if after > 0:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
""",
        fails("poller_who_leaves_frees_the_server"),
    ),
]

AFTERS = [
    Mutant(
        "bad_after_is_0",
        "An `after` that is no number counts as absent.",
        BAD_AFTER,
        "    after = after or 0\n" + BAD_AFTER,
        fails("bad_after_is_refused"),
    ),
    Mutant(
        "empty_after_is_0",
        "An `after` that is there but empty counts as absent.",
        AFTER,
        '    after = whole_number(query.get("after") or "0")\n',
        fails("bad_after_is_refused"),
    ),
    Mutant(
        "negative_after_is_0",
        "What is below 0 counts as 0.",
        AFTER,
        '    after = whole_number(re.sub("^-[0-9]+$", "0", query.get("after", "0")))\n',
        fails("bad_after_is_refused"),
    ),
    Mutant(
        "fraction_of_after_is_lost",
        "1.5 counts as 1.",
        AFTER,
        AFTER.replace('"0")', '"0").partition(".")[0]'),
        fails("bad_after_is_refused"),
    ),
    Mutant(
        "bad_after_is_not_found",
        "An `after` that is no number is 404.",
        BAD_AFTER,
        BAD_AFTER + "        return await respond(scope, send, 404)\n",
        fails("bad_after_is_refused"),
    ),
    Mutant(
        "after_of_an_empty_text_is_not_judged",
        "A text without tokens has an end, so a bad `after` is past it.",
        BAD_AFTER,
        "    if not tokens:\n        after = 0\n" + BAD_AFTER,
        fails("bad_after_is_refused"),
    ),
]

MUTANTS = [*TOKENS, *QUERIES, *ANSWERS, *WAITS, *AFTERS]
