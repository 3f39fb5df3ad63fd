"""`GET /poll`: the same tokens, one a request."""

from __future__ import annotations

import json
import re
import select
import time
from contextlib import ExitStack
from email.message import Message
from itertools import pairwise

import httpx2 as httpx
import pytest
from hypothesis import example, given, settings

from census import Census
from conformance.event_stream import read, tokens
from conformance.remains import at_rest
from conformance.tokens import (
    BAD_DELAYS,
    FITTING_TEXTS,
    GOOD_DELAYS,
    LONG_TEXTS,
    ODD_QUERIES,
    TEXTS,
    TRAPS,
    default_text,
    normalize,
    target,
    tokenize,
)
from conformance.wire import (
    PATIENCE,
    TAKES_ALL,
    Address,
    Connection,
    Reader,
    WireError,
    exchange,
    request,
    tail,
)
from stacks import Running, Stack

BAD_AFTERS = ("abc", "", "-1", "-2", "1.5", "1x", "x1", "1 2", "1,2", "NaN", "Infinity", "null")
# Spellings that the contract leaves open.
ODD_AFTERS = (
    *("%2B1", "01", "1.0", "1e0", "0x1", "1_0", "-0", "%C2%B2", "%D9%A3", "%201", "9" * 5000),
    *("%FF", "%00", "1&after=2", "1&after=abc"),
)
ELEVEN = "a b c d e f g h i j k"
# What a busy machine may be late; less than a second delay would add.
LATE = 1.4

type Answer = dict[str, object]


def ask(http: httpx.Client, *, after: object = 0, **query: object) -> httpx.Response:
    return http.get(target("/poll", after=after, **query))


def answer(status: int, body: bytes) -> Answer:
    """Return the JSON object of an answer; raise WireError where it is none."""
    if status != 200:
        raise WireError(f"a poll gave {status} {tail(body)}, wanted 200")
    try:
        found = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError(f"the body is {tail(body)}, wanted JSON in UTF-8 ({error})") from None
    if not isinstance(found, dict):
        raise WireError(f"the body is {tail(body)}, wanted a JSON object")
    return found


def polled(http: httpx.Client, *, after: object = 0, **query: object) -> Answer:
    response = ask(http, after=after, **query)
    return answer(response.status_code, response.content)


def walk(http: httpx.Client, text: str) -> list[object]:
    """Return the tokens of a text, polled one after the other until 204."""
    found: list[object] = []
    for after in range(len(text) + 2):
        response = ask(http, text=text, after=after, delay=0)
        if response.status_code == 204:
            return found
        found.append(answer(response.status_code, response.content).get("token"))
    raise WireError(f"{text!r} gave {found} and no 204 behind them")


@pytest.mark.case("P1", "RFC 8259 11")
def test_content_type_is_json(http: httpx.Client) -> None:
    """An answer is `application/json`."""
    message = Message()
    message["content-type"] = ask(http, text="a").headers.get("content-type", "none")

    seen = message.get_content_type()
    assert seen == "application/json", (
        f"Content-Type is {message['content-type']!r}, wanted 'application/json'"
    )


@pytest.mark.case("P1", "RFC 9110 12.5.1")
def test_accept_changes_nothing(http: httpx.Client) -> None:
    """Who does not ask for JSON by name gets the same answer."""
    answers = {}
    for accept in ("application/json", *TAKES_ALL):
        response = http.get(target("/poll", text="a", after=0), headers={"Accept": accept})
        answers[accept] = (
            response.headers.get("content-type"),
            answer(response.status_code, response.content),
        )

    wanted = answers["application/json"]
    for accept, seen in answers.items():
        assert seen == wanted, f"Accept: {accept} got {seen}, wanted {wanted}"


@pytest.mark.case("P1", "RFC 8259 8.1")
def test_json_is_utf8(http: httpx.Client) -> None:
    """The JSON is UTF-8 without a byte order mark, whatever the token holds."""
    for token in ("é", "€", "\N{GRINNING FACE}", '"', "\\", "\0", "\x1f", "\ufeff", "\u2028"):
        seen = polled(http, text=token).get("token")

        assert seen == token, f"the token {token!r} came as {seen!r}, wanted it unchanged"


@pytest.mark.case("P1", "SPEC.md")
def test_answer_is_id_token_and_done(http: httpx.Client) -> None:
    """An answer holds a number, a string and a boolean, and nothing else."""
    for after, wanted in enumerate(
        ({"id": 1, "token": "a ", "done": False}, {"id": 2, "token": "b", "done": True})
    ):
        seen = polled(http, text="a b", after=after, delay=0)

        assert seen == wanted, f"after={after} gave {seen}, wanted {wanted}"
        kinds = {name: isinstance(value, bool) for name, value in seen.items()}
        assert kinds == {"id": False, "token": False, "done": True}, (
            f"after={after} gave {seen}, wanted done, and only done, to be true or false"
        )


@pytest.mark.case("P1", "RFC 9111 5.2.2")
def test_cache_control_is_no_cache_or_no_store(http: httpx.Client) -> None:
    """No cache keeps an answer."""
    for after in (0, 1):
        value = ask(http, text="a b", after=after).headers.get("cache-control", "")

        directives = re.split(r"\s*,\s*", value.lower())
        assert {"no-cache", "no-store"} & set(directives), (
            f"Cache-Control is {value!r}, wanted no-cache or no-store"
        )


@pytest.mark.case("P2", "SPEC.md")
def test_walking_it_gives_the_text(http: httpx.Client) -> None:
    """The tokens from `after=0` on, joined, are the text, whatever characters it holds."""

    @given(TEXTS)
    @example(TRAPS)
    @example("\ufeffa")
    @example(" \n")
    @example("é")
    def joins(text: str) -> None:
        seen = "".join(map(str, walk(http, text)))

        assert seen == normalize(text), f"{text!r} came as {seen!r}, wanted the text"

    joins()


@pytest.mark.case("P2", "SPEC.md")
def test_ids_count_from_one(http: httpx.Client) -> None:
    """The answer to `after=k` is token k + 1 and says so."""
    for after, token in enumerate(tokenize(ELEVEN)):
        seen = polled(http, text=ELEVEN, after=after, delay=0)

        told = (seen.get("id"), seen.get("token"))
        assert told == (after + 1, token), f"after={after} gave {told}, wanted {after + 1, token}"


@pytest.mark.case("P2", "SPEC.md")
def test_same_tokens_as_sse(http: httpx.Client, server: Address) -> None:
    """`/poll` and `/sse` cut a text in the same places."""

    @settings(max_examples=10)
    @given(TEXTS)
    @example(TRAPS)
    @example("é")
    def agree(text: str) -> None:
        polls, events = walk(http, text), tokens(read(server, text=text))

        assert polls == events, f"{text!r}: /poll gave {polls}, /sse gave {events}"

    agree()


@pytest.mark.case("P2", "SPEC.md")
def test_after_defaults_to_0(http: httpx.Client) -> None:
    """Without `after`, the first token comes."""
    seen = polled(http, text="a b", after=None).get("id")

    assert seen == 1, f"a poll without after gave token {seen}, wanted 1"


@pytest.mark.case("P2", "SPEC.md")
def test_done_marks_the_last(http: httpx.Client) -> None:
    """`done` is true with the last token and false before it."""
    for text in ("a", "a b", ELEVEN, "a \n"):
        count = len(tokenize(text))
        seen = [polled(http, text=text, after=n, delay=0).get("done") for n in range(count)]

        wanted = [False] * (count - 1) + [True]
        assert seen == wanted, f"{text!r} gave done {seen}, wanted {wanted}"
    seen = [polled(http, text="a " * 450, after=n, delay=0).get("done") for n in (448, 449)]
    assert seen == [False, True], f"the last two of 450 gave done {seen}, wanted [False, True]"


@pytest.mark.case("P2", "RFC 9110 15.3.5")
def test_past_the_end_is_204(http: httpx.Client) -> None:
    """Behind the last token there is nothing, and behind none of an empty text."""
    for text, after in ((ELEVEN, 11), (ELEVEN, 12), (ELEVEN, 10**12), ("a", 1), ("", 0), ("", 1)):
        seen = ask(http, text=text, after=after, delay=0).status_code

        assert seen == 204, f"after={after} of {text!r} gave {seen}, wanted 204"
    seen = ask(http, text="", after=None).status_code
    assert seen == 204, f"the empty text gave {seen}, wanted 204"


@pytest.mark.waits(2)
@pytest.mark.case("P3", "SPEC.md", decides="both")
def test_waits_for_the_delay(server: Address) -> None:
    """A poll for any token but the first takes the delay, and no more than the delay."""
    with ExitStack() as exits:
        polls = {}
        for after, delay in ((1, 0.3), (2, 0.3), (1, 1.5)):
            connection = exits.enter_context(Connection(server))
            path = target("/poll", text="a b c", after=after, delay=delay)
            start = time.monotonic()
            connection.send(request(server, target=path))
            polls[connection.socket] = (connection, start, after, delay)
        while polls:
            answered = select.select([*polls], [], [], PATIENCE)[0]
            assert answered, f"{len(polls)} polls had no answer for {PATIENCE:g} s"
            for connection, start, after, delay in map(polls.pop, answered):
                seconds = time.monotonic() - start
                response = Reader(connection).response(within=PATIENCE)
                seen = answer(response.status, response.body).get("id")

                assert seen == after + 1, f"after={after} gave token {seen}, wanted {after + 1}"
                assert delay - 0.02 <= seconds < delay + LATE, (
                    f"after={after} with delay={delay} took {seconds:.3f} s, wanted {delay} s"
                )


@pytest.mark.waits(1)
@pytest.mark.case("P3", "SPEC.md")
def test_default_delay_is_waited(http: httpx.Client) -> None:
    """Without a delay, a poll takes 0.05 s."""
    marks = [time.monotonic()]
    for after in range(1, 10):
        polled(http, text=ELEVEN, after=after)
        marks.append(time.monotonic())
    # A busy machine delays some of the nine, and hardly all of them.
    quickest = min(end - start for start, end in pairwise(marks))

    assert 0.045 <= quickest < 0.05 + LATE / 10, (
        f"the quickest of nine polls took {quickest:.3f} s, wanted 0.05 s"
    )


@pytest.mark.case("P3", "SPEC.md")
def test_first_token_does_not_wait(http: httpx.Client) -> None:
    """The first token comes at once, with `after=0` and without."""
    for after in (None, 0):
        seen = polled(http, text="a b", after=after, delay=30).get("id")

        assert seen == 1, f"after={after} gave token {seen}, wanted 1"


@pytest.mark.case("P4", "SPEC.md")
def test_default_text(http: httpx.Client, stack: Stack) -> None:
    """Without a text, the tokens are those of the greeting that `/sse` streams."""
    tokens = tokenize(default_text(stack))
    for after in (0, 2, len(tokens) - 1):
        seen = polled(http, after=after, delay=0).get("token")

        assert seen == tokens[after], f"after={after} gave {seen!r}, wanted {tokens[after]!r}"


@pytest.mark.case("P4", "WHATWG URL 5.1")
def test_query_is_form_encoded(server: Address) -> None:
    """`+` and `%20` are blanks, `%2B` is a plus, and each value is decoded once."""
    queries = {"text=a+b": "a ", "text=a%20b": "a ", "text=a%2Bb": "a+b", "text=%252B": "%2B"}
    for query, wanted in queries.items():
        response = exchange(server, target=f"/poll?{query}&after=0")
        seen = answer(response.status, response.body).get("token")

        assert seen == wanted, f"{query} gave {seen!r}, wanted {wanted!r}"


@pytest.mark.case("P5", "CWE-20")
def test_bad_after_is_refused(http: httpx.Client) -> None:
    """`after` is a whole number from 0; anything else is refused."""
    for after in BAD_AFTERS:
        for text in ("a b c", ""):
            seen = ask(http, text=text, after=after, delay=0).status_code

            assert seen in (400, 422), f"after={after} gave {seen}, wanted 400 or 422"


@pytest.mark.case("P5", "CWE-20")
def test_bad_delay_is_refused(http: httpx.Client) -> None:
    """A delay is a number from 0 to 60; anything else is refused."""
    for delay in GOOD_DELAYS:
        seen = ask(http, text="a b", delay=delay).status_code

        assert seen == 200, f"delay={delay} gave {seen}, wanted 200"
    for delay in BAD_DELAYS:
        for text in ("a b", ""):
            seen = ask(http, text=text, delay=delay).status_code

            assert seen in (400, 422), f"delay={delay} gave {seen}, wanted 400 or 422"


@pytest.mark.case("P5", "CWE-770")
def test_long_text_is_refused(http: httpx.Client) -> None:
    """1,000 characters are cut into tokens and 1,001 refused; a character is a code point."""
    for text in FITTING_TEXTS:
        seen = polled(http, text=text).get("token")

        token = tokenize(text)[0]
        assert seen == token, f"{len(text)} times {text[:2]!r} gave {seen!r:.40}, wanted its token"
    for text in LONG_TEXTS:
        refused = ask(http, text=text).status_code

        assert refused in (400, 422), (
            f"{len(text)} characters, {text[:2]!r} first, gave {refused}, wanted 400 or 422"
        )


@pytest.mark.case("P5", "RFC 9110 15.6.1")
def test_odd_queries_never_5xx(server: Address) -> None:
    """What the contract leaves open in a query is never the app's failure."""
    for query in (
        *(f"after=0&{q}" for q in ODD_QUERIES),
        *(f"delay=0&after={after}" for after in ODD_AFTERS),
    ):
        seen = exchange(server, target=f"/poll?{query}").status

        assert seen < 500, f"GET /poll?{query[:40]} gave {seen}, wanted below 500"


@pytest.mark.case("P6", "RFC 9110 15.5.6")
def test_post_is_405(http: httpx.Client) -> None:
    """`POST /poll` is 405."""
    for body in (b"", b"text=a&delay=0"):
        seen = http.post("/poll?text=a&delay=0", content=body).status_code

        assert seen == 405, f"POST /poll with {len(body)} octets gave {seen}, wanted 405"


@pytest.mark.waits(1)
@pytest.mark.case("P7", "SPEC.md", decides="both")
def test_pollers_wait_side_by_side(server: Address) -> None:
    """20 pollers that wait at the same time each get their own token."""
    texts = [f"{number} comes before {number}{number}" for number in range(20)]
    with ExitStack() as exits:
        connections = [exits.enter_context(Connection(server)) for _ in texts]
        start = time.monotonic()
        for number, connection in enumerate(connections):
            path = target("/poll", text=texts[number], after=3, delay=1)
            connection.send(request(server, target=path))
        for number, connection in enumerate(connections):
            response = Reader(connection).response(within=PATIENCE)
            seen = answer(response.status, response.body).get("token")

            assert seen == f"{number}{number}", f"poller {number} got {seen!r}, wanted its own"
        seconds = time.monotonic() - start

    assert seconds < 5, f"20 polls of 1 s took {seconds:.1f} s, wanted them side by side"


@pytest.mark.waits(1)
@pytest.mark.case("P7", "CWE-772", decides="both")
def test_poller_who_leaves_frees_the_server(process: Running) -> None:
    """Pollers that leave while they wait hold nothing once their delay is over."""
    at_first = at_rest(process)
    leave_ten(process, delay=0.2, wait=True)  # a pool of threads may grow once
    before = settled(process, at_first.sockets, process.census().threads, within=PATIENCE)
    leave_ten(process, delay=1, wait=False)
    after = settled(process, at_first.sockets, before.threads, within=1 + PATIENCE)
    answered = exchange(process).status

    assert answered == 200, f"GET / behind ten pollers that left gave {answered}, wanted 200"
    assert after.sockets <= at_first.sockets, (
        f"{after.sockets} sockets are left, wanted {at_first.sockets} as before"
    )
    assert after.threads <= before.threads + 2, (
        f"{after.threads} threads are left, wanted {before.threads} as before"
    )


def leave_ten(server: Address, delay: float, *, wait: bool) -> None:
    """Let ten pollers ask, and leave with their answers or, by FIN and RST, without."""
    path = target("/poll", text="a b", after=1, delay=delay)
    connections = [Connection(server) for _ in range(10)]
    for connection in connections:
        connection.send(request(server, target=path))
    for number, connection in enumerate(connections):
        if wait:
            Reader(connection).response()
        elif number == 0:
            connection.stays_silent(0.2)  # the last request has arrived
        if number % 2:
            connection.reset()
        else:
            connection.close()


def settled(process: Running, sockets: int, threads: int, within: float) -> Census:
    """Return the first census with no more sockets and threads than these, or the last one."""
    deadline = time.monotonic() + within
    while True:
        census = process.census()
        fits = census.sockets <= sockets and census.threads <= threads
        if fits or time.monotonic() > deadline:
            return census
        time.sleep(0.02)
