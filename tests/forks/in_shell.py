"""Has a server run a program for a shell: a script that is run by its path, and imports nothing of the tests.

``in_shell.py SOCKET ARGUMENT …`` is what ``python ARGUMENT …`` is, with the streams, the environment and the folder
of the shell. It takes a twentieth of the time of most programs' start. SIGINT, SIGTERM and SIGABRT are the program's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGABRT)


def main(path: str, *arguments: str) -> int:
    """Ask, and wait for the program's end; gives its exit code as a shell has it."""
    # Until it is known whom they are for: the program may be seen before.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    folder = os.getcwd()  # noqa: PTH109
    asked = {"arguments": arguments, "environment": dict(os.environ), "folder": folder, "finalised": False}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        data = json.dumps(asked).encode() + b"\n"
        sent = socket.send_fds(connection, [data], [0, 1, 2])
        if sent < len(data):
            # Not of nothing: a program that has ended already has closed the other end.
            connection.sendall(data[sent:])
        with connection.makefile("rb") as answers:
            pid = int(answers.readline())
            for number in _PASSED_ON:
                signal.signal(number, lambda number, _: os.kill(pid, number))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            code = int(answers.readline())
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
