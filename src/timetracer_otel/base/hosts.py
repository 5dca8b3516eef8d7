"""Where connections may go: the patterns of the setting ``live_hosts``, and the addresses that they allow.

A pattern is one of these:

- a host name or IP address, in which ``*``, ``?`` and ``[...]`` stand for characters as in file names:
  ``db.internal``, ``*.internal``, ``10.0.0.7``, ``::1``; any port counts;
- the same with a port: ``db.internal:5432``, ``*:6379``, ``[::1]:80``;
- a network in CIDR form (RFC 4632): ``10.0.0.0/8``, ``fd00::/8``;
- the path of a unix socket: ``/var/run/docker.sock``, ``/tmp/*.sock``; an abstract one begins with ``@``.

``localhost`` also stands for the loopback addresses, which it resolves to.
"""

# pyright: strict

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

__all__ = ["ALLOWED", "Address", "Hosts", "address_of_url"]

ALLOWED = (
    "hosts (* stands for any characters), host:port, networks such as 10.0.0.0/8, or paths of unix sockets, "
    "separated by commas"
)
"""What a pattern may be, for error texts."""

_Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
_LOCALHOST = frozenset({"localhost", "localhost.", "localhost.localdomain", "ip6-localhost"})


class Address(NamedTuple):
    """Where a connection goes to."""

    host: str
    """A name or an IP address; the path, for a unix socket."""
    port: str | None = None
    """A number or the name of a service; None where it is not known, and for a unix socket."""
    is_path: bool = False
    """Whether it is a unix socket."""

    @classmethod
    def parsed(cls, text: str) -> Address:
        """An address of text: ``host:port``, ``[::1]:80``, ``::1``, or a path."""
        if text.startswith(("/", "@", "\0")):
            return cls(f"@{text[1:]}" if text.startswith("\0") else text, is_path=True)
        host, port = _parts(text)
        return cls(host, port)

    def __str__(self) -> str:
        if self.is_path or self.port is None:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Hosts:
    """The patterns of one setting. Immutable, so safe from any thread.

    Args:
        patterns: As the module describes them.

    Raises:
        ValueError: A pattern is none of these.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._paths: list[str] = []
        self._hosts: list[tuple[str, str | None]] = []
        self._networks: list[_Network] = []
        for pattern in patterns:
            if pattern.startswith(("/", "@")):
                self._paths.append(pattern)
            elif "/" in pattern:
                self._networks.append(ipaddress.ip_network(pattern, strict=False))
            else:
                self._hosts.append(_checked(pattern))

    def __bool__(self) -> bool:
        return bool(self._paths or self._hosts or self._networks)

    @property
    def has_networks(self) -> bool:
        """Whether there are networks: of a name alone it is not known whether they allow it."""
        return bool(self._networks)

    @property
    def names(self) -> list[str]:
        """The host names without wildcards, which can be resolved."""
        return [host for host, _ in self._hosts if not _has_wildcards(host) and _ip(host) is None]

    def allow(self, address: Address, *, any_port: bool = False) -> bool:
        """Whether a connection to this address is allowed; with ``any_port``, whether one to any port of it is."""
        if address.is_path:
            return any(fnmatchcase(address.host, pattern) for pattern in self._paths)
        host = address.host.lower()
        ip = _ip(host)
        is_local = host in _LOCALHOST or (ip is not None and ip.is_loopback)
        for pattern, port in self._hosts:
            # A port that is not known is not one that was asked for.
            if not any_port and port is not None and port != "*" and address.port != port:
                continue
            if fnmatchcase(host, pattern) or (is_local and pattern in _LOCALHOST):
                return True
        if ip is None and host in _LOCALHOST:
            ip = ipaddress.IPv4Address("127.0.0.1")
        return ip is not None and any(ip.version == network.version and ip in network for network in self._networks)


def address_of_url(url: str) -> Address | None:
    """Where the call of a URL connects; None where the URL names no host.

    The port is that of the scheme where the URL names none. A URL in the form ``unix:///path`` is a socket's.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        return None
    if scheme.endswith("unix"):
        path = url[len(scheme) + 3 :].partition("?")[0]
        return Address(f"/{path.lstrip('/')}", is_path=True)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    if port is None:
        port = _PORTS.get(scheme.lower())
    return Address(host, None if port is None else str(port))


_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_WITH_PORT = re.compile(r"(?P<host>[^:\[\]]+|\[[0-9a-fA-F:.%\w]+\]):(?P<port>\w+|\*)")


def _parts(text: str) -> tuple[str, str | None]:
    found = _WITH_PORT.fullmatch(text)
    if found is None:
        return text.removeprefix("[").removesuffix("]"), None
    return found["host"].removeprefix("[").removesuffix("]"), found["port"]


def _checked(pattern: str) -> tuple[str, str | None]:
    if _ip(pattern) is not None:
        return pattern.lower(), None
    if ":" in pattern and _WITH_PORT.fullmatch(pattern) is None and not _has_wildcards(pattern):
        raise ValueError(pattern)
    host, port = _parts(pattern)
    if not host or any(char.isspace() for char in host) or (port is not None and port != "*" and not port.isdigit()):
        raise ValueError(pattern)
    return host.lower(), port


def _has_wildcards(text: str) -> bool:
    return any(char in text for char in "*?[")


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped or ip
