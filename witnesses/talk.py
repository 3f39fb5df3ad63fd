"""websocat or wscat, whichever the first argument says; see witness.py for what this reads."""

import json
import subprocess
import sys
from pathlib import Path

WSCAT = str(Path(__file__).parent / "node_modules" / ".bin" / "wscat")


def main() -> None:
    tell(ready=True)
    for line in sys.stdin:
        _, _, on = line.partition(" ")
        talk(**json.loads(on))
        tell(ready=True)


def talk(url: str, messages: list[str]) -> None:
    command, typed = {"websocat": websocat, "wscat": wscat}[sys.argv[1]](url, messages)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(typed.encode())
        process.stdin.flush()
        for _ in messages:
            if not (line := process.stdout.readline()):
                return tell(error=f"{sys.argv[1]} exited with {process.wait()}")
            tell(message=line.decode().removesuffix("\n"))
        process.terminate()
    tell(over=True)


def websocat(url: str, messages: list[str]) -> tuple[list[str], str]:
    """It sends a line it reads as a message; with -n it does not leave when there are no more."""
    return ["websocat", "-n", url], "".join(f"{message}\n" for message in messages)


def wscat(url: str, messages: list[str]) -> tuple[list[str], str]:
    """It drops lines that come before it is connected, so it is given them as what to execute."""
    given = [word for message in messages for word in ("--execute", message)]
    return [WSCAT, "--connect", url, "--wait", "-1", *given], ""


def tell(**seen: object) -> None:
    print(json.dumps(seen), flush=True)


main()
