"""A real, small language model behind the relay: the tokens of no test."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from conformance.completions import ask, post, said
from conformance.conftest import Start
from conformance.upstream import DONE
from stacks import Running, Stack, serve

pytestmark = pytest.mark.needs("chat")

PROMPT = {
    "model": "smollm2",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "temperature": 0,
    "max_tokens": 24,
}
READY_WITHIN = 30.0


@pytest.fixture(scope="session", params=["model"])
def model() -> Iterator[Running]:
    """The model, up and answering."""
    stack = Stack(
        app="SmolLM2",
        server="cyllama",
        title="SmolLM2",
        interface="ASGI",
        command=(sys.executable, "-m", "witnesses.model", "--port", "{port}"),
    )
    with serve(stack) as running:
        deadline = time.monotonic() + READY_WITHIN
        while not lists_models(running):
            assert running.process.poll() is None, f"the model exited:\n{running.output}"
            assert time.monotonic() < deadline, f"the model is not ready:\n{running.output}"
            time.sleep(0.05)
        yield running


def lists_models(running: Running) -> bool:
    try:
        return httpx.get(f"{running.url}/v1/models", trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.mark.case("R4", "OpenAI API reference, Chat Completions and Models")
def test_speaks_through_the_relay(model: Running, start: Start) -> None:
    """What a real model says comes token by token, and is what it answers whole, asked itself."""
    # How fast a real model is depends on the machine, and nothing here.
    patient = {"UPSTREAM_BASE_URL": f"{model.url}/v1", "UPSTREAM_TIMEOUT": "60"}
    with start(environ=patient) as running:
        asked = f"{model.url}/v1/chat/completions"
        itself = httpx.post(asked, json=PROMPT, trust_env=False, timeout=60)
        wanted = text_of(itself.json()["choices"][0]["message"])
        whole = post(running, PROMPT)
        with ask(running, PROMPT | {"stream": True}) as stream:
            events = stream.events_to_the_end()
        models = httpx.get(f"{running.url}/v1/models", trust_env=False).json()

    assert events[-1].data == DONE, f"the stream ended with {events[-1].data!r}, wanted [DONE]"
    tokens = [text_of(said(event)["choices"][0]["delta"]) for event in events[:-1]]
    assert "".join(tokens) == wanted, f"streamed {''.join(tokens)!r}, wanted {wanted!r}"
    assert len([token for token in tokens if token]) > 10, f"it came as {tokens}, wanted tokens"
    assert wanted.encode()[:20] in whole.body, f"answered {whole.body!r}, wanted {wanted!r}"
    assert models["data"], f"the models are {models}, wanted some"


def text_of(message: dict[str, Any]) -> str:
    return message.get("content") or ""
