"""What websocket-client does not promise in its manual, and we rely upon (seen in 1.8 and 1.9)."""

from __future__ import annotations

from typing import Any, NamedTuple

from websocket._handshake import _get_handshake_headers
from websocket._url import parse_url

__all__ = ["Target", "handshake_lines", "target_of"]


class Target(NamedTuple):
    """What ``connect`` gives beside the socket."""

    host: str
    port: int
    resource: str


def target_of(url: str) -> Target:
    """Where a URL leads.

    Raises:
        ValueError: It is none.
    """
    host, port, resource, _ = parse_url(url)
    return Target(host, port, resource)


def handshake_lines(url: str, options: dict[str, Any]) -> list[tuple[str, str]]:
    """The header lines of the opening handshake, as ``handshake`` makes them."""
    host, port, resource = target_of(url)
    lines, _ = _get_handshake_headers(resource, url, host, port, options)
    parted = [line.partition(":") for line in lines[1:] if line]
    return [(name, value.strip()) for name, _, value in parted]
