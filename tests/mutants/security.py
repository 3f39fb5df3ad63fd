"""Faults that a hostile client looks for."""

from __future__ import annotations

from tests.mutants import Mutant

PARSE = "    if OBSOLETE_FOLDING.search(head):\n"
LIMITS = """\
    if len(data.partition(b"\\n")[0]) > REQUEST_LINE_LIMIT:
        raise Refusal(414, f"a request line of over {REQUEST_LINE_LIMIT} bytes")
    if (blank.end() if blank else len(data)) > HEAD_LIMIT:
"""
BOTH_FRAMINGS = """\
    if coded and values(request, b"content-length"):
        raise Refusal(400, "Content-Length beside Transfer-Encoding")
"""
REFUSED = """\
        except Refusal as refusal:
            await self.write(refusal.response())
"""
SSE_METHODS = """\
async def sse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
"""
SSE_REFUSED = """\
    except ValueError as error:
        return await respond(scope, send, 400, str(error))
    tokens = tokenize(text)
    last_event_id = whole_number"""
HELLO_METHODS = """\
async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
"""


def sloppy(name: str, sentence: str, pattern: str, by: str, fails: str) -> Mutant:
    """Return a server that takes `pattern` in a head for `by`, before any of it is judged."""
    rewrite = f'    head = re.sub(rb"{pattern}", rb"{by}", head)\n'
    ids = frozenset({f"security/{fails}"})
    return Mutant(name, sentence, PARSE, rewrite + PARSE, ids, file="server.py")


def sloppy_about_chunks(name: str, sentence: str, size: str) -> Mutant:
    """Return a server that takes what matches `size` for the size of a chunk, as `int(_, 16)` does."""
    reader = f'rb"(?P<chunk_size>{size})(?P<chunk_ext>;[^\\r\\n]*)?\\r\\n"'
    patch = f"import h11\nh11._readers.chunk_header_re = re.compile({reader})\n"
    ids = frozenset({"security/malformed_chunk_size_is_refused"})
    return Mutant(name, sentence, "import h11\n", patch, ids, file="server.py")


APP = [
    Mutant(
        "shows_its_traceback",
        "The answer to a bad query explains itself with a traceback.",
        SSE_REFUSED,
        SSE_REFUSED.replace("str(error)", '__import__("traceback").format_exc()'),
        frozenset({"security/no_traceback_in_responses"}),
    ),
    Mutant(
        "names_file_and_line",
        "The answer to a bad query names the line of code that refused it.",
        SSE_REFUSED,
        SSE_REFUSED.replace("str(error)", "f'{error} (File \"{__file__}\", line 63)'"),
        frozenset({"security/no_traceback_in_responses"}),
    ),
    Mutant(
        "serves_trace",
        "`/` takes TRACE for a kind of GET.",
        HELLO_METHODS,
        HELLO_METHODS.replace('"HEAD")', '"HEAD", "TRACE")'),
        frozenset({"security/trace_and_connect_are_not_2xx"}),
    ),
    Mutant(
        "refuses_post_only",
        "`/sse` refuses POST and serves every other method.",
        SSE_METHODS,
        SSE_METHODS.replace('not in ("GET", "HEAD")', '== "POST"'),
        frozenset({"security/trace_and_connect_are_not_2xx"}),
    ),
    Mutant(
        "names_its_text_in_a_header",
        "A poll repeats the text in a field of its answer.",
        '    headers = {"content-type": "application/json", "cache-control": "no-store"}\n',
        """\
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    headers["x-text"] = text.replace("\\n", " ").strip()
""",
        frozenset(
            {
                "poll/json_is_utf8",
                "poll/same_tokens_as_sse",
                "poll/walking_it_gives_the_text",
                "security/crlf_in_query_or_header_reaches_no_header",
            }
        ),
    ),
]

FRAMING = [
    Mutant(
        "serves_both_framings",
        "A request with a length beside chunked is read as chunked, and the connection goes on.",
        BOTH_FRAMINGS,
        "",
        frozenset({"security/length_beside_chunked_is_refused_or_closes"}),
        file="server.py",
    ),
    sloppy(
        "prefers_the_length",
        "A length that stands before chunked is believed.",
        r"(?is)(\r\ncontent-length:.*)\r\ntransfer-encoding:[^\r]*",
        r"\1",
        "length_beside_chunked_is_refused_or_closes",
    ),
    sloppy(
        "prefers_a_length_behind",
        "A length that stands behind chunked is believed, for it is the last word.",
        r"(?is)\r\ntransfer-encoding:[^\r]*(.*\r\ncontent-length:)",
        r"\1",
        "length_beside_chunked_is_refused_or_closes",
    ),
    Mutant(
        "goes_on_behind_a_refusal",
        "A refused request does not end its connection, and its body is the next request.",
        REFUSED,
        f"{REFUSED}            await self.serve()\n",
        frozenset(
            {
                "security/length_beside_chunked_is_refused_or_closes",
                "security/unknown_transfer_coding_refused",
            }
        ),
        file="server.py",
    ),
    sloppy(
        "takes_the_last_of_two_lengths",
        "Of several Content-Lengths the last one counts.",
        r"(?is)\r\ncontent-length:[^\r]*(?=.*\r\ncontent-length:)",
        "",
        "differing_lengths_are_400",
    ),
    sloppy(
        "takes_the_first_of_a_list_of_lengths",
        "Of a Content-Length with a comma the first number counts.",
        r"(?i)(\r\ncontent-length: *\d+) *,[^\r]*",
        r"\1",
        "differing_lengths_are_400",
    ),
    sloppy(
        "ignores_a_smaller_second_length",
        "A second Content-Length is refused only where it says more than the first.",
        r"(?i)(\r\ncontent-length: 6)\r\ncontent-length: 5",
        r"\1",
        "differing_lengths_are_400",
    ),
    sloppy(
        "takes_a_length_with_a_sign",
        "A length is read as a number may be written, with a sign.",
        r"(?i)(\r\ncontent-length: *)\+",
        r"\1",
        "malformed_length_is_400",
    ),
    sloppy(
        "takes_a_length_with_underscores",
        "A length is read by `int`, which passes over an underscore between digits.",
        r"(?i)(\r\ncontent-length: *\d)_",
        r"\1",
        "malformed_length_is_400",
    ),
    sloppy(
        "takes_no_length_for_0",
        "A Content-Length without a value counts as absent.",
        r"(?i)\r\ncontent-length: *(?=\r)",
        r"",
        "malformed_length_is_400",
    ),
    sloppy(
        "reads_a_length_up_to_its_first_letter",
        "A length ends at the first character that is no digit.",
        r"(?i)(\r\ncontent-length: *\d+)[^\d\r, ][^\r]*",
        r"\1",
        "malformed_length_is_400",
    ),
    sloppy_about_chunks(
        "takes_a_chunk_size_with_a_sign",
        "The size of a chunk may have a sign.",
        "[+]?[0-9a-fA-F]+",
    ),
    sloppy_about_chunks(
        "takes_a_chunk_size_with_a_prefix",
        "The size of a chunk may begin with 0x.",
        "(?:0x)?[0-9a-fA-F]+",
    ),
    sloppy_about_chunks(
        "takes_a_chunk_size_with_underscores",
        "The size of a chunk may hold underscores.",
        "[0-9a-fA-F_]+",
    ),
    sloppy(
        "ignores_codings_it_does_not_know",
        "A transfer coding other than chunked is taken for none.",
        r"(?i)\r\ntransfer-encoding:(?! *chunked *\r)[^\r]*",
        "",
        "unknown_transfer_coding_refused",
    ),
    sloppy(
        "ignores_identity",
        "The transfer coding that RFC 7230 took away is taken for none.",
        r"(?i)\r\ntransfer-encoding: *identity *(?=\r)",
        "",
        "unknown_transfer_coding_refused",
    ),
    sloppy(
        "looks_for_chunked_anywhere",
        "A transfer coding is chunked if that word stands in it.",
        r"(?i)(\r\ntransfer-encoding:)[^\r]*chunked[^\r]*",
        r"\1 chunked",
        "unknown_transfer_coding_refused",
    ),
    sloppy(
        "looks_at_the_first_coding_only",
        "A transfer coding is chunked if its list starts so.",
        r"(?i)(\r\ntransfer-encoding: *chunked) *,[^\r]*",
        r"\1",
        "unknown_transfer_coding_refused",
    ),
]

FIELDS = [
    sloppy(
        "trims_field_names",
        "Blanks before a colon are dropped.",
        r"(?m)^([\w-]+)[ \t]+:",
        r"\1:",
        "blank_before_colon_is_400",
    ),
    sloppy(
        "trims_tabs_from_field_names",
        "A tab before a colon is dropped, a space is refused.",
        r"(?m)^([\w-]+)\t+:",
        r"\1:",
        "blank_before_colon_is_400",
    ),
    sloppy(
        "drops_fields_with_a_blank",
        "A field with a blank before its colon is left out, not refused.",
        r"\r\n[\w-]+[ \t]+:[^\r]*",
        "",
        "blank_before_colon_is_400",
    ),
    sloppy(
        "takes_folded_lines_for_fields",
        "A folded line is a field of its own.",
        r"\r\n[ \t]+",
        r"\r\n",
        "obsolete_folding_refused",
    ),
    sloppy(
        "drops_folded_lines",
        "Only the first line of a folded field counts.",
        r"\r\n[ \t][^\r]*",
        "",
        "obsolete_folding_refused",
    ),
    sloppy(
        "joins_folded_lines_without_a_blank",
        "A folded line continues the value as if nothing stood between.",
        r"\r\n[ \t]+",
        "",
        "obsolete_folding_refused",
    ),
    sloppy(
        "takes_lines_folded_by_a_tab_for_fields",
        "A line that starts with a tab is a field of its own; one with a space is refused.",
        r"\r\n\t+",
        r"\r\n",
        "obsolete_folding_refused",
    ),
    sloppy(
        "ends_lines_at_a_bare_cr",
        "CR ends a line, with LF or without.",
        r"\r(?!\n)",
        r"\r\n",
        "bare_cr_refused",
    ),
    sloppy(
        "drops_bare_crs",
        "A CR without LF is left out.",
        r"\r(?!\n)",
        "",
        "bare_cr_refused",
    ),
    sloppy(
        "ends_lines_at_two_crs",
        "CR CR is taken for CR LF, as some conversions of text leave it.",
        r"\r\r(?!\n)",
        r"\r\n",
        "bare_cr_refused",
    ),
]

LEAKS = [
    Mutant(
        "repeats_the_query_of_a_handshake",
        "The answer to a handshake repeats the query, percent-decoded, in a field.",
        "        await self.client.write(self.response.serialize())\n",
        """\
        query = unquote(self.scope["query_string"].decode())
        head = self.response.serialize().removesuffix(b"\\r\\n")
        await self.client.write(head + f"X-Query: {query}\\r\\n\\r\\n".encode())
""",
        frozenset({"security/crlf_in_query_or_header_reaches_no_header"}),
        file="server.py",
    ),
    Mutant(
        "repeats_the_path_of_a_404",
        "The answer to an unknown path repeats it, percent-decoded, in a field.",
        "        if data := self.http.send(event):\n",
        """\
        if data := self.http.send(event):
            if isinstance(event, h11.Response) and event.status_code == 404:
                path = self.scope["path"].replace("\\0", "")
                data = data.removesuffix(b"\\r\\n") + f"X-Path: {path}\\r\\n\\r\\n".encode()
""",
        frozenset({"security/crlf_in_query_or_header_reaches_no_header"}),
        file="server.py",
    ),
]

LIMITS_AND_TURNS = [
    Mutant(
        "limits_a_head_to_256_kib",
        "A head may have four times the usual size.",
        "HEAD_LIMIT = 65_536\n",
        "HEAD_LIMIT = 262_144\n",
        frozenset({"security/header_of_128_kib_is_4xx"}),
        file="server.py",
    ),
    Mutant(
        "closes_on_a_large_head",
        "A head over the limit ends the connection without an answer.",
        'raise Refusal(431, f"a head of over {HEAD_LIMIT} bytes")',
        "raise ConnectionAbortedError",
        frozenset({"security/header_of_128_kib_is_4xx"}),
        file="server.py",
    ),
    Mutant(
        "counts_fields_only",
        "The request line may be as long as it likes.",
        LIMITS,
        """\
    line = data.partition(b"\\n")[0]
    if (blank.end() if blank else len(data)) - len(line) > HEAD_LIMIT:
""",
        frozenset({"security/uri_of_64_kib_is_4xx"}),
        file="server.py",
    ),
    Mutant(
        "fails_on_a_long_target",
        "A target that is too long is 500, as if that were the server's fault.",
        "raise Refusal(414,",
        "raise Refusal(500,",
        frozenset({"security/uri_of_64_kib_is_4xx"}),
        file="server.py",
    ),
    Mutant(
        "accepts_sixty_connections",
        "Beyond 60 connections the server hangs up.",
        "        if stopping.is_set():\n",
        "        if stopping.is_set() or len(clients) >= 60:\n",
        frozenset({"security/sixty_half_open_requests_starve_nobody"}),
        file="server.py",
    ),
    Mutant(
        "serves_fifty_nine_at_a_time",
        "Further connections wait until one of the first 59 ends, as with a pool of threads.",
        "            with suppress(OSError):  # the client has left\n                await self.serve()\n",
        """\
            turn = self.app.__dict__.setdefault("turn", asyncio.Semaphore(59))
            with suppress(OSError):  # the client has left
                async with turn:
                    await self.serve()
""",
        frozenset({"security/sixty_half_open_requests_starve_nobody"}),
        file="server.py",
    ),
    Mutant(
        "sleeps_over_pings",
        "Every ping is answered by a pause of the whole process.",
        "        if frame.opcode not in DATA_OPCODES:\n",
        """\
        if frame.opcode is Opcode.PING:
            __import__("time").sleep(0.05)
        if frame.opcode not in DATA_OPCODES:
""",
        frozenset({"security/ping_flood_starves_nobody"}),
        file="server.py",
    ),
]

MUTANTS = APP + FRAMING + FIELDS + LEAKS + LIMITS_AND_TURNS
