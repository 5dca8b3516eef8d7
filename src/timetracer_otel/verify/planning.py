"""Decides which recordings of a folder can be sent to a service, why others cannot, and where the service listens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, urlsplit

from timetracer_otel.cassette import open_cassette
from timetracer_otel.constants import GIVEN_TO_WORKERS, BodyEnd
from timetracer_otel.exceptions import CassetteError, ConfigurationError
from timetracer_otel.match.folder_index import FolderEntry, FolderIndex
from timetracer_otel.match.roots import is_http
from timetracer_otel.types import Cassette, RequestSnapshot, header_pairs

__all__ = [
    "A_JOB",
    "NOWHERE",
    "Address",
    "Planned",
    "address_of",
    "announced_bytes",
    "plan",
    "target_of",
    "why_not_sent",
]

MAX_PADDING_BYTES = 16 * 1024 * 1024
"""The service may have read only a part of a body when it was recorded. At most so many zeros stand for the rest."""

_NO_REQUEST = "not a request"
A_JOB = "a job or message: name its worker as CMD, and --only 'JOB *' or 'MESSAGE*'"
"""Why a job is left out where a service is verified."""
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})
"""Methods whose requests are taken to have no body if none was recorded (RFC 9110 section 9.3)."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One recording, and whether it is sent or why not."""

    name: str
    """``GET /users/7``; the name of the file for a recording that is about no request."""
    cassette: str
    """Path of the cassette below the folder."""
    entry: FolderEntry | None = None
    """None for a recording of calls outside any request."""
    hosts: tuple[str, ...] = ()
    """Where the request was sent when it was recorded, by its ``Host`` header."""
    left_out: str | None = None
    """Why the recording is not about an HTTP request; None if it is."""
    unsendable: str | None = None
    """Why its HTTP request cannot be sent as it was recorded; None if it can."""
    is_job: bool = False
    """Whether it is of a job that a worker can be given."""
    session_id: str = ""
    """The id of the recording; the name of the file, where that cannot be read."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service accepts connections."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


NOWHERE = Address("http", "127.0.0.1", 0)
"""Stands for the address of a worker, which accepts no requests."""


def plan(index: FolderIndex, only: str | None = None) -> list[Planned]:
    """The recordings of a folder: those of requests and jobs, oldest first, then those of processes.

    Args:
        index: The cassettes of the folder.
        only: A pattern (``*`` and ``?``) that ``METHOD path`` or the path must fit.
    """
    entries = [
        entry
        for entry in index.entries
        if only is None or fnmatch(entry.request, only) or fnmatch(entry.facts.path, only)
    ]
    outside = index.outside_paths if only is None else []
    return [
        *(replace(_planned(index, entry), session_id=entry.session_id) for entry in entries),
        *map(_of_process, outside),
    ]


def _of_process(path: str) -> Planned:
    name = Path(path).name
    try:
        session_id = open_cassette(path).session.id
    except CassetteError:
        session_id = name
    return Planned(name, name, left_out=_NO_REQUEST, session_id=session_id)


def _planned(index: FolderIndex, entry: FolderEntry) -> Planned:
    name = index.name_of(entry)
    try:
        cassette = index.read(entry)
    except CassetteError as fault:
        # Reports of several machines are put together: where the folder stands on one of them is not in it.
        why = str(fault).replace(entry.path, name)
        return Planned(entry.request, name, entry, unsendable=why)
    request = cassette.request
    if request.method in GIVEN_TO_WORKERS:
        body = request.body
        if body is None or body.captured:
            return Planned(entry.request, name, entry, left_out=A_JOB, is_job=True)
        return Planned(entry.request, name, entry, left_out=_why_without_body(body.size_bytes or 0, cassette))
    if not is_http(request):
        return Planned(entry.request, name, entry, left_out=_NO_REQUEST)
    hosts = tuple(value.decode("latin-1") for key, value in header_pairs(request.headers) if key.lower() == b"host")
    return Planned(entry.request, name, entry, hosts, unsendable=why_not_sent(cassette))


def why_not_sent(cassette: Cassette) -> str | None:
    """Why the request of a recording cannot be sent as it was recorded; None if it can."""
    if not is_http(cassette.request):
        return "it is about no request"
    request = cassette.request
    if not cassette.complete:
        return "its recorder died before the answer was written"
    if not cassette.response.status:
        return "no answer was recorded"
    if not request.headers and request.method not in _WITHOUT_BODY:
        return "only its span was recorded, so its body is not known"
    body = request.body
    if body is None or (body.captured and body.end is BodyEnd.COMPLETE):
        return None
    size = len(body.data) if isinstance(body.data, bytes) else body.size_bytes or 0
    if body.captured and body.end is BodyEnd.CLOSED:
        unread = announced_bytes(request) - size
        return f"the service left {unread} bytes of its body unread" if unread > MAX_PADDING_BYTES else None
    if body.captured:
        return "its body broke off"
    return _why_without_body(size, cassette)


def _why_without_body(size: int, cassette: Cassette) -> str:
    policies = cassette.policies
    if policies.max_body_kb and size > policies.max_body_kb * 1024:
        return f"its body of {size} bytes was not kept (TIMETRACER_MAX_BODY_KB={policies.max_body_kb})"
    return f"its body was not kept (TIMETRACER_STORE_REQ_BODY={policies.store_request_body})"


def announced_bytes(request: RequestSnapshot) -> int:
    """The length that the request's headers state for its body; 0 if they state none."""
    text = request.headers.get("content-length", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def target_of(request: RequestSnapshot) -> str:
    """The request target: as it was sent if that was recorded, else made of path and query."""
    if request.target is not None:
        return request.target
    pairs = [
        f"{quote(name)}={quote(str(item))}"
        for name, value in request.query.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    return quote(request.path, safe="/%:@!$&'()*+,;=~") + ("?" + "&".join(pairs) if pairs else "")


def address_of(url: str | None, planned: Iterable[Planned]) -> Address:
    """Where to send the requests: to the URL if one is given, else to where the recorded requests went.

    Raises:
        ConfigurationError: The URL cannot be used. Or the recorded requests went to several addresses, to none that
            is known, or to another machine.
    """
    if url is not None:
        return _parsed(url)
    hosts = {host for each in planned if each.unsendable is None for host in each.hosts}
    if len(hosts) != 1:
        named = f"name several ({', '.join(sorted(hosts))})" if hosts else "do not say"
        raise ConfigurationError(
            f"--url: the recordings {named} where the service listens. Give it, as in --url http://127.0.0.1:8000"
        )
    (host,) = hosts
    address = _parsed(f"http://{host}")
    if not _is_loopback(address.host):
        # The recordings may be of production, and their requests must not be sent there again.
        raise ConfigurationError(
            f"--url: the recorded requests went to {host}, which is not this machine. "
            "Say where CMD listens, as in --url http://127.0.0.1:8000"
        )
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parsed(url: str) -> Address:
    wrong = ConfigurationError(f"--url: {url!r} is not allowed. Allowed: http://HOST:PORT or https://HOST:PORT.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or parts.path.strip("/"):
        raise wrong
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(parts.hostname, parts.hostname)  # noqa: S104 - not bound to  # nosec
    return Address(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))
