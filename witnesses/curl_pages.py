"""curl, as its manual reads a page or a stream; see witness.py for what this reads."""

import json
import subprocess
import sys


def main() -> None:
    tell(ready=True)
    for line in sys.stdin:
        scene, _, on = line.partition(" ")
        SCENES[scene](json.loads(on))
        tell(ready=True)


def listen(url: str) -> None:
    with curl("--no-buffer", url) as process:
        assert process.stdout is not None
        name, data = "message", list[str]()
        for line in process.stdout:
            field, _, value = line.decode().removesuffix("\n").partition(": ")
            if not field and data:
                tell(event=name, data="\n".join(data))
                name, data = "message", []
            elif field == "event":
                name = value
            elif field == "data":
                data.append(value)
    tell_end(process.returncode)


def get(url: str) -> None:
    with curl("--write-out", "\n%{http_code}", url) as process:
        assert process.stdout is not None
        body, _, status = process.stdout.read().decode().rpartition("\n")
    tell(status=int(status), body=body)


def curl(*options: str) -> subprocess.Popen[bytes]:
    command = ("curl", "--silent", "--show-error", "--noproxy", "*", *options)
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def tell_end(status: int) -> None:
    if status:
        tell(error=f"curl exited with {status}")
    else:
        tell(over=True)


def tell(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


SCENES = {"listen": listen, "get": get}

main()
