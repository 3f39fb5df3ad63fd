"""What no client should send: requests and frames that are nearly right, as Hypothesis makes them."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st

from conformance import frames

_METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS", b"get", b"", b"G\0T", b"PRI", b"A" * 9000)
_TARGETS = (
    *(b"/", b"/sse?text=a%20b&delay=0", b"/sse?delay=nan", b"/poll?text=a", b"/ws", b"/nowhere"),
    *(b"/v1/chat/completions", b"*", b"", b"//", b"/\xff", b"/%", b"/ /", b"http://x/", b"x:1"),
    *(b"/" + b"a" * 9000, b"/sse?text=" + b"%" * 500, b"/poll?after=" + b"9" * 5000),
)
_VERSIONS = (b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b" HTTP/1.1 x", b" http/1.1", b"")
_FIELDS = (
    *(b"Host: a", b"Host:", b"Host: a b", b"Host: \xff", b"Host : a", b"Connection: close"),
    *(b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c", b"Expect: 100-continue"),
    *(b"Content-Length: 3", b"Content-Length: -1", b"Content-Length: +3", b"Content-Length: 3, 3"),
    *(b"Content-Length: " + b"9" * 30, b"Content-Length: x", b"Transfer-Encoding: chunked"),
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: \x0bchunked", b"TE: trailers"),
    *(
        b"Last-Event-ID: \xe2\x82",
        b"Last-Event-ID: 1",
        b"Origin: null",
        b"Cookie: " + b"a=b;" * 900,
    ),
    *(b"X" * 9000 + b": 1", b"X: " + b"y" * 9000, b"X: \0", b": 1", b"no colon", b" folded"),
    *(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
    *(b"Content-Type: application/json", b"Range: bytes=0-,-1", b"Sec-WebSocket-Extensions: ;;="),
)
_BODIES = (
    *(b"", b"a=b", b"3\r\na=b\r\n0\r\n\r\n", b"3;x=y\r\na=b\r\n0\r\nTrailer: x\r\n\r\n"),
    *(b"zz\r\n", b"-1\r\n", b"f" * 17 + b"\r\n", b"3\r\na=bXX", b"3\r\na", b"0\r\n", b"\r\n\r\n"),
    *(b'{"messages": 1}', b'{"messages": [', b"[" * 900, b"\xff\xfe", b"GET / HTTP/1.1\r\n\r\n"),
)
_LINE_ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n")


@dataclass(frozen=True)
class Visit:
    """What one client sends, in pieces, and how it leaves."""

    pieces: tuple[bytes, ...]
    waits: bool
    resets: bool


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw a request of which any part may be wrong."""
    line = draw(st.sampled_from(_METHODS)) + b" " + draw(st.sampled_from(_TARGETS))
    fields = draw(st.lists(st.sampled_from(_FIELDS), max_size=6))
    end = draw(st.sampled_from(_LINE_ENDS))
    head = end.join([line + draw(st.sampled_from(_VERSIONS)), *fields, b"", b""])
    return head + draw(st.sampled_from(_BODIES))


@st.composite
def visits(draw: st.DrawFn) -> Visit:
    """Draw up to three requests on one connection, cut short or with a byte changed, in pieces."""
    data = b"".join(draw(st.lists(st.one_of(requests(), st.binary(max_size=40)), max_size=3)))
    if data and draw(st.booleans()):
        place = draw(st.integers(0, len(data) - 1))
        data = data[:place] + draw(st.binary(max_size=2)) + data[place + 1 :]
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    ends = [*cuts, len(data)]
    pieces = tuple(data[a:b] for a, b in zip([0, *cuts], ends, strict=True))
    return Visit(pieces, draw(st.booleans()), draw(st.booleans()))


_PAYLOADS = st.one_of(
    st.binary(max_size=140),
    st.sampled_from(
        [
            b"",
            b"\xff",
            b"caf\xc3",
            b"\xed\xa0\x80",
            b"\x03",
            b"\x03\xe8",
            b"\x03\xed",
            b"\0\0",
            b"a" * 70_000,
        ]
    ),
)
_LENGTHS = st.sampled_from([1, 125, 126, 65_536, 1 << 20, (1 << 31) - 1, 1 << 32, (1 << 63) - 1])


@st.composite
def any_frames(draw: st.DrawFn) -> bytes:
    """Draw a frame: any opcode, bits and payload, most of them masked."""
    return frames.frame(
        draw(st.sampled_from([0, 1, 1, 2, 8, 9, 10, 3, 11, 15])),
        draw(_PAYLOADS),
        fin=draw(st.booleans()),
        rsv=draw(st.sampled_from([0, 0, 0, frames.RSV1, frames.RSV2, 7])),
        masked=draw(st.sampled_from([True, True, True, False])),
    )


@st.composite
def lying_frames(draw: st.DrawFn) -> bytes:
    """Draw the head of a frame that says more than comes, and a part of what it says."""
    head = frames.head(draw(st.sampled_from([0, 1, 2, 8, 9])), draw(_LENGTHS), mask=b"mask")
    return head + draw(st.binary(max_size=40))
