"""Serves all stacks and their page until Ctrl-C: what `nox -s live` runs."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import webbrowser
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress

import uvicorn

import stacks
from live.fleet import Fleet
from live.page import application, origins


class Server(uvicorn.Server):
    """Ends the stacks before it waits for the page's streams, which would not end by themselves."""

    def __init__(self, fleet: Fleet, own_origins: Sequence[str]):
        self.fleet = fleet
        self.parent = os.getppid()
        app = application(fleet, own_origins)
        # Broken streams are what the page is there to show; each is cut off on purpose.
        logging.getLogger("uvicorn.error").addFilter(tells_no_broken_stream)
        config = uvicorn.Config(
            app,
            log_level="warning",
            timeout_graceful_shutdown=2,
            callback_notify=self.end_with_parent,
            timeout_notify=1,
        )
        super().__init__(config)

    async def end_with_parent(self) -> None:
        """Exit when nox is gone: SIGTERM ends it, and it passes none on."""
        if os.getppid() != self.parent:
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self.fleet.close)
        await super().shutdown(sockets)


def tells_no_broken_stream(record: logging.LogRecord) -> bool:
    return record.getMessage() != "ASGI callable returned without completing response."


def serve(
    chosen: Sequence[stacks.Stack], port: int | None = None, *, open_page: bool = False
) -> None:
    """Serve stacks and their page, on `port` or a free one, until a signal ends it."""
    if port is not None and not stacks.port_is_free(port):
        raise stacks.StackError(f"port {port} is taken; name another, or none to get a free one")
    port = port or stacks.free_port()
    own_origins = origins(port)
    with (
        closing(Fleet(chosen, {"ALLOWED_ORIGINS": ",".join(own_origins)})) as fleet,
        ExitStack() as exits,
    ):
        ports = [port, *(served.relay for served in fleet.served.values())]
        sockets = [exits.enter_context(socket.create_server((stacks.HOST, each))) for each in ports]
        fleet.start()
        print(f"{len(chosen)} stacks on {own_origins[0]}; Ctrl-C stops them", flush=True)
        if open_page:
            webbrowser.open(own_origins[0])
        Server(fleet, own_origins).run(sockets)


def choose(apps: str | None) -> list[stacks.Stack]:
    """Return the stacks of the apps that are named, with commas between, or of all."""
    names = stacks.app_names() if apps is None else [name.strip() for name in apps.split(",")]
    return [stacks.find(name) for name in dict.fromkeys(names)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve each app on its default server, and the page, until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="live")
    parser.add_argument("--apps", help="some apps, with commas between; all of them without it")
    parser.add_argument("--port", type=int, help="of the page; a free one without it")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    options = parser.parse_args(arguments)
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, lambda *_: sys.exit())  # so that what was started is ended
    try:
        with suppress(KeyboardInterrupt):
            serve(choose(options.apps), options.port, open_page=options.open)
    except stacks.StackError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
