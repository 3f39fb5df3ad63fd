"""Faults of the chat relay in what goes upstream."""

from __future__ import annotations

from tests.mutants import Mutant

ASK = 'await until_disconnect(receive, relay(scope, send, "POST", "/chat/completions", body))'
TOO_LONG = "    if len(body) > BODY_LIMIT:\n"
MESSAGES = "    if not isinstance(messages, list):\n"
KEY = "    if UPSTREAM_API_KEY:\n"
OWN = '    elif authorization := dict(scope["headers"]).get(b"authorization"):\n'
COOKIES = "    cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),\n"


def fails(*words: str) -> frozenset[str]:
    return frozenset(f"chat/{word}" for word in words)


def asks(name: str, sentence: str, change: str, *words: str) -> Mutant:
    """Return a mutant that changes `asked`, the object that goes upstream."""
    new = (
        f"asked = json.loads(body)\n    {change}\n    body = json.dumps(asked).encode()\n    {ASK}"
    )
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
        'asked.get("stream") and asked.setdefault("stream_options", {"include_usage": True})',
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
        "body_over_1_mib_is_413",
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
        "body_limit_counts_characters",
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
        '        headers[b"authorization"] = authorization\n',
        '        upstream.headers[b"authorization"] = authorization\n',
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

MUTANTS = REQUESTS
