"""What is right at first, or in what is short, and wrong later on."""

from __future__ import annotations

from tests.mutants import Mutant
from tests.mutants.poll import AFTER
from tests.mutants.sse import DONE, PINGS, TOKEN, WHILE

LATER = [
    Mutant(
        "one_ping_a_silence",
        "A silence is broken once, however long it lasts.",
        WHILE,
        "    if delay > PING_INTERVAL:\n",
        frozenset({"sse/ping_breaks_silence", "sse/ping_interval_is_configurable"}),
    ),
    Mutant(
        "pings_in_the_first_silence_only",
        "Behind the first silence of a stream no other is broken.",
        PINGS,
        PINGS.replace(
            "yield ping", "if number <= max(sent + 1, 2):\n                    yield ping"
        ),
        frozenset({"sse/later_silences_have_pings"}),
    ),
    Mutant(
        "no_id_where_a_token_has_lines",
        "A token of several lines has no id.",
        TOKEN,
        TOKEN.replace(' + event("', ' * ("\\n" not in token) + event("'),
        frozenset({"sse/ids_count_from_one"}),
    ),
    Mutant(
        "done_counts_to_a_hundred",
        "`done` tells of a hundred tokens at most.",
        DONE,
        DONE.replace("len(tokens)", "min(len(tokens), 100)"),
        frozenset({"sse/done_counts_all_tokens"}),
    ),
    Mutant(
        "polls_end_at_256_tokens",
        "A text has 256 tokens at most, if it is polled.",
        AFTER,
        "    tokens = tokens[:256]\n" + AFTER,
        frozenset({"poll/done_marks_the_last"}),
    ),
]

MUTANTS = LATER
