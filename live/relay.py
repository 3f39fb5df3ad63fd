"""Passes on what a stack answers, as it comes, and leaves the stack when the browser leaves.

A browser opens six connections to an address, so every stack is relayed on a port of its own.
"""

from __future__ import annotations

from collections import defaultdict

import anyio
import httpx2 as httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

import stacks
from live.fleet import Served

PASSED_TO_THE_STACK = ("accept", "authorization", "content-type", "last-event-id")
PASSED_TO_THE_BROWSER = ("cache-control", "content-type", "retry-after", "x-accel-buffering")


class Relay:
    """The connections that are open to each stack."""

    def __init__(self) -> None:
        self.open: defaultdict[str, set[anyio.CancelScope]] = defaultdict(set)
        # A stream may be silent for longer than any time-out, and each stack answers many at once.
        self.client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            timeout=None,
            trust_env=False,
            verify=False,
        )

    def cut(self, name: str) -> int:
        """Drop a stack's connections in the middle; return how many there were."""
        scopes = list(self.open[name])
        for scope in scopes:
            scope.cancel()
        return len(scopes)

    async def request(self, request: Request, served: Served, path: str) -> Response:
        """Return what passes on the stack's answer to a request for `path`."""
        headers = {k: v for k, v in request.headers.items() if k in PASSED_TO_THE_STACK}
        # Nothing that holds a token back to compress it.
        headers["accept-encoding"] = "identity"
        question = self.client.build_request(
            request.method,
            f"http://{stacks.HOST}:{served.port}{path}?{request.url.query}",
            content=await request.body() or None,
            headers=headers,
        )
        return Relayed(self, served, question)


class Relayed(Response):
    """An answer that is asked for when it is sent.

    One that breaks off is broken off here too: it must not look like an end.
    """

    def __init__(self, relay: Relay, served: Served, question: httpx.Request):
        super().__init__()
        self.relay = relay
        self.served = served
        self.question = question

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scopes = self.relay.open[str(self.served.stack)]
        async with anyio.create_task_group() as group:
            scopes.add(group.cancel_scope)
            try:
                group.start_soon(self._pass_on, scope, receive, send, group.cancel_scope)
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()
            finally:
                scopes.discard(group.cancel_scope)

    async def _pass_on(
        self, scope: Scope, receive: Receive, send: Send, ended: anyio.CancelScope
    ) -> None:
        started = False
        try:
            answer = await self.relay.client.send(self.question, stream=True)
            try:
                await send(self._head(answer))
                started = True
                async for chunk in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                with anyio.CancelScope(shield=True):
                    await answer.aclose()
        except httpx.HTTPError as error:
            if not started:
                message = f"{self.served.stack} is {self.served.state}: {error}"
                refusal = JSONResponse({"error": {"message": message}}, 502)
                await refusal(scope, receive, send)
        ended.cancel()

    @staticmethod
    def _head(answer: httpx.Response) -> dict[str, object]:
        headers = [(k.lower(), v) for k, v in answer.headers.raw]
        kept = [(k, v) for k, v in headers if k.decode() in PASSED_TO_THE_BROWSER]
        return {"type": "http.response.start", "status": answer.status_code, "headers": kept}
