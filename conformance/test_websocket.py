"""`/ws`: text is echoed, one message for one message, and nothing else is said."""

from __future__ import annotations

import unicodedata
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.sockets import LIMIT, opened, shown
from conformance.wire import Address, Closed, exchange
from stacks import Stack

pytestmark = pytest.mark.needs("websocket")

# Short: it only has to outlast what a server says at once.
SILENCE = 0.2

DELICATE = (
    "é",
    "日本語",
    "😀👩‍👩‍👧‍👦🏳️‍🌈",
    "\U0010ffff\U0001f600\uffff\ufffe\ufdd0",
    "\0",
    "a\0b\0",
    "\r\n",
    "one\r\ntwo\rthree\nfour\n",
    "\n\n",
    unicodedata.normalize("NFD", "Ångström é"),
    unicodedata.normalize("NFC", "Ångström é"),
    "\u212b\ufb01\u2126",
    "\ufeff",
    "\ufeffin front\ufeff",
    "\u2028\u2029\x85\v\f\x1c",
    " ",
    "  blanks at both ends\t ",
    "\t\n in front and behind \n\t",
    "\u00a0\u3000no-break\u3000\u00a0",
    "\x01\x1b[31m\x7f\x9f",
    "\u202eright to left\u202c\u200b",
    "echo: ",
    "echo: twice",
    '{"text": "json", "n": 1.0}',
    '"quoted"',
    "null",
    "0",
    "1e3",
    "ping",
    "close",
    "<b>&amp;</b>",
    "%41%00+%s{}{0}$1",
    "\\n\\u0041\\\\",
    "data: x\n\nevent: done",
    "ẞßİı",
)


@pytest.mark.case("W1", "SPEC.md")
def test_echoes_with_prefix(server: Address) -> None:
    """A text message m is answered by the text message `echo: ` + m."""
    with opened(server) as socket:
        socket.assert_echo("hello")
        socket.assert_echo("Hello, World")


@pytest.mark.case("W1", "SPEC.md, RFC 6455 5.6")
def test_empty_message(server: Address) -> None:
    """An empty message is a message: its echo is the bare prefix."""
    with opened(server) as socket:
        for text in ("", "", "then this", ""):
            socket.assert_echo(text)


@pytest.mark.case("W2", "RFC 6455 5.6 and 8.1")
def test_text_is_byte_exact(server: Address) -> None:
    """Any text comes back as it was, to the byte."""
    with opened(server) as socket:
        for text in DELICATE:
            socket.assert_echo(text)

    characters = st.characters(exclude_categories=["Cs"])

    @given(st.lists(st.text(characters, max_size=40), min_size=1, max_size=4))
    def any_texts_come_back(texts: list[str]) -> None:
        with opened(server) as socket:
            for text in texts:
                socket.assert_echo(text)

    any_texts_come_back()


@pytest.mark.case("W3", "RFC 6455 5.2", decides="both")
def test_lengths_at_every_frame_size(server: Address) -> None:
    """A message is whole on both sides of each length where its frame or the reply's changes."""
    with opened(server) as socket:
        for length in (1, 119, 120, 121, 125, 126, 127, 128, 65529, 65530, 65535, 65536, 65537):
            socket.assert_echo(numbered(length))
            socket.assert_echo(wide(length))


@pytest.mark.case("W4", "SPEC.md", decides="both")
def test_exactly_1_mib_is_echoed(server: Address) -> None:
    """A message of 1 MiB is within the limit, and its reply is due though it is longer."""
    with opened(server) as socket:
        for text in (numbered(LIMIT), wide(LIMIT), "😀" * (LIMIT // 4)):
            socket.assert_echo(text)
        socket.assert_echo(numbered(LIMIT // 2), numbered(LIMIT - LIMIT // 2))


@pytest.mark.case("W4", "RFC 6455 7.4.1, OWASP ASVS 5.0 4.4.2", decides="both")
def test_limit_counts_bytes_of_the_whole_message(server: Address) -> None:
    """One byte over 1 MiB is 1009, however few characters that are and in whatever fragments."""
    for first, last in ((numbered(LIMIT - 1), "ab"), (wide(LIMIT - 1), "ab"), (wide(LIMIT), "a")):
        with opened(server) as socket:
            # The frame that goes over the limit is a small one, so the server has read all that was
            # sent when it closes, and no reset can overtake its Close.
            with suppress(Closed):  # the client's own last frame, an empty one, may come late
                socket.send(first, last)
            code = socket.receive_close()

        size = len(first) + len(last)
        assert code == 1009, f"1 MiB and a byte in {size} characters gave {code}, wanted 1009"


@pytest.mark.case("W5", "RFC 6455 5.4", decides="both")
def test_order_of_100_pipelined(server: Address) -> None:
    """100 messages that do not wait for their replies are answered in their order."""
    texts = [f"{number} " + "x" * (1000 - 10 * number) for number in range(100)]
    with opened(server) as socket:
        for text in texts:
            socket.send(text)
        for text in texts:
            socket.assert_next(text)


@pytest.mark.case("W5", "SPEC.md")
def test_a_thousand_messages_on_one_socket(server: Address) -> None:
    """A socket does not wear out: the thousandth message is answered like the first."""
    with opened(server) as socket:
        for start in range(0, 1000, 50):
            batch = [f"message {number}" for number in range(start, start + 50)]
            for text in batch:
                socket.send(text)
            for text in batch:
                socket.assert_next(text)


@pytest.mark.case("W5", "SPEC.md")
def test_nothing_before_first_message(server: Address) -> None:
    """The client speaks first: nothing is sent before its first message, also to a browser."""
    own = f"http://{server.host}:{server.port}"
    with opened(server) as program, opened(server, origin=own) as browser:
        for socket in (program, browser):
            assert socket.stays_silent(SILENCE), "saw a message or the end, wanted silence"
            socket.assert_echo("first")


@pytest.mark.case("W5", "SPEC.md")
def test_one_reply_per_message(server: Address) -> None:
    """Each message gets one reply, equal ones too, and nothing follows the last."""
    with opened(server) as socket:
        for text in ("same", "same", "", "same", "two\nlines", "a; b"):
            socket.assert_echo(text)

        assert socket.stays_silent(SILENCE), "saw more behind the last reply, wanted silence"
        socket.assert_echo("same")


@pytest.mark.case("W6", "SPEC.md")
def test_no_cross_talk(server: Address) -> None:
    """50 sockets that are open at once get their own replies and nobody else's."""
    with ExitStack() as exits:
        sockets = [exits.enter_context(opened(server)) for _ in range(50)]
        for turn in ("first", "second", "third"):
            for number, socket in enumerate(sockets):
                socket.send(f"{turn} of {number}")
            for number, socket in reversed(list(enumerate(sockets))):
                socket.assert_next(f"{turn} of {number}")


@pytest.mark.case("W6", "SPEC.md")
def test_idle_socket_blocks_nobody(server: Address) -> None:
    """Sockets that say nothing hold up neither the others nor themselves."""
    with opened(server) as silent, opened(server) as quiet:
        quiet.assert_echo("once")
        with opened(server) as busy:
            for number in range(10):
                busy.assert_echo(f"busy {number}")
        quiet.assert_echo("once more")
        silent.assert_echo("at last")


@pytest.mark.case("W6", "SPEC.md")
def test_hello_works_while_sockets_are_open(server: Address, stack: Stack) -> None:
    """`GET /` is answered beside 20 sockets, and they go on."""
    wanted = f"Hello from {stack.title} ({stack.interface})!".encode()
    with ExitStack() as exits:
        sockets = [exits.enter_context(opened(server)) for _ in range(20)]
        for socket in sockets:
            socket.assert_echo("before")
        for socket in sockets:
            socket.send("beside")
        response = exchange(server)
        for socket in sockets:
            socket.assert_next("beside")

    seen = (response.status, response.body)
    assert seen == (200, wanted), f"GET / gave {seen}, wanted {(200, wanted)}"


@pytest.mark.case("W7", "RFC 6455 5.6 and 7.4.1")
def test_binary_is_1003(server: Address) -> None:
    """A binary message closes with 1003 and is not echoed, also an empty one or one of UTF-8."""
    utf8 = "é😀".encode()
    for data in (
        (b"\0\xff\xfe",),
        (b"plain text",),
        (utf8,),
        (b"",),
        (bytes(70000),),
        (utf8, b"a"),
    ):
        with opened(server) as fresh, opened(server) as used:
            used.assert_echo("text first")
            for socket in (fresh, used):
                with suppress(Closed):  # a server need not wait for the last fragment
                    socket.send(*data)
                code = socket.receive_close()

                assert code == 1003, f"binary {shown(data[0])} gave {code}, wanted 1003"


COUNT = "".join(f"{number}," for number in range(1000))


def numbered(size: int) -> str:
    """Return ASCII text of `size` bytes that shows a cut, a gap or a doubled piece."""
    return (COUNT * (size // len(COUNT) + 1))[:size]


def wide(size: int) -> str:
    """Return text of `size` bytes in UTF-8, nearly all of it characters of three bytes."""
    return "€" * (size // 3) + numbered(size % 3)
