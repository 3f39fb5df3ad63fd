"""Faults in `GET /` and in what a server owes any request."""

from __future__ import annotations

from tests.mutants import Mutant

# Who changes the greeting is noticed by every case that looks at it.
GREETED = frozenset(
    {
        "hello/body_is_exact",
        "hello/connection_is_reused",
        "hello/parallel_requests_all_exact",
        "hello/pieces_make_one_request",
        "hello/pipelined_pair_in_order",
        "hello/query_changes_nothing",
        "hello/requests_leave_no_state",
        "hello/unread_body_does_not_desync",
        "websocket/hello_works_while_sockets_are_open",
    }
)
GREETING = '"Hello from ASGI (ASGI)!"'
ANSWER = f"    await respond(scope, send, 200, {GREETING})\n"
METHODS = """\
async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] not in ("GET", "HEAD"):
"""
NOT_FOUND = """\
    if scope["path"] not in ROUTES:
        return await respond(scope, send, 404, "Not Found")
"""
PARSE = "    http.receive_data(head)\n"
START = """\
            await self.transmit(h11.Response(status_code=message["status"], headers=headers))
"""
MORE = "                    if not (data := await self.read()):\n"
KEEP_ALIVE = """\
            if self.client.stopping or self.http.they_are_waiting_for_100_continue:
"""
DATE = 'headers.append((b"date", formatdate(usegmt=True).encode()))'

APP = [
    Mutant(
        "newline_behind_the_greeting",
        "The greeting ends with a line feed, as print would have it.",
        GREETING,
        '"Hello from ASGI (ASGI)!\\n"',
        GREETED | {"hello/content_length_equals_body"},
    ),
    Mutant(
        "title_in_lower_case",
        "The greeting has the folder's name instead of the title.",
        GREETING,
        '"Hello from asgi (ASGI)!"',
        GREETED,
    ),
    Mutant(
        "byte_order_mark",
        "The greeting starts with a byte order mark, which every editor hides.",
        GREETING,
        '"\\ufeffHello from ASGI (ASGI)!"',
        GREETED | {"hello/content_length_equals_body"},
    ),
    Mutant(
        "no_charset",
        "The greeting is text/plain without a charset.",
        '"text/plain; charset=utf-8"',
        '"text/plain"',
        frozenset({"hello/content_type_names_utf8"}),
    ),
    Mutant(
        "greeting_as_html",
        "The greeting is text/html, as many a framework takes a string to be.",
        '"text/plain; charset=utf-8"',
        '"text/html; charset=utf-8"',
        frozenset({"hello/content_type_names_utf8"}),
    ),
    Mutant(
        "latin1_charset",
        "The charset is that of HTTP/1.0.",
        '"text/plain; charset=utf-8"',
        '"text/plain; charset=iso-8859-1"',
        frozenset({"hello/content_type_names_utf8"}),
    ),
    Mutant(
        "head_has_length_0",
        "HEAD gives the length of the body it sends, not of the one that GET would.",
        '        fields["content-length"] = str(len(body.encode()))\n',
        """\
        content = "" if scope["method"] == "HEAD" else body
        fields["content-length"] = str(len(content.encode()))
""",
        frozenset({"hello/head_matches_get_without_body"}),
    ),
    Mutant(
        "head_without_type",
        "HEAD has no Content-Type.",
        "    if status != 204:\n",
        '    if status != 204 and scope["method"] != "HEAD":\n',
        frozenset({"hello/head_matches_get_without_body"}),
    ),
    Mutant(
        "head_is_405",
        "Only GET is let through to the greeting.",
        METHODS,
        METHODS.replace('not in ("GET", "HEAD")', '!= "GET"'),
        frozenset({"hello/head_matches_get_without_body"}),
    ),
    Mutant(
        "post_is_200",
        "POST gets the greeting too.",
        METHODS,
        METHODS.replace('"HEAD")', '"HEAD", "POST")'),
        frozenset({"hello/post_is_405_with_allow"}),
    ),
    Mutant(
        "post_is_404",
        "A route is looked up by method and path together, so a wrong method is no route.",
        METHODS,
        METHODS + '        return await respond(scope, send, 404, "Not Found")\n',
        frozenset({"hello/post_is_405_with_allow"}),
    ),
    Mutant(
        "no_allow",
        "405 comes without an Allow.",
        'READ_ONLY = {"allow": "GET, HEAD"}',
        "READ_ONLY: dict[str, str] = {}",
        frozenset({"hello/post_is_405_with_allow"}),
    ),
    Mutant(
        "allow_without_get",
        "Allow leaves out GET.",
        'READ_ONLY = {"allow": "GET, HEAD"}',
        'READ_ONLY = {"allow": "HEAD, OPTIONS"}',
        frozenset({"hello/post_is_405_with_allow"}),
    ),
    Mutant(
        "allow_in_lower_case",
        "Allow lists methods in lower case, which are other methods.",
        'READ_ONLY = {"allow": "GET, HEAD"}',
        'READ_ONLY = {"allow": "get, head"}',
        frozenset({"hello/post_is_405_with_allow"}),
    ),
    Mutant(
        "known_methods_are_refused_by_name",
        "What is refused is a list of methods, and nobody thought of BREW.",
        METHODS,
        METHODS.replace(
            'not in ("GET", "HEAD")',
            'in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")',
        ),
        frozenset({"hello/unknown_method_is_4xx_or_501"}),
    ),
    Mutant(
        "unknown_path_is_200",
        "An unknown path gets the greeting, as the page of a single-page app would be.",
        NOT_FOUND,
        '    if scope["path"] not in ROUTES:\n        return await hello(scope, receive, send)\n',
        frozenset({"hello/unknown_path_is_404"}),
    ),
    Mutant(
        "unknown_path_says_not_found_with_200",
        "An unknown path is told so in the text alone.",
        'respond(scope, send, 404, "Not Found")',
        'respond(scope, send, 200, "Not Found")',
        frozenset({"hello/unknown_path_is_404", "security/trace_and_connect_are_not_2xx"}),
    ),
    Mutant(
        "index_html_is_the_greeting",
        "The greeting has a second address.",
        'ROUTES = {"/": hello,',
        'ROUTES = {"/": hello, "/index.html": hello,',
        frozenset({"hello/unknown_path_is_404"}),
    ),
    Mutant(
        "static_files_show_the_source",
        "Whatever lies beside the app can be fetched.",
        NOT_FOUND,
        """\
    if scope["path"] not in ROUTES:
        file = scope["path"].removeprefix("/static/")
        return await respond(scope, send, 200 if os.path.isfile(file) else 404, "Not Found")
""",
        frozenset({"hello/unknown_path_is_404"}),
    ),
    Mutant(
        "query_is_reflected",
        "The greeting greets whom the query names.",
        ANSWER,
        """\
    name = query_params(scope).get("name", "ASGI")
    await respond(scope, send, 200, f"Hello from {name} (ASGI)!")
""",
        frozenset({"hello/query_changes_nothing"}),
    ),
    Mutant(
        "every_query_is_checked",
        "A parameter that is wrong for the event stream is refused at `/` too.",
        ANSWER,
        """\
    try:
        read_query(query_params(scope))
    except ValueError as error:
        return await respond(scope, send, 400, str(error))
"""
        + ANSWER,
        frozenset({"hello/query_changes_nothing"}),
    ),
    Mutant(
        "two_slashes_are_500",
        "The first segment of a path is taken without looking whether there is one.",
        NOT_FOUND,
        """\
    if scope["path"] not in ROUTES:
        scope["path"] != "/" and scope["path"].strip("/")[0]
        return await respond(scope, send, 404, "Not Found")
""",
        frozenset({"hello/odd_paths_never_500"}),
    ),
    Mutant(
        "nul_in_a_path_is_500",
        "A file is looked for before 404 is said, and no file's name holds NUL.",
        NOT_FOUND,
        """\
    if scope["path"] not in ROUTES:
        try:
            os.lstat("static" + scope["path"])
        except OSError:
            return await respond(scope, send, 404, "Not Found")
""",
        frozenset({"hello/odd_paths_never_500"}),
    ),
    Mutant(
        "dots_in_a_path_are_500",
        "A path that leads out of the folder is an assertion that fails.",
        NOT_FOUND,
        """\
    if scope["path"] not in ROUTES:
        assert ".." not in scope["path"]
        return await respond(scope, send, 404, "Not Found")
""",
        frozenset({"hello/odd_paths_never_500"}),
    ),
    Mutant(
        "long_path_is_500",
        "A path is looked up on the disk, and one of 8 KiB is an error that nobody expected.",
        NOT_FOUND,
        """\
    if scope["path"] not in ROUTES:
        try:
            os.lstat("static" + scope["path"].replace("\\0", ""))
        except (FileNotFoundError, NotADirectoryError):
            return await respond(scope, send, 404, "Not Found")
""",
        frozenset({"hello/odd_paths_never_500"}),
    ),
    Mutant(
        "language_is_kept",
        "The greeting stays in the language that somebody once asked for.",
        ANSWER,
        """\
    if request_headers(scope).get("accept-language") == "de":
        ROUTES["/"] = lambda scope, receive, send: respond(scope, send, 200, "Hallo von ASGI!")
"""
        + ANSWER,
        frozenset({"hello/requests_leave_no_state"}),
    ),
    Mutant(
        "cookie_is_kept",
        "A name out of a cookie ends up in everybody's greeting.",
        ANSWER,
        """\
    global NAME
    value = request_headers(scope).get("cookie", "").partition("=")[2]
    NAME = value if value.isalnum() else NAME
    await respond(scope, send, 200, f"Hello from {NAME} (ASGI)!")


NAME = "ASGI"
""",
        frozenset({"hello/requests_leave_no_state"}),
    ),
]

SERVER = [
    Mutant(
        "length_beside_chunks",
        "The app's Content-Length is sent beside the server's own Transfer-Encoding.",
        START,
        """\
            fields = dict(headers)
            length = fields.pop(b"content-length", None)
            headers = [*fields.items()]
            head = self.http.send(h11.Response(status_code=message["status"], headers=headers))
            if length is not None:
                head = head[:-2] + b"content-length: " + length + b"\\r\\n\\r\\n"
            await self.client.write(head)
""",
        frozenset({"hello/content_length_equals_body"}),
        file="server.py",
    ),
    Mutant(
        "length_one_short",
        "Content-Length leaves out the last octet of the greeting.",
        "        if data := self.http.send(event):\n            await self.client.write(data)\n",
        """\
        if data := self.http.send(event):
            await self.client.write(data.replace(b"content-length: 23", b"content-length: 22"))
""",
        GREETED | {"hello/content_length_equals_body"},
        file="server.py",
    ),
    Mutant(
        "head_has_a_body",
        "HEAD is answered as if it were GET.",
        PARSE,
        '    http.receive_data(re.sub(rb"^HEAD ", b"GET ", head))\n',
        frozenset({"hello/head_matches_get_without_body", "sse/head_has_no_body_and_ends"}),
        file="server.py",
    ),
    Mutant(
        "unknown_method_is_500",
        "A method is looked up in an enumeration, and one that is not there is an error.",
        '    if not request.http_version.startswith(b"1."):\n',
        """\
    if request.method not in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"TRACE", b"CONNECT"):
        raise Refusal(500, "KeyError")
    if not request.http_version.startswith(b"1."):
""",
        frozenset({"hello/unknown_method_is_4xx_or_501"}),
        file="server.py",
    ),
    Mutant(
        "empty_query_is_part_of_the_path",
        "A `?` with nothing behind it is another path.",
        '    path, _, query = target.partition(b"?")\n',
        """\
    path, _, query = target.partition(b"?")
    path = target if target == b"/?" else path
""",
        frozenset({"hello/query_changes_nothing"}),
        file="server.py",
    ),
    Mutant(
        "only_40_connections",
        "The 41st connection is closed at once.",
        "        if stopping.is_set():\n",
        "        if stopping.is_set() or len(clients) == 40:\n",
        frozenset(
            {
                "hello/parallel_requests_all_exact",
                "hello/pieces_make_one_request",
                "security/sixty_half_open_requests_starve_nobody",
                "websocket/no_cross_talk",
            }
        ),
        file="server.py",
    ),
    Mutant(
        "connection_closes_behind_every_response",
        "No connection carries a second request, as in HTTP/1.0.",
        KEEP_ALIVE,
        "            if True:\n",
        frozenset({"hello/connection_is_reused", "hello/pipelined_pair_in_order"}),
        file="server.py",
    ),
    Mutant(
        "connection_closes_behind_nine_responses",
        "No connection carries a tenth request.",
        KEEP_ALIVE,
        """\
            self.client.served = getattr(self.client, "served", 0) + 1
            if self.client.served == 9 or self.client.stopping:
""",
        frozenset({"hello/connection_is_reused"}),
        file="server.py",
    ),
    Mutant(
        "close_is_not_honoured",
        "The connection stays open behind a response to `Connection: close`.",
        "        return self.http.our_state is h11.DONE and await self.drop_unread_body()\n",
        """\
        kept = self.http.our_state is h11.DONE or self.request.http_version == b"1.1"
        return kept and await self.drop_unread_body()
""",
        frozenset(
            {
                "hello/connection_close_is_honoured",
                "lifecycle/two_hundred_connections_leave_no_descriptors",
            }
        ),
        file="server.py",
    ),
    Mutant(
        "head_comes_in_one_segment",
        "A head that is not whole when its first octets are read is refused.",
        MORE,
        f"""\
                    if self.buffer:
                        raise Refusal(400, "half a head")
{MORE}""",
        frozenset({"hello/pieces_make_one_request"}),
        file="server.py",
    ),
    Mutant(
        "crlf_comes_in_one_segment",
        "CR is refused where LF is still under way.",
        MORE,
        f"""\
                    if self.buffer.endswith(b"\\r"):
                        raise Refusal(400, "CR without LF")
{MORE}""",
        frozenset({"hello/pieces_make_one_request"}),
        file="server.py",
    ),
    Mutant(
        "pipelined_answers_are_swapped",
        "Two requests in one segment are answered last first.",
        "                    self.buffer += data\n",
        """\
                    self.buffer += data
                    first, blank, second = self.buffer.partition(b"\\r\\n\\r\\n")
                    if first.startswith(b"GET") and second.endswith(blank):
                        self.buffer = second + first + blank
""",
        frozenset({"hello/pipelined_pair_in_order"}),
        file="server.py",
    ),
    Mutant(
        "second_request_of_a_segment_is_lost",
        "What came behind a request is thrown away with it.",
        "            self.client.buffer = self.http.trailing_data[0] + self.client.buffer\n",
        '            self.client.buffer = b""\n',
        frozenset({"hello/pipelined_pair_in_order", "hello/unread_body_does_not_desync"}),
        file="server.py",
    ),
    Mutant(
        "unread_body_is_the_next_request",
        "A body that the app left in the connection is read as a request.",
        "                while self.http.their_state is h11.SEND_BODY:\n",
        "                while False:\n",
        frozenset({"hello/unread_body_does_not_desync"}),
        file="server.py",
    ),
    Mutant(
        "no_date",
        "Responses of the app have no Date.",
        DATE,
        "pass",
        frozenset({"hello/date_is_imf_fixdate"}),
        file="server.py",
    ),
    Mutant(
        "date_in_the_form_of_rfc_850",
        "Date is in the first of the two obsolete forms.",
        DATE,
        """\
import time

                form = "%A, %d-%b-%y %H:%M:%S GMT"
                headers.append((b"date", time.strftime(form, time.gmtime()).encode()))""",
        frozenset({"hello/date_is_imf_fixdate"}),
        file="server.py",
    ),
    Mutant(
        "date_in_the_form_of_asctime",
        "Date is in the second of the two obsolete forms.",
        DATE,
        """\
import time

                headers.append((b"date", time.asctime(time.gmtime()).encode()))""",
        frozenset({"hello/date_is_imf_fixdate"}),
        file="server.py",
    ),
    Mutant(
        "date_in_the_form_of_iso_8601",
        "Date is in the form that everything but HTTP uses.",
        DATE,
        """\
import datetime

                now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                headers.append((b"date", now.encode()))""",
        frozenset({"hello/date_is_imf_fixdate"}),
        file="server.py",
    ),
    Mutant(
        "date_with_an_offset",
        "Date ends with an offset, as in mail, instead of with GMT.",
        DATE,
        'headers.append((b"date", formatdate(localtime=True).encode()))',
        frozenset({"hello/date_is_imf_fixdate"}),
        file="server.py",
    ),
    Mutant(
        "date_names_another_weekday",
        "The weekday in Date is not that of its day.",
        DATE,
        """\
date = formatdate(usegmt=True)
                weekday = "Tue" if date.startswith("Mon") else "Mon"
                headers.append((b"date", (weekday + date[3:]).encode()))""",
        frozenset({"hello/date_is_imf_fixdate"}),
        file="server.py",
    ),
    Mutant(
        "date_counts_from_boot",
        "Date is taken from a clock that starts with the machine.",
        DATE,
        """\
now = asyncio.get_running_loop().time()
                headers.append((b"date", formatdate(now, usegmt=True).encode()))""",
        frozenset({"hello/date_is_imf_fixdate"}),
        file="server.py",
    ),
    Mutant(
        "close_is_compared_by_case",
        "Only the option `close` in lower case closes, `Close` does not.",
        PARSE,
        '    http.receive_data(head.replace(b"Connection: Close", b"Connection: keep-alive"))\n',
        frozenset({"hello/connection_close_is_honoured"}),
        file="server.py",
    ),
    Mutant(
        "missing_host_is_accepted",
        "A request without Host is served.",
        PARSE,
        """\
    if b"\\r\\nhost:" not in head.lower():
        head = head[:-2] + b"Host: unknown\\r\\n\\r\\n"
    http.receive_data(head)
""",
        frozenset({"hello/missing_host_is_400"}),
        file="server.py",
    ),
    Mutant(
        "missing_host_is_404",
        "A request without Host is one for a site that is not here.",
        PARSE,
        PARSE
        + """\
    if b"\\r\\nhost:" not in head.lower():
        raise Refusal(404, "no such host")
""",
        frozenset({"hello/missing_host_is_400"}),
        file="server.py",
    ),
    Mutant(
        "first_of_two_hosts_counts",
        "A request with two Hosts is served for the first.",
        PARSE,
        """\
    fields = head.split(b"\\r\\n")
    hosts = [field for field in fields if field.lower().startswith(b"host:")]
    http.receive_data(b"\\r\\n".join(field for field in fields if field not in hosts[1:]))
""",
        frozenset({"hello/duplicate_host_is_400"}),
        file="server.py",
    ),
    Mutant(
        "two_hosts_are_a_list",
        "Two Hosts are joined by a comma, as fields that hold a list may be.",
        PARSE,
        """\
    hosts = re.findall(rb"(?i)(?<=\\nhost:)[^\\r]*", head)
    if len(hosts) > 1:
        head = re.sub(rb"(?i)host:[^\\r]*\\r\\n", b"", head)
        head = head[:-2] + b"Host:" + b",".join(hosts).replace(b" ", b"") + b"\\r\\n\\r\\n"
    http.receive_data(head)
""",
        frozenset({"hello/duplicate_host_is_400"}),
        file="server.py",
    ),
    Mutant(
        "chunks_for_http_1_0",
        "A client that speaks HTTP/1.0 is answered as if it spoke HTTP/1.1.",
        PARSE,
        '    http.receive_data(head.replace(b" HTTP/1.0\\r\\n", b" HTTP/1.1\\r\\n", 1))\n',
        frozenset({"hello/http10_client_gets_no_chunks"}),
        file="server.py",
    ),
    Mutant(
        "expect_is_ignored",
        "The server waits for a body whose client waits for 100.",
        "        try:\n            await self.client.app(self.scope, self.receive, self.send)\n",
        """\
        try:
            if self.http.they_are_waiting_for_100_continue:
                await self.next_piece()
            await self.client.app(self.scope, self.receive, self.send)
""",
        frozenset({"hello/expect_continue_is_answered"}),
        file="server.py",
    ),
    Mutant(
        "expect_closes_the_connection",
        "An expectation is met with a closed connection.",
        "    async def run(self) -> bool:\n",
        """\
    async def run(self) -> bool:
        if self.http.they_are_waiting_for_100_continue:
            return False
""",
        frozenset({"hello/expect_continue_is_answered"}),
        file="server.py",
    ),
]

MUTANTS = APP + SERVER
