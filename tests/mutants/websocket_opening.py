"""Faults of a server that reads or answers an opening handshake wrongly."""

from __future__ import annotations

from tests.mutants import Mutant

UPGRADE = '"websocket" in map(str.lower, members(request, b"upgrade"))'
CONNECTION = '"upgrade" in map(str.lower, members(request, b"connection"))'
VERSION = '        if values(request, b"sec-websocket-version") != [b"13"]:\n'
OFFER = """\
            offer = ("Sec-WebSocket-Version: 13", "Upgrade: websocket", "Connection: upgrade")
            raise Refusal(426, "not version 13", *offer)
"""
FIELDS = """\
        fields = Headers((k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers)
"""
UNACCEPTABLE = "        if self.response.status_code != 101:\n"
REFUSAL = 'raise Refusal(400, "a key that is not 16 bytes in base64, or malformed fields")'
A_KEY = '"AAAAAAAAAAAAAAAAAAAAAA=="'


def fails(*words: str) -> frozenset[str]:
    return frozenset(f"websocket/{word}" for word in words)


def server(name: str, sentence: str, old: str, new: str, *words: str) -> Mutant:
    return Mutant(name, sentence, old, new, fails(*words), file="server.py")


def takes(name: str, sentence: str, expression: str, *words: str) -> Mutant:
    """Return a mutant that takes `expression` for the `key` that was sent, "" where none was."""
    new = f"""{FIELDS}        key = fields.pop("Sec-WebSocket-Key", "")
        fields["Sec-WebSocket-Key"] = {expression}
"""
    return server(name, sentence, FIELDS, new, *words)


def refuses(name: str, sentence: str, condition: str, *words: str) -> Mutant:
    """Return a mutant that refuses a `version` if the condition holds, and no other."""
    new = f"""        version = b"".join(values(request, b"sec-websocket-version"))
        if {condition}:
{OFFER}{FIELDS}        fields.pop("Sec-WebSocket-Version", None)
        fields["Sec-WebSocket-Version"] = "13"
"""
    return server(name, sentence, VERSION + OFFER + FIELDS, new, *words)


ANSWERS = [
    server(
        "key_of_zeros_is_no_key",
        "A key whose bytes are all zero is refused.",
        UNACCEPTABLE,
        f"""        zeros = fields.get("Sec-WebSocket-Key") == {A_KEY}
        if zeros or self.response.status_code != 101:
""",
        "accept_key_is_right",
    ),
    takes(
        "slashes_in_a_key_are_lost",
        "Slashes in a row are taken for something else, so the digest of such a key is wrong.",
        'key.replace("////", "++++")',
        "accept_key_is_right",
    ),
    server(
        "upgrade_is_case_sensitive",
        "Only `websocket` in lower case is known.",
        UPGRADE,
        '"websocket" in members(request, b"upgrade")',
        "header_tokens_ignore_case",
    ),
    server(
        "connection_is_case_sensitive",
        "Only `Upgrade` with a capital is known.",
        CONNECTION,
        '"Upgrade" in members(request, b"connection")',
        "header_tokens_ignore_case",
    ),
    server(
        "connection_is_no_list",
        "`Upgrade` is known only where it stands alone.",
        CONNECTION,
        '[value.lower() for value in values(request, b"connection")] == [b"upgrade"]',
        "header_tokens_ignore_case",
    ),
    server(
        "connection_is_read_up_to_its_first_comma",
        "`Upgrade` is known only as the first member of a list.",
        CONNECTION,
        'members(request, b"connection")[:1] in (["Upgrade"], ["upgrade"], ["UPGRADE"])',
        "header_tokens_ignore_case",
    ),
]

KEYS = [
    takes(
        "absent_key_is_made_up",
        "A handshake without a key is accepted, one with an empty key is not.",
        f'key if values(request, b"sec-websocket-key") else {A_KEY}',
        "missing_key_is_4xx",
    ),
    takes(
        "empty_key_is_a_key",
        "An empty key is accepted, no key is not.",
        f'{A_KEY} if values(request, b"sec-websocket-key") == [b""] else key',
        "bad_key_is_4xx",
    ),
    takes(
        "key_may_be_longer",
        "A key of more than 16 bytes is accepted.",
        f"key if len(key) <= 24 else {A_KEY}",
        "bad_key_is_4xx",
    ),
    takes(
        "key_may_be_shorter",
        "A key of 15 bytes is accepted.",
        f"{A_KEY} if len(key) == 20 else key",
        "bad_key_is_4xx",
    ),
    takes(
        "key_needs_no_padding",
        "A key in base64 without its padding is accepted.",
        'key + "=" * (-len(key) % 4)',
        "bad_key_is_4xx",
    ),
    takes(
        "key_is_cleaned_of_noise",
        "Characters that are not base64 are dropped from a key.",
        're.sub("[^A-Za-z0-9+/=]", "", key)',
        "bad_key_is_4xx",
    ),
    takes(
        "key_is_16_bytes_as_they_are",
        "A key of 16 characters is accepted, whatever it decodes to.",
        f"{A_KEY} if len(key) == 16 else key",
        "bad_key_is_4xx",
    ),
    server(
        "bad_key_is_500",
        "The server stumbles over a key that is none.",
        REFUSAL,
        REFUSAL.replace("400", "500"),
        *("missing_key_is_4xx", "bad_key_is_4xx"),
    ),
]

VERSIONS = [
    refuses(
        "any_version_will_do",
        "The version is not looked at.",
        "not version",
        *("wrong_version_is_4xx", "wrong_version_names_13"),
    ),
    refuses(
        "any_newer_version_will_do",
        "Every version from 13 on is accepted.",
        "not version.isdigit() or int(version) < 13",
        *("wrong_version_is_4xx", "wrong_version_names_13"),
    ),
    refuses(
        "version_is_compared_by_prefix",
        "A version that begins with 13 is accepted.",
        'not version.startswith(b"13")',
        "wrong_version_is_4xx",
    ),
    refuses(
        "version_is_compared_by_suffix",
        "A version that ends in 13 is accepted.",
        'not version.endswith(b"13")',
        "wrong_version_is_4xx",
    ),
    refuses(
        "version_is_compared_as_a_part",
        "A version that is a part of 13 is accepted.",
        'not version or version not in b"13"',
        "wrong_version_is_4xx",
    ),
    server(
        "wrong_version_is_505",
        "A version of WebSocket is refused as if it were one of HTTP.",
        "raise Refusal(426",
        "raise Refusal(505",
        "wrong_version_is_4xx",
    ),
    server(
        "wrong_version_is_left_in_the_dark",
        "The refusal of a version does not say which one would do.",
        '"Sec-WebSocket-Version: 13", ',
        "",
        "wrong_version_names_13",
    ),
    server(
        "wrong_version_is_told_of_a_draft",
        "The refusal of a version names that of a draft.",
        '"Sec-WebSocket-Version: 13"',
        '"Sec-WebSocket-Version: 8, 7"',
        "wrong_version_names_13",
    ),
]

MUTANTS = [*ANSWERS, *KEYS, *VERSIONS]
