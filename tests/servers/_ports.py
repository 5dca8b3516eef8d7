"""Ports for servers that are told theirs before they listen."""

from __future__ import annotations

import atexit
import random
import socket
from pathlib import Path

__all__ = ["free_port"]

_FIRST = 20_000
_LINUX_HAS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_ELSEWHERE_BEGINS = 49_152
"""Of the ports that systems choose themselves, by RFC 6335."""


def free_port() -> int:
    """A port of loopback at which nobody listens, and that nobody else is given while this process runs.

    A port that the system chose, and that was let go, is chosen again before the server listens: other tests open
    hundreds of servers meanwhile. So this one is none of those that systems choose. The other processes of the test
    run see it taken by a socket of UDP, which is held until this process ends and disturbs no server of TCP.
    """
    begins = int(_LINUX_HAS.read_text().split()[0]) if _LINUX_HAS.exists() else _ELSEWHERE_BEGINS
    # Where a system chooses from all of them, there is no better one.
    ports = range(_FIRST, begins if begins > _FIRST + 1_000 else 60_000)
    # Not the random numbers that tests seed: two processes may have the same seed.
    chance = random.SystemRandom()
    while True:
        port = chance.choice(ports)
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            held.bind(("127.0.0.1", port))
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            held.close()
        else:
            atexit.register(held.close)
            return port
