"""Runs a server with nginx in front of it, as one: `nginx.py CONF HOST PORT UPSTREAM COMMAND …`.

nginx listens on HOST:PORT once the command does so on HOST:UPSTREAM. SIGTERM stops both, and neither
goes on without the other.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")


def main(template: str, host: str, port: str, upstream: str, *command: str) -> None:
    """Serve until both have ended."""
    if NGINX is None:
        sys.exit("nginx is not installed: apt-get install -y nginx-light")
    app = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: app.terminate())
    while app.poll() is None and not listens(host, int(upstream)):
        time.sleep(0.01)
    if app.returncode is not None:
        sys.exit(app.returncode)
    folder = Path(tempfile.mkdtemp())
    text = Path(template).read_text()
    for name, value in {"host": host, "port": port, "upstream": upstream}.items():
        text = text.replace(f"{{{name}}}", value)
    (folder / "nginx.conf").write_text(text)
    # A master that is root would have workers of another user, who must not enter the folder.
    user = f"user {pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name};"
    nginx = subprocess.Popen(
        [NGINX, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr", "-g", user]
    )

    def stop(*_: object) -> None:
        nginx.send_signal(signal.SIGQUIT)  # finishes what is in flight; SIGTERM would not
        app.terminate()

    signal.signal(signal.SIGTERM, stop)
    os.wait()
    stop()
    for process in (nginx, app):
        process.wait()
    shutil.rmtree(folder)


def listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port)):
        return True
    return False


if __name__ == "__main__":
    main(*sys.argv[1:])
