"""A server that takes a line, burns a known amount of CPU time, and answers with a line.

    python burner.py PORT HASHES

What a figure is made of is known here, as it is of no real server.
"""

from __future__ import annotations

import hashlib
import socket
import sys

BLOCK = bytes(2048)


def main() -> None:
    port, hashes = map(int, sys.argv[1:])
    listener = socket.create_server(("127.0.0.1", port))
    print("listens", flush=True)
    while True:
        client, _ = listener.accept()
        with client:
            while line := client.recv(100):
                for _ in range(hashes):
                    hashlib.sha256(BLOCK).digest()
                client.sendall(line)


if __name__ == "__main__":
    main()
