"""The page and what it asks for: who serves it, how the stacks are, and the stacks themselves."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import httpx2 as httpx
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from live.fleet import Fleet, Served
from live.relay import Relay

HERE = Path(__file__).parent
HOSTS = ("127.0.0.1", "localhost")
MODEL_ANSWERS_WITHIN = 3.0

templates = Jinja2Templates(HERE / "templates")


def origins(port: int) -> list[str]:
    """Return the origins that the page may have in a browser, given its port."""
    return [f"http://{host}:{port}" for host in HOSTS]


def application(fleet: Fleet, own_origins: Sequence[str]) -> Starlette:
    """Return the app that serves the page of a fleet."""
    relay = Relay()

    def find(request: Request) -> Served:
        try:
            return fleet.served[request.path_params["name"]]
        except KeyError:
            known = ", ".join(fleet.served)
            raise HTTPException(404, f"no such stack; known: {known}") from None

    async def page(request: Request) -> Response:
        served_by = f"Starlette {version('starlette')} on uvicorn {version('uvicorn')}"
        context = {"served": fleet.served.values(), "served_by": served_by}
        return templates.TemplateResponse(request, "live.html", context)

    async def status(request: Request) -> Response:
        return StreamingResponse(
            [] if request.method == "HEAD" else status_events(fleet),
            headers={"cache-control": "no-store"},
            media_type="text/event-stream",
        )

    async def model(request: Request) -> Response:
        return JSONResponse(await ask_for_models(), headers={"cache-control": "no-store"})

    async def control(request: Request) -> Response:
        # A page on another origin may send a POST, though it never reads the answer.
        if request.headers.get("origin", own_origins[0]) not in own_origins:
            raise HTTPException(403, "not for pages on other origins")
        served = find(request)
        match request.path_params["action"]:
            case "start":
                served.start()
            case "stop":
                served.stop()
            case "kill":
                await run_in_threadpool(served.kill)
            case "cut":
                return JSONResponse({"cut": relay.cut(str(served.stack))})
            case action:
                raise HTTPException(404, f"no action {action!r}; known: start, stop, kill, cut")
        return JSONResponse(served.status, 202)

    async def relayed(request: Request) -> Response:
        path = request.url.path.removeprefix(f"/stacks/{request.path_params['name']}")
        return await relay.request(request, find(request), path)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with relay.client:
            yield

    return Starlette(
        lifespan=lifespan,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
            # The page reads what comes by the stacks' ports, and no other page does.
            Middleware(CORSMiddleware, allow_origins=own_origins, allow_methods=["GET", "POST"]),
        ],
        routes=[
            Route("/", page),
            Route("/status", status),
            Route("/model", model),
            Mount("/static", StaticFiles(directory=HERE / "static")),
            Route("/stacks/{name}/sse", relayed),
            Route("/stacks/{name}/poll", relayed),
            Route("/stacks/{name}/v1/chat/completions", relayed, methods=["POST"]),
            Route("/stacks/{name}/{action}", control, methods=["POST"]),
        ],
    )


async def status_events(fleet: Fleet) -> AsyncIterator[str]:
    async for statuses in fleet.changes():
        yield f"data: {json.dumps(statuses)}\n\n"


async def ask_for_models() -> dict[str, str | None]:
    """Return the name of the model that UPSTREAM_BASE_URL has, or the fault that keeps it from us."""
    # The same as the apps ask.
    url = os.environ.get("UPSTREAM_BASE_URL", "http://127.0.0.1:9000/v1")
    key = os.environ.get("UPSTREAM_API_KEY")
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        async with httpx.AsyncClient(timeout=MODEL_ANSWERS_WITHIN, trust_env=False) as client:
            answer = await client.get(f"{url}/models", headers=headers)
            answer.raise_for_status()
            return {"url": url, "model": answer.json()["data"][0]["id"], "fault": None}
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        fault = f"{type(error).__name__}: {error}".rstrip(": ")
        return {"url": url, "model": None, "fault": fault}
