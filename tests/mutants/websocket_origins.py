"""Faults of the Origin check."""

from __future__ import annotations

from tests.mutants import Mutant
from tests.mutants.websocket import fails

LISTED = '{o.strip() for o in os.environ.get("ALLOWED_ORIGINS", "").split(",")} - {""}'
OWN = '    own_origins = {f"http://{host}", f"https://{host}"}\n'
JUDGED = "    return origin is None or origin in own_origins | ALLOWED_ORIGINS"
CHECK = 'origin_is_allowed(headers.get("origin"), headers.get("host"))'

# What lets in everybody, or sends them away wrongly, fails all of these.
FOREIGN = ("foreign_origin_is_403", "null_origin_is_403")
LOOKALIKES = ("lookalike_origin_is_403", "lookalike_of_listed_origin_is_403")


def judges(name: str, sentence: str, expression: str, *words: str) -> Mutant:
    """Return a mutant that accepts any Origin of which `expression` is true."""
    new = f"{JUDGED} or ({expression})"
    return Mutant(name, sentence, JUDGED, new, fails(*words))


MUTANTS = [
    Mutant(
        "every_origin_is_accepted",
        "Origin is not looked at.",
        JUDGED,
        "    return True",
        fails(*FOREIGN, *LOOKALIKES),
    ),
    Mutant(
        "foreign_origin_is_closed_not_refused",
        "A socket from a foreign Origin is opened, then closed with 1008.",
        '        return await send({"type": "websocket.close"})  # closed before accepted: 403',
        """        await send({"type": "websocket.accept"})
        return await send({"type": "websocket.close", "code": 1008})""",
        fails(*FOREIGN, *LOOKALIKES),
    ),
    Mutant(
        "foreign_origin_is_401",
        "A foreign Origin is asked to authenticate itself.",
        "Refusal(403, ",
        "Refusal(401, ",
        fails(*FOREIGN, *LOOKALIKES),
        file="server.py",
    ),
    judges(
        "own_port_is_enough",
        "Any host on the port of the Host field is the app's own.",
        'origin.rpartition(":")[2] == str(host).rpartition(":")[2] != host',
        *("foreign_origin_is_403", "lookalike_origin_is_403"),
    ),
    judges(
        "null_origin_is_accepted",
        "`null` is taken for a client without Origin.",
        'origin == "null"',
        "null_origin_is_403",
    ),
    judges(
        "scheme_of_own_origin_is_left_out",
        "What follows the last two slashes is compared with Host.",
        'origin.rpartition("//")[2] == host',
        "lookalike_origin_is_403",
    ),
    judges(
        "own_origin_is_a_prefix",
        "What begins with the own Origin is the own Origin.",
        "origin.startswith(tuple(own_origins))",
        "lookalike_origin_is_403",
    ),
    judges(
        "own_host_is_a_suffix",
        "What ends with Host is the own Origin.",
        "origin.endswith(str(host))",
        "lookalike_origin_is_403",
    ),
    judges(
        "subdomains_are_own",
        "A host below the app's own is its own.",
        'origin.endswith(f".{host}")',
        "lookalike_origin_is_403",
    ),
    judges(
        "own_port_is_not_compared",
        "The app's host on any port is its own.",
        're.sub(r":\\d+$", "", origin.partition("//")[2]) == re.sub(r":\\d+$", "", str(host))',
        "lookalike_origin_is_403",
    ),
    judges(
        "user_is_taken_for_the_host",
        "What stands before an @ is taken for the host.",
        'origin.partition("//")[2].partition("@")[0] == host',
        "lookalike_origin_is_403",
    ),
    judges(
        "host_is_a_pattern",
        "The dots of Host match any character.",
        'str(host)[0] != "[" and re.fullmatch(f"https?://{host}", origin) is not None',
        "lookalike_origin_is_403",
    ),
    judges(
        "localhost_is_always_own",
        "Pages of localhost are accepted on every port, for development.",
        're.match("https?://localhost(:|$)", origin) is not None',
        "lookalike_origin_is_403",
    ),
    Mutant(
        "own_origin_is_http_only",
        "Behind a proxy that ends TLS the app takes its own Origin for a foreign one.",
        OWN,
        '    own_origins = {f"http://{host}"}\n',
        fails("own_origin_is_accepted"),
    ),
    Mutant(
        "own_origin_is_where_it_listens",
        "Origin is compared with the server's address instead of the Host field.",
        CHECK,
        'origin_is_allowed(headers.get("origin"), "%s:%s" % scope["server"])',
        fails("own_origin_is_accepted"),
    ),
    Mutant(
        "host_is_split_at_its_first_colon",
        "The brackets of an IPv6 address are not understood.",
        OWN,
        """    name, _, port = str(host).partition(":")
    host = f"{name}:{port}" if port.isdigit() else name
    own_origins = {f"http://{host}", f"https://{host}"}
""",
        fails("own_origin_is_accepted"),
    ),
    Mutant(
        "referer_stands_in_for_origin",
        "Without Origin the Referer is judged.",
        CHECK,
        'origin_is_allowed(headers.get("origin", headers.get("referer")), headers.get("host"))',
        fails("absent_origin_is_accepted"),
    ),
    Mutant(
        "blanks_around_commas_count",
        "The items of ALLOWED_ORIGINS keep their blanks.",
        LISTED,
        'set(os.environ.get("ALLOWED_ORIGINS", "").split(","))',
        fails("listed_origin_is_accepted"),
    ),
    Mutant(
        "only_the_first_listed_is_read",
        "Of ALLOWED_ORIGINS only the first item counts.",
        LISTED,
        '{os.environ.get("ALLOWED_ORIGINS", "").split(",")[0].strip()} - {""}',
        fails("listed_origin_is_accepted"),
    ),
    judges(
        "listed_as_part_of_the_list",
        "An Origin that occurs anywhere in ALLOWED_ORIGINS is listed.",
        'origin in os.environ.get("ALLOWED_ORIGINS", "")',
        "lookalike_of_listed_origin_is_403",
    ),
    judges(
        "listed_as_a_prefix",
        "What begins with a listed Origin is listed.",
        "origin.startswith(tuple(ALLOWED_ORIGINS))",
        "lookalike_of_listed_origin_is_403",
    ),
    judges(
        "listed_with_its_subdomains",
        "A host below a listed one is listed.",
        'any(origin.endswith("." + o.partition("//")[2]) for o in ALLOWED_ORIGINS)',
        "lookalike_of_listed_origin_is_403",
    ),
    judges(
        "listed_under_any_scheme",
        "The scheme of a listed Origin is not compared.",
        'any(origin.partition("//")[2] == o.partition("//")[2] for o in ALLOWED_ORIGINS)',
        "lookalike_of_listed_origin_is_403",
    ),
    judges(
        "listed_on_any_port",
        "The port of a listed Origin is not compared.",
        r're.sub(r":\d+$", "", origin) in {re.sub(r":\d+$", "", o) for o in ALLOWED_ORIGINS}',
        "lookalike_of_listed_origin_is_403",
    ),
    judges(
        "listed_as_a_pattern",
        "The dots of a listed Origin match any character.",
        "any(re.fullmatch(o, origin) for o in ALLOWED_ORIGINS)",
        "lookalike_of_listed_origin_is_403",
    ),
]
