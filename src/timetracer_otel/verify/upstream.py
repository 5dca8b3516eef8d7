"""Makes recorded calls again, against the servers that they went to, without the secrets that a recording lacks."""

from __future__ import annotations

import base64
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from timetracer_otel.constants import REDACTED, BodyEnd, EventType
from timetracer_otel.match.values import SECRET, Literals, pieces_of, values_in
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import Cassette, DependencyEvent, HeaderMap, header_pairs
from timetracer_otel.verify.sender import Answer, NoAnswerError, why_of

__all__ = ["GivenHeader", "Question", "Wanted", "ask", "hosts_of", "parsed_header", "question_of", "without_given"]

_SAFE: Final = frozenset({"GET", "HEAD"})
_MADE_ANEW: Final = frozenset(
    {
        # The client makes them for its own connection (RFC 9110 section 7.6.1, RFC 9112 section 6).
        *("host", "connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "content-length"),
        *("transfer-encoding", "proxy-authorization"),
        # They are about the trace of the recording, and about a cache that the recorded app had.
        *("traceparent", "tracestate", "baggage"),
    }
)

_SHORTEST_SECRET: Final = 6
"""Characters. Shorter ones are parts of other words."""


class GivenHeader(NamedTuple):
    """A header of the user's, with its real value."""

    name: str
    """In lower case."""
    value: str
    host: str | None
    """``host`` or ``host:port`` of the calls that get it; None for all calls that were recorded with it."""


class Wanted(NamedTuple):
    """Which calls are made again besides those that only ask."""

    method: str
    pattern: str
    """The path, where ``*`` and ``?`` stand for anything."""


@dataclass(frozen=True, slots=True)
class Question:
    """One recorded call, as it is made again; or why it is not."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    left_out: str | None = None
    """Why the call is not made; None where it is."""


def question_of(
    event: DependencyEvent, cassette: Cassette, wanted: Sequence[Wanted], given: Iterable[GivenHeader]
) -> Question | None:
    """How a recorded call is made again; None for a call that is no HTTP, or that no plugin captured.

    Args:
        event: The call.
        cassette: Its recording.
        wanted: Calls that are made although they do not only ask.
        given: Headers of the user's, for those whose recorded values are secret.
    """
    signature, call = event.signature, event.call
    if event.event_type is not EventType.HTTP_CLIENT or call is None or signature.url is None:
        return None
    query = urlencode(signature.query, doseq=True, quote_via=quote)
    url = signature.url + ("?" + query if query else "")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return None
    made = Question(signature.method, url)
    if signature.method not in _SAFE and not any(
        each.method == signature.method and fnmatchcase(parts.path, each.pattern) for each in wanted
    ):
        return _not(made, "it may change something (--also makes it again)")
    if call.body is not None and (not call.body.captured or call.body.end is not BodyEnd.COMPLETE):
        return _not(made, "its body was not kept whole")
    body = call.body.data if call.body is not None and isinstance(call.body.data, bytes) else None
    secrets = _Secrets(cassette)
    if secrets.stand_in(url):
        return _not(made, "its address holds a secret, which the recording lacks")
    if body and secrets.stand_in(body.decode("latin-1")):
        return _not(made, "its body holds a secret, which the recording lacks")
    return _with_headers(made, header_pairs(call.headers), body, secrets, given)


def _with_headers(
    made: Question,
    recorded: Iterable[tuple[bytes, bytes]],
    body: bytes | None,
    secrets: _Secrets,
    given: Iterable[GivenHeader],
) -> Question:
    host = urlsplit(made.url).netloc.rpartition("@")[2]
    own = {each.name: each.value for each in given if each.host in (None, host, host.partition(":")[0])}
    named = {each.name for each in given if each.host in (host, host.partition(":")[0])}
    lines: dict[str, str] = {}
    lacking: list[str] = []
    for raw, value in recorded:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        lowered = name.lower()
        if lowered in _MADE_ANEW:
            continue
        if lowered in own:
            lines[lowered] = own[lowered]
        elif secrets.are_in_header(raw, value):
            lacking.append(name)
        else:
            lines[lowered] = f"{lines[lowered]}, {text}" if lowered in lines else text
    if lacking:
        names = ", ".join(dict.fromkeys(lacking))
        return _not(made, f"the recording lacks its header {names} (give it with --header)")
    lines |= {name: own[name] for name in named}
    return Question(made.method, made.url, tuple(lines.items()), body)


def _not(made: Question, why: str) -> Question:
    return Question(made.method, made.url, left_out=why)


class _Secrets:
    """Tells where a recording has something else in the place of a secret."""

    def __init__(self, cassette: Cassette) -> None:
        self._literals = Literals.of((*cassette.pseudonyms, REDACTED))
        self._redactor = Redactor.from_policies(cassette.policies)

    def stand_in(self, text: str) -> bool:
        """Whether a text holds one, also in base64."""
        return any(value.kind == SECRET for value in values_in(pieces_of(text, self._literals)))

    def are_in_header(self, name: bytes, value: bytes) -> bool:
        """Whether a header holds one, or is secret by its name."""
        redacted = self._redactor.headers([(name, value)]) != ((name, value),)
        return redacted or self.stand_in(value.decode("latin-1"))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Each hop was recorded as a call of its own."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def ask(question: Question, timeout_s: float) -> Answer:
    """Make a call, by the proxies and the certificates that the environment names.

    The standard library's client is used. It has what is needed, and is there without an extra; what a client adds of
    its own accord, such as following redirects and decoding bodies, is not wanted here.

    Raises:
        NoAnswerError: There was no whole answer within that time.
    """
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        question.url, question.body, dict(question.headers), method=question.method
    )
    if "accept-encoding" not in {name for name, _ in question.headers}:
        request.add_unredirected_header("Accept-Encoding", "identity")
    opener = urllib.request.build_opener(_NoRedirects)
    opener.addheaders = []
    began_s = time.monotonic()
    try:
        response: Any = opener.open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        response = error
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswerError(why_of(error)) from None
    try:
        with response:
            body = response.read()
    except (OSError, HTTPException, ValueError) as error:
        raise NoAnswerError(why_of(error)) from None
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()]
    return Answer(response.status, HeaderMap(pairs), body, time.monotonic() - began_s)


def without_given(text: str, given: Iterable[GivenHeader]) -> str:
    """A text without the values of the user's headers, and without what these consist of."""
    for header in given:
        for part in (header.value, *header.value.split(), *_in_base64(header.value)):
            if len(part) >= _SHORTEST_SECRET:
                text = text.replace(part, REDACTED)
    return text


def _in_base64(value: str) -> list[str]:
    """The user and the password of ``Basic`` (RFC 7617)."""
    try:
        return base64.b64decode(value.rpartition(" ")[2], validate=True).decode().split(":", 1)
    except ValueError:
        return []


_HEADER: Final = re.compile(r"(?:(\S+)\s+)?([!#$%&'*+.^_`|~0-9A-Za-z-]+):\s*([\x20-\x7e]+)")


def parsed_header(text: str) -> GivenHeader | None:
    """A header as the user gives it: ``NAME: VALUE``, or ``HOST NAME: VALUE``; None where it is none."""
    found = _HEADER.fullmatch(text.strip())
    return GivenHeader(found[2].lower(), found[3].strip(), found[1]) if found else None


def hosts_of(name: str, cassettes: Mapping[str, Cassette]) -> list[str]:
    """The hosts whose recorded calls have a header of this name, in lower case."""
    hosts = {
        urlsplit(event.signature.url or "").netloc.rpartition("@")[2]
        for cassette in cassettes.values()
        for event in cassette.events
        if event.event_type is EventType.HTTP_CLIENT and event.call is not None
        if any(each.decode("latin-1").lower() == name for each, _ in header_pairs(event.call.headers))
    }
    return sorted(hosts)
