"""Faults in how a server starts and stops, and in what a client that has gone leaves behind."""

from __future__ import annotations

from tests.mutants import Mutant

CONNECTED = """\
        if stopping.is_set():
            return writer.close()
"""
STOP = """\
        await stopping.wait()
        listener.close()
        await stop(clients)
"""
CLOSES_SOCKETS = """\
            socket.closing = asyncio.create_task(socket.close(1012, "the server stops"))
"""
RACES = "    await until_disconnect(receive, stream(send, events))\n"
READ_HEAD = """\
                    if not (data := await self.read()):
                        break
                    self.buffer += data
"""
HELLO = '    await respond(scope, send, 200, "Hello from ASGI (ASGI)!")\n'

OPEN_A_FILE = '__import__("os").open("/dev/null", 0)'

LOSES_STREAMS = frozenset(
    {"lifecycle/thirty_aborted_streams_free_everything", "lifecycle/silent_stream_left_is_freed"}
)

STARTING = [
    Mutant(
        "warms_up_on_its_first_request",
        "The first request to a new process gets 503.",
        HELLO,
        """\
    WARM.append(scope)
    if len(WARM) == 1:
        return await respond(scope, send, 503)
    await respond(scope, send, 200, "Hello from ASGI (ASGI)!")


WARM: list[Scope] = []
""",
        frozenset({"lifecycle/ready_means_hello_is_200"}),
    ),
    Mutant(
        "listens_before_it_can_answer",
        "For 300 ms after its first connection the server gives 503.",
        CONNECTED,
        """\
        now = asyncio.get_running_loop().time()
        if now < connected.__dict__.setdefault("first", now) + 0.3:
            writer.write(b"HTTP/1.1 503 Service Unavailable\\r\\nContent-Length: 0\\r\\n\\r\\n")
            return writer.close()
        if stopping.is_set():
            return writer.close()
""",
        frozenset({"lifecycle/ready_means_hello_is_200"}),
        file="server.py",
    ),
    Mutant(
        "drops_its_first_connection",
        "The server closes the first connection that it accepts.",
        CONNECTED,
        """\
        if stopping.is_set() or connected.__dict__.setdefault("first", writer) is writer:
            return writer.close()
""",
        frozenset({"lifecycle/ready_means_hello_is_200"}),
        file="server.py",
    ),
]

STOPPING = [
    Mutant(
        "waits_although_it_is_idle",
        "With no connection to wait for, the exit still takes as long as a slow one.",
        "    if clients:\n",
        "    await asyncio.sleep(0 if clients else 6)\n    if clients:\n",
        frozenset({"lifecycle/sigterm_idle_exits"}),
        file="server.py",
    ),
    Mutant(
        "needs_two_signals",
        "The first SIGTERM is taken for a mistake.",
        "        await stopping.wait()\n",
        """\
        await stopping.wait()
        stopping.clear()
        await stopping.wait()
""",
        frozenset(
            {
                "lifecycle/restarts_on_the_same_port_at_once",
                "lifecycle/sigterm_finishes_request_in_flight",
                "lifecycle/sigterm_idle_exits",
                "lifecycle/sigterm_with_deaf_socket_exits",
                "lifecycle/sigterm_with_open_socket_exits_and_says_1001_or_1012",
                "lifecycle/sigterm_with_open_stream_exits",
                "lifecycle/stops_accepting_while_draining",
            }
        ),
        file="server.py",
    ),
    Mutant(
        "does_not_reuse_the_address",
        "The server waits until no connection of its predecessor lingers on the port.",
        "host, port, backlog=1024)",
        "host, port, backlog=1024, reuse_address=False)",
        frozenset({"lifecycle/restarts_on_the_same_port_at_once"}),
        file="server.py",
    ),
    Mutant(
        "waits_for_idle_connections",
        "A connection that is kept alive counts as work, and is waited for.",
        "        if client.idle:\n            task.cancel()\n",
        "        if client.idle:\n            await asyncio.sleep(6)\n            task.cancel()\n",
        frozenset({"lifecycle/restarts_on_the_same_port_at_once"}),
        file="server.py",
    ),
    Mutant(
        "leaves_a_helper_running",
        "A helper process is started, and nobody stops it.",
        "    asyncio.run(serve(app, options.host, options.port))\n",
        """\
    __import__("subprocess").Popen(["sleep", "20"])
    asyncio.run(serve(app, options.host, options.port))
""",
        frozenset({"lifecycle/exit_leaves_no_child"}),
        file="server.py",
    ),
    Mutant(
        "starts_a_helper_when_it_stops",
        "SIGTERM starts a helper process, which outlives the server.",
        STOP,
        f"""\
{STOP}\
        __import__("subprocess").Popen(["sleep", "20"])
""",
        frozenset({"lifecycle/exit_leaves_no_child"}),
        file="server.py",
    ),
]

DRAINING = [
    Mutant(
        "drops_requests_in_flight",
        "SIGTERM ends every connection but the open sockets.",
        "        if client.idle:\n",
        "        if client.socket is None:\n",
        frozenset({"lifecycle/sigterm_finishes_request_in_flight"}),
        file="server.py",
    ),
    Mutant(
        "hardly_waits",
        "What is in flight at SIGTERM gets a tenth of a second.",
        "timeout=GRACE)\n",
        "timeout=0.1)\n",
        frozenset({"lifecycle/sigterm_finishes_request_in_flight"}),
        file="server.py",
    ),
    Mutant(
        "waits_for_one_of_many",
        "The first of the answers in flight is waited for, and the others are cut.",
        "timeout=GRACE)\n",
        "timeout=GRACE, return_when=asyncio.FIRST_COMPLETED)\n",
        frozenset({"lifecycle/sigterm_finishes_request_in_flight"}),
        file="server.py",
    ),
    Mutant(
        "serves_until_the_last_answer",
        "While requests are being finished, new ones are served.",
        STOP,
        """\
        await stopping.wait()
        stopping.clear()
        await stop(clients)
        listener.close()
""",
        frozenset({"lifecycle/stops_accepting_while_draining"}),
        file="server.py",
    ),
    Mutant(
        "waits_for_streams_to_their_end",
        "The exit waits for what is in flight, however long it takes.",
        "timeout=GRACE)\n",
        "timeout=None)\n",
        frozenset(
            {
                "lifecycle/sigterm_with_deaf_socket_exits",
                "lifecycle/sigterm_with_open_stream_exits",
            }
        ),
        file="server.py",
    ),
    Mutant(
        "sockets_are_cut",
        "An open socket ends without a Close frame when the server stops.",
        CLOSES_SOCKETS,
        "            task.cancel()\n",
        frozenset({"lifecycle/sigterm_with_open_socket_exits_and_says_1001_or_1012"}),
        file="server.py",
    ),
    Mutant(
        "sockets_are_closed_with_1000",
        "A server that stops says that the conversation was over.",
        'socket.close(1012, "the server stops")',
        "socket.close(1000)",
        frozenset({"lifecycle/sigterm_with_open_socket_exits_and_says_1001_or_1012"}),
        file="server.py",
    ),
]

LEAVING = [
    Mutant(
        "never_learns_that_a_client_left",
        "A stream neither looks whether its client is there nor sends pings.",
        RACES,
        """\
    async for chunk in events:
        if not chunk.startswith(":"):
            await stream_chunk(send, chunk)
    await send({"type": "http.response.body"})


async def stream_chunk(send: Send, chunk: str) -> None:
    await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
""",
        LOSES_STREAMS | {"sse/ping_breaks_silence", "sse/ping_interval_is_configurable"},
    ),
    Mutant(
        "keeps_a_thread_for_a_stream",
        "A stream starts a thread that outlives it.",
        RACES,
        """\
    threading, time = __import__("threading"), __import__("time")
    threading.Thread(target=time.sleep, args=(20,), daemon=True).start()
    await until_disconnect(receive, stream(send, events))
""",
        LOSES_STREAMS,
    ),
    Mutant(
        "keeps_a_file_for_a_stream",
        "A stream leaves its log file open.",
        RACES,
        f"""\
    await until_disconnect(receive, stream(send, events))
    {OPEN_A_FILE}
""",
        LOSES_STREAMS,
    ),
    Mutant(
        "leaks_when_left_in_mid_head",
        "A client that leaves in the middle of a head leaves an open file.",
        READ_HEAD,
        f"""\
                    if not (data := await self.read()):
                        {OPEN_A_FILE} if self.buffer else None
                        break
                    self.buffer += data
""",
        frozenset({"lifecycle/two_hundred_connections_leave_no_descriptors"}),
        file="server.py",
    ),
    Mutant(
        "leaks_when_reset",
        "A client that leaves by RST leaves an open file.",
        '        except OSError:\n            data = b""\n',
        f'        except OSError:\n            {OPEN_A_FILE}\n            data = b""\n',
        LOSES_STREAMS
        | {
            "lifecycle/two_hundred_connections_leave_no_descriptors",
            "websocket/abrupt_drop_frees_the_handler",
            "websocket/half_a_frame_then_gone",
        },
        file="server.py",
    ),
    Mutant(
        "logs_a_reset_as_an_error",
        "A client that leaves by RST puts a traceback into the log.",
        '        except OSError:\n            data = b""\n',
        '        except OSError:\n            traceback.print_exc()\n            data = b""\n',
        frozenset({"lifecycle/no_traceback_in_the_log"}),
        file="server.py",
    ),
    Mutant(
        "takes_a_left_stream_for_a_fault",
        "An app that ends no response, for nobody is there to read it, is told off in the log.",
        """\
        if not self.ended:
            self.client.writer.transport.abort()  # half a response must not look like a whole one
""",
        """\
        if not self.ended:
            raise RuntimeError("the app did not end its response")
""",
        frozenset({"lifecycle/no_traceback_in_the_log"}),
        file="server.py",
    ),
]

MUTANTS = STARTING + STOPPING + DRAINING + LEAVING
