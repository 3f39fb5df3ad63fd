"""Faults of the chat relay in what comes back whole, and where the upstream fails."""

from __future__ import annotations

from tests.mutants import Mutant
from tests.mutants.chat import fails

KEPT = 'KEPT_HEADERS = ("content-type", "retry-after", "x-request-id")'
WHOLE = "    await respond(scope, send, response.status_code, response.text, kept)"
LATE = '        return await respond_error(scope, send, 504, "the upstream did not answer in time")'
REFUSED = '        return await respond_error(scope, send, 502, f"the upstream failed: {error}")'
YIELD = """                yield f"data: {event.data.replace('\\n', ' ')}\\n\\n"\n"""
TOLD = """                if chunk.get("error"):
                    return
"""
FINISHED = '                finished |= any(choice.get("finish_reason") for choice in choices)\n'
SHORT = """        if not finished:
            raise ValueError("it ended too early")
"""
FAILED = """        yield f"data: {error_json(f'the upstream failed: {error}', 502)}\\n\\n"\n"""
DONE = """    else:
        yield "data: [DONE]\\n\\n"
"""
ERROR = '    error = {"message": message, "type": kind, "code": None, "param": None}\n'


ANSWERS = [
    Mutant(
        "asks_for_twenty_models",
        "The list of models is asked for with a limit.",
        'relay(scope, send, "GET", "/models")',
        'relay(scope, send, "GET", "/models?limit=20")',
        fails("models_are_the_upstreams"),
    ),
    Mutant(
        "success_is_200",
        "A status of success becomes 200.",
        WHOLE,
        WHOLE.replace(
            "response.status_code", "200 if response.is_success else response.status_code"
        ),
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
        WHOLE.replace(
            "response.status_code",
            "response.status_code if response.reason_phrase != ''"
            " and response.status_code in httpx.codes._value2member_map_ else 500",
        ),
        fails("upstream_status_is_kept"),
    ),
    Mutant(
        "refusals_are_told_anew",
        "The JSON of a refusal is the app's own.",
        WHOLE,
        "    if response.is_error:\n"
        '        return await respond_error(scope, send, response.status_code, "refused")\n'
        + WHOLE,
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
        "gives_up_late",
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
]

MUTANTS = [*ANSWERS, *FAILURES]
