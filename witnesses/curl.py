"""curl, as its manual reads a stream; see witness.py for what this reads."""

import json
import subprocess
import sys
from typing import Any

URL = f"{sys.argv[1]}/chat/completions"
MESSAGES = [{"role": "user", "content": "Say something."}]


def main() -> None:
    tell(ready=True)
    for line in sys.stdin:
        SCENES[line.strip()]()
        tell(ready=True)


def stream(*, leaves: bool = False) -> None:
    with curl(stream=True) as process:
        assert process.stdout is not None and process.stderr is not None
        rest = ""
        for line in process.stdout:
            name, _, data = line.rstrip("\r\n").partition(": ")
            if name == "data" and data == "[DONE]":
                tell(end=True)
            elif name == "data":
                tell_chunk(json.loads(data))
                if leaves:
                    process.terminate()
            elif not line.startswith(":"):  # not a comment
                rest += line
        status = process.stderr.read()
    if rest.strip():
        tell_chunk(json.loads(rest), int(status))
    if process.returncode > 0:
        tell(error=f"curl exited with {process.returncode}", kind="curl", status=None)


def leave() -> None:
    stream(leaves=True)


def whole() -> None:
    with curl(stream=False) as process:
        assert process.stdout is not None
        tell_chunk(json.load(process.stdout))


def curl(*, stream: bool) -> subprocess.Popen[str]:
    body = json.dumps({"model": "suite", "messages": MESSAGES, "stream": stream})
    return subprocess.Popen(
        [
            *("curl", "--silent", "--no-buffer", "--noproxy", "*"),
            *("--write-out", "%{stderr}%{http_code}"),
            *("--json", body, URL),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def tell_chunk(chunk: dict[str, Any], status: int | None = None) -> None:
    if "error" in chunk:
        error = chunk["error"]
        tell(error=error["message"], kind=error["type"], status=status)
    for choice in chunk.get("choices", ()):
        if "message" in choice:
            tell(answer=choice["message"]["content"])
        elif "content" in choice["delta"]:
            tell(token=choice["delta"]["content"])


def tell(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


SCENES = {"stream": stream, "leave": leave, "whole": whole}

main()
