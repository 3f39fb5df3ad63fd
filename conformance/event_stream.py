"""Event streams as WHATWG HTML 9.2 reads them: bytes in, events out as soon as they are whole.

A lenient client hides faults, so this reader is strict where a browser repairs (UTF-8), and it
keeps what a browser throws away: comments, unknown fields, an event that the end cuts off.
"""

from __future__ import annotations

import codecs
import re
import time
import zlib
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Self

from conformance.tokens import target
from conformance.wire import (
    PATIENCE,
    Address,
    Closed,
    Connection,
    Headers,
    Reader,
    Response,
    Silence,
    WireError,
    request,
    tail,
)

_LINE_END = re.compile("\r\n|\r|\n")

type Field = tuple[str, str]


@dataclass(frozen=True)
class Event:
    """One event as it is dispatched. `fields` are its lines, in order, known or not."""

    name: str
    data: str
    last_event_id: str = ""
    fields: tuple[Field, ...] = field(default=(), compare=False)

    @property
    def id(self) -> str | None:
        """The id that this event itself carries, None where it has none."""
        return dict(self.fields).get("id")


class EventReader:
    """The parser of HTML 9.2.6.

    A CR ends its line at once; a LF that comes behind it, perhaps in the next chunk, belongs to it.
    An event counts once its blank line is there; what is unfinished at the end is dropped.
    """

    def __init__(self) -> None:
        self.comments: list[str] = []
        self.fields: list[Field] = []
        self.stray: list[Field] = []
        self.retry: int | None = None
        self.last_event_id = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._started = False
        self._after_cr = False
        self._line = ""
        self._block: list[Field] = []

    @property
    def unfinished(self) -> list[str]:
        """The lines behind the last blank line that are no comments."""
        lines = [f"{name}: {value}" for name, value in self._block]
        return lines + [line for line in [self._line] if line and not line.startswith(":")]

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return the events that they complete."""
        text = self._decode(data)
        if not text:
            return []
        if not self._started:
            self._started = True
            text = text.removeprefix("\ufeff")
        if self._after_cr:
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        *lines, self._line = _LINE_END.split(self._line + text)
        return [event for event in map(self._take, lines) if event is not None]

    def end(self) -> None:
        """Take the end of the stream; raise WireError where it cuts a character."""
        self._decode(b"", final=True)

    def _decode(self, data: bytes, *, final: bool = False) -> str:
        try:
            return self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            where = error.object[max(error.start - 20, 0) : error.end + 20]
            raise WireError(f"the stream holds {where!r}, wanted UTF-8") from None

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments.append(line[1:])
            return None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self.fields.append((name, value))
        self._block.append((name, value))
        if name == "retry" and re.fullmatch("[0-9]{1,18}", value):
            self.retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        block, self._block = self._block, []
        for name, value in block:
            if name == "id" and "\0" not in value:
                self.last_event_id = value
        data = [value for name, value in block if name == "data"]
        if not data:
            self.stray += block
            return None
        name = dict(block).get("event") or "message"
        return Event(name, "\n".join(data), self.last_event_id, tuple(block))


class Stream:
    """A request for an event stream on a connection of its own.

    The request leaves at once (`sent` is when), the head is read when first needed: many streams
    can be opened before the first is read.
    """

    def __init__(
        self,
        address: Address,
        target: str,
        headers: Headers = (),
        *,
        method: str = "GET",
        body: bytes | None = None,
        receive_buffer: int | None = None,
    ):
        self.target = f"{method} {target}"
        self.ended = False
        self.reader = EventReader()
        self.connection = Connection(address, receive_buffer=receive_buffer)
        self._http = Reader(self.connection)
        self._waiting: deque[Event] = deque()
        self.sent = time.monotonic()
        self.connection.send(request(address, method, target, headers, body))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.connection.close()

    @cached_property
    def head(self) -> Response:
        """The response without its body; raises WireError when it is not a stream."""
        head = self._http.head()
        if head.status != 200:
            raise WireError(f"{self.target[:80]} gave {head.status}, wanted 200")
        return head

    @cached_property
    def _unpack(self) -> zlib._Decompress | None:
        coding = (self.head.header("content-encoding") or "identity").lower()
        if coding not in ("identity", "gzip"):
            raise WireError(f"Content-Encoding is {coding!r}, wanted none, or gzip if offered")
        return zlib.decompressobj(wbits=31) if coding == "gzip" else None

    def next(self, within: float = PATIENCE) -> Event:
        """Return the next event; raise `Closed` where the stream ends instead."""
        if not self._read_until_waiting(within):
            raise Closed(f"the stream ended, wanted an event; it was {self.text}")
        return self._waiting.popleft()

    def events(self, within: float = PATIENCE) -> list[Event]:
        """Return the next event, one at least, and those behind it up to `done` or the end."""
        deadline = time.monotonic() + within
        found = [self.next(within)]
        while found[-1].name != "done" and self._read_until_waiting(deadline - time.monotonic()):
            found.append(self._waiting.popleft())
        return found

    def events_to_the_end(self, within: float = PATIENCE) -> list[Event]:
        """Return all events until the response ends; raise `Silence` when it does not."""
        deadline = time.monotonic() + within
        while not self.ended:
            self._read(deadline, "the end of the response")
        return self.at_hand()

    def read_until(self, moment: float) -> None:
        """Read whatever comes until a moment of the monotonic clock, or until the end."""
        with suppress(Silence):
            while not self.ended:
                self._read(moment, "more")

    def at_hand(self) -> list[Event]:
        """Take the events that are there already, without waiting for any."""
        self.read_until(time.monotonic())
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def comment(self, within: float = PATIENCE) -> str:
        """Return the next comment that has not come yet; events meanwhile are kept for `next`."""
        count = len(self.reader.comments)
        deadline = time.monotonic() + within
        while len(self.reader.comments) == count:
            if self.ended:
                raise Closed(f"the stream ended, wanted a comment; it was {self.text}")
            self._read(deadline, "a comment")
        return self.reader.comments[count]

    @property
    def text(self) -> str:
        """What came so far, as a message shows it."""
        return tail(self.connection.received)

    def _read_until_waiting(self, within: float) -> bool:
        deadline = time.monotonic() + within
        while not self._waiting and not self.ended:
            self._read(deadline, "an event")
        return bool(self._waiting)

    def _read(self, deadline: float, wanted: str) -> None:
        unpack = self._unpack
        within = deadline - time.monotonic()
        try:
            if within < -1:  # what is there already may be read, but a flood has an end
                raise Silence
            chunk = next(self._http.chunks(within), None)
        except Silence:
            raise Silence(f"{wanted} did not come in time; the stream was {self.text}") from None
        if chunk is None:
            self.ended = True
            return self.reader.end()
        try:
            plain = unpack.decompress(chunk) if unpack else chunk
        except zlib.error as error:
            raise WireError(f"the body is not the gzip it says ({error}): {self.text}") from None
        self._waiting += self.reader.feed(plain)


def listen(
    address: Address,
    *,
    text: str | None = None,
    delay: float | None = None,
    last_event_id: object = None,
    headers: Headers = (),
) -> Stream:
    """Open `GET /sse`; what is None is not sent."""
    resume = [] if last_event_id is None else [("Last-Event-ID", str(last_event_id))]
    return Stream(address, target("/sse", text=text, delay=delay), [*resume, *headers])


def read(
    address: Address,
    *,
    text: str | None = None,
    delay: float | None = 0,
    last_event_id: object = None,
) -> list[Event]:
    """Return the events of `GET /sse` up to `done`."""
    with listen(address, text=text, delay=delay, last_event_id=last_event_id) as stream:
        return stream.events()


def tokens(events: list[Event]) -> list[str]:
    """Return the data of the events that carry a token, whatever they are called."""
    return [event.data for event in events if event.name != "done"]
