"""Serves the sidecar: Flask on gunicorn, Starlette on uvicorn, nginx before both.

    python serve.py HOST PORT

Each listens on a socket that is there before anything is started, so nobody has to wait for anybody.
When one of the three ends, or on SIGTERM, all end, and have 3 s for what is under way.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CONFIG = Path(__file__).with_name("nginx.conf")

# The flags are those of servers.toml, with their reasons there, but for one: websockets-sansio ends
# the connection at once behind Close, and what it had not read then makes nginx lose the Close. The
# older implementation reads on first. It is deprecated, so look again when it goes.
GUNICORN = [
    *("gunicorn", "app:app", "--bind", "fd://{fd}"),
    *("--worker-class", "gthread", "--threads", "100", "--graceful-timeout", "3"),
    *("--limit-request-line", "8190", "--no-control-socket"),
]
UVICORN = [
    *("uvicorn", "app:sidecar", "--fd", "{fd}"),
    *("--ws", "websockets", "--ws-max-size", "1048576"),
    *("--timeout-graceful-shutdown", "3", "--no-access-log"),
]


def main(host: str, port: str) -> None:
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if nginx is None:
        sys.exit("error: nginx is not installed: apt-get install nginx")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with tempfile.TemporaryDirectory(prefix="sidecar-") as folder:
        config = configure(Path(folder), host, port)
        door = [nginx, "-p", folder, "-c", config, "-e", "stderr"]
        if os.getuid() == 0:  # it would work as another user, who has no way into the folder
            door += ["-g", "user root;"]
        with (
            behind(f"{folder}/flask.sock", GUNICORN) as flask,
            behind(f"{folder}/starlette.sock", UVICORN) as starlette,
            running(door, signal.SIGQUIT, cwd=folder) as before,
        ):
            try:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                for process in (flask, starlette, before):
                    if process.poll() is not None:
                        sys.exit(f"error: {process.args!r} exited with {process.returncode}")
            finally:
                # nginx first, so that it takes no more before the others refuse.
                before.send_signal(signal.SIGQUIT)
                starlette.terminate()
                flask.terminate()


def configure(folder: Path, host: str, port: str) -> str:
    config = folder / "nginx.conf"
    text = CONFIG.read_text()
    config.write_text(text.replace("{host}", host).replace("{port}", port))
    return str(config)


@contextmanager
def behind(path: str, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server that accepts what comes to the Unix socket at `path`."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(2048)
        descriptor = listener.fileno()
        command = [word.replace("{fd}", str(descriptor)) for word in command]
        with running(command, pass_fds=[descriptor]) as process:
            listener.close()
            yield process


@contextmanager
def running(
    command: Sequence[str],
    stop: signal.Signals = signal.SIGTERM,
    *,
    cwd: str | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=cwd, pass_fds=pass_fds)
    try:
        yield process
    finally:
        process.send_signal(stop)
        process.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
