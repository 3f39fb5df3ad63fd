"""The stacks of the page: each is started, stopped and killed by itself, and none waits for another."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Literal, TypedDict

import psutil

import stacks

State = Literal["starting", "running", "stopping", "stopped", "killed", "failed"]
ON: tuple[State, ...] = ("starting", "running", "stopping")

# All of them start at once, which takes longer than one by itself.
READY_WITHIN = 60.0


class Status(TypedDict):
    """What the page shows of a stack; `port` is its own, `relay` the one that its streams come by."""

    name: str
    state: State
    detail: str
    port: int
    relay: int
    lacks: dict[str, str]


class Served:
    """One stack, its address, which it keeps, and what becomes of it.

    A thread serves it and waits for its end, so a stack that hangs holds up nobody else.
    """

    def __init__(
        self,
        stack: stacks.Stack,
        environ: Mapping[str, str],
        changed: Callable[[], None],
    ):
        self.stack = stack
        self.environ = environ
        self.port = stacks.free_port()
        self.relay = stacks.free_port()
        self.state: State = "stopped"
        self.detail = ""
        self.thread: threading.Thread | None = None
        self._changed = changed
        self._lock = threading.Lock()
        self._running: stacks.Running | None = None
        self._asked: tuple[State, float] | None = None  # how it shall end, and since when

    @property
    def status(self) -> Status:
        return Status(
            name=str(self.stack),
            state=self.state,
            detail=self.detail,
            port=self.port,
            relay=self.relay,
            lacks={name: fault.reason for name, fault in self.stack.lacks.items()},
        )

    def start(self) -> None:
        """Have the stack started, unless it is on; return at once."""
        with self._lock:
            if self.state in ON:
                return
            self._asked = None
            self._become("starting", "installing what its lock says")
            self.thread = threading.Thread(target=self._serve, name=str(self.stack), daemon=True)
            self.thread.start()

    def stop(self) -> None:
        """Ask the stack to stop, as an operator does, and leave it the time that it takes."""
        self._end("stopped", "stopping", stacks.Running.terminate)

    def kill(self) -> None:
        """End the stack and its children at once."""
        self._end("killed", "stopping", stacks.Running.kill)

    def _end(self, last: State, now: State, how: Callable[[stacks.Running], None]) -> None:
        with self._lock:
            if self.state not in ON:
                return
            self._asked = (last, time.monotonic())
            self._become(now)
            running = self._running
        if running is not None:
            how(running)

    def _serve(self) -> None:
        try:
            ending = self._serve_until_it_ends()
        except (stacks.StackError, OSError) as error:
            ending = self._ending(str(error))
        with self._lock:
            self._running = None
            self._become(*ending)

    def _serve_until_it_ends(self) -> tuple[State, str]:
        stacks.install(self.stack)
        with stacks.serve(self.stack, port=self.port, environ=self.environ) as running:
            began = time.monotonic()
            with self._lock:
                if self._asked is not None:
                    return self._ending("")
                self._running = running
                self._become("starting")
            running.wait_until_ready(READY_WITHIN)
            with self._lock:
                if self._asked is None:
                    self._become("running", f"ready in {time.monotonic() - began:.1f} s")
            code = running.process.wait()
            tail = "\n".join(running.output.splitlines()[-20:])
            return self._ending(f"exited with {code}\n{tail}".strip())

    def _ending(self, fault: str) -> tuple[State, str]:
        if self._asked is None:
            return "failed", fault
        last, since = self._asked
        signal = "SIGTERM" if last == "stopped" else "SIGKILL"
        return last, f"{time.monotonic() - since:.2f} s after {signal}"

    def _become(self, state: State, detail: str = "") -> None:
        self.state, self.detail = state, detail
        self._changed()


class Fleet:
    """All stacks of the page, by name."""

    def __init__(self, chosen: Sequence[stacks.Stack], environ: Mapping[str, str]):
        self.closed = False
        self._listeners: set[Callable[[], None]] = set()
        self.served = {str(s): Served(s, environ, self._tell) for s in chosen}

    def start(self) -> None:
        for served in self.served.values():
            served.start()

    def close(self) -> None:
        """End every stack, and whatever is being installed; return when nothing is left."""
        self.closed = True
        self._tell()
        for served in self.served.values():
            served.kill()
        threads = [served.thread for served in self.served.values() if served.thread]
        while any(thread.is_alive() for thread in threads):
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            for thread in threads:
                thread.join(0.05)

    async def changes(self) -> AsyncIterator[list[Status]]:
        """Yield the status of all stacks now, and again whenever one has changed."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            loop.call_soon_threadsafe(changed.set)

        self._listeners.add(tell)
        try:
            while not self.closed:
                changed.clear()
                yield [served.status for served in self.served.values()]
                await changed.wait()
        finally:
            self._listeners.discard(tell)

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()
