"""Faults in which paths are served, and in what a client's Accept changes."""

from __future__ import annotations

from tests.mutants import Mutant

NOT_FOUND = '    if scope["path"] not in ROUTES:\n'
GREET = '    await respond(scope, send, 200, "Hello from ASGI (ASGI)!")\n'
STREAM = "    await send(response_start(200, STREAM_HEADERS))\n    if scope"
POLLED = "    await respond(scope, send, 200, json.dumps(answer), headers)\n"
ASK = '    await until_disconnect(receive, relay(scope, send, "POST", "/chat/completions", body))\n'
ACCEPT = '    accept = request_headers(scope).get("accept", "")\n'


def serves(name: str, sentence: str, path: str) -> Mutant:
    """Return a mutant that looks up another path than the one that was asked for."""
    new = f'    if scope["type"] == "http":\n        path = scope["path"]\n        {path}\n'
    new += '        scope = scope | {"path": path}\n' + NOT_FOUND
    return Mutant(name, sentence, NOT_FOUND, new, frozenset({"hello/unknown_path_is_404"}))


PATHS = [
    serves(
        "stream_by_prefix",
        "Whatever lies below a stream is that stream.",
        'path = "/sse" if path.startswith("/sse/") else path',
    ),
    serves(
        "poll_by_prefix",
        "A path is known by how it begins.",
        'path = "/poll" if path.startswith("/poll") else path',
    ),
    serves(
        "poll_by_last_part",
        "A path is known by its last part, as behind a proxy that adds one in front.",
        'path = "/poll" if path.endswith("/poll") else path',
    ),
    serves(
        "format_by_extension",
        "An extension names a format, and is no part of the path.",
        'path = path.partition(".")[0]',
    ),
]


def accepts(name: str, sentence: str, due: str, condition: str, answer: str, case: str) -> Mutant:
    """Return a mutant with another answer where `condition` holds for `accept`."""
    new = f"{ACCEPT}    if {condition}:\n        return await {answer}\n{due}"
    return Mutant(name, sentence, due, new, frozenset({f"{case}/accept_changes_nothing"}))


GREETINGS = [
    accepts(
        "json_greeting",
        "Who accepts JSON is greeted in JSON, as by many a template for services.",
        GREET,
        '"application/json" in accept',
        'respond(scope, send, 200, \'"Hello"\', {"content-type": "application/json"})',
        "hello",
    ),
    accepts(
        "html_greeting",
        "A browser is greeted with the same words as a page.",
        GREET,
        '"text/html" in accept',
        'respond(scope, send, 200, "Hello from ASGI (ASGI)!", {"content-type": "text/html"})',
        "hello",
    ),
    accepts(
        "axios_is_not_acceptable",
        "Accept is read up to its first comma.",
        GREET,
        'accept.partition(",")[0] not in ("", "*/*", "text/plain", "text/html")',
        "respond(scope, send, 406)",
        "hello",
    ),
]

STREAMS = [
    accepts(
        "stream_has_to_be_named",
        "A stream is only for those who accept one by name, as EventSource does.",
        STREAM,
        'accept and "text/event-stream" not in accept',
        "respond(scope, send, 406)",
        "sse",
    ),
    accepts(
        "tokens_at_once_in_json",
        "Who accepts JSON gets the tokens as a list.",
        STREAM,
        '"application/json" in accept',
        "respond(scope, send, 200, json.dumps(tokens))",
        "sse",
    ),
    accepts(
        "page_instead_of_stream",
        "A browser's address bar gets a page about the stream.",
        STREAM,
        '"text/html" in accept',
        'respond(scope, send, 200, "Use EventSource.", {"content-type": "text/html"})',
        "sse",
    ),
]

POLLS = [
    accepts(
        "poll_for_browsers",
        "A browser gets the answer as text to look at.",
        POLLED,
        '"text/html" in accept',
        "respond(scope, send, 200, json.dumps(answer))",
        "poll",
    ),
    accepts(
        "poll_has_to_be_named",
        "Accept is compared whole.",
        POLLED,
        'accept not in ("", "*/*", "application/json")',
        "respond(scope, send, 406)",
        "poll",
    ),
]

CHATS = [
    accepts(
        "completion_streams_for_who_accepts_streams",
        "A completion streams only to those who accept an event stream.",
        ASK,
        'json.loads(body).get("stream") and "application/json" in accept',
        'respond_error(scope, send, 406, "accept text/event-stream")',
        "chat",
    ),
    accepts(
        "browsers_do_not_chat",
        "Who accepts a page is no client of this API.",
        ASK,
        '"text/html" in accept',
        'respond_error(scope, send, 406, "accept application/json")',
        "chat",
    ),
]

MUTANTS = [*PATHS, *GREETINGS, *STREAMS, *POLLS, *CHATS]
