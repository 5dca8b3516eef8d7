"""A VCR.py cassette as one of ours: what vcrpy and pytest-recording write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from timetracer_otel.exceptions import CassetteError
from timetracer_otel.exchange import HttpCall, Imported, encoded_again, imported_cassette, utc_text
from timetracer_otel.report import decode_body
from timetracer_otel.types import HeaderMap, HeaderPairs
from timetracer_otel_exporter_vcr._files import loaded

__all__ = ["read", "recognises"]

_INTERACTIONS: Final = re.compile(rb'(?:^|[{,\s])"?interactions"?\s*:')
_HELD: Final = frozenset({"interactions", "version"})
_HELD_OF_ONE: Final = frozenset({"request", "response"})


def recognises(data: bytes) -> bool:
    """Whether a file has the list ``interactions`` of VCR.py."""
    if _INTERACTIONS.search(data) is None:
        return False
    try:
        return isinstance(_interactions(loaded(data)), list)
    except ValueError:
        return False


def read(data: bytes) -> Imported:
    """A cassette of a file's interactions, in their order. VCR.py notes no times: all of them are 0.

    Raises:
        CassetteError: The file is no VCR.py cassette, or an interaction in it is none.
    """
    try:
        content = loaded(data)
    except ValueError as fault:
        raise CassetteError(f"The file is no VCR.py cassette: {fault}. Record it again.") from fault
    interactions = _interactions(content)
    if not isinstance(interactions, list):
        raise CassetteError("The file is no VCR.py cassette: it has no list of interactions. Record it again.")
    notes = [f"{name}: a cassette has no place for it" for name in content if name not in _HELD]
    calls = []
    for number, interaction in enumerate(interactions):
        try:
            call, said = _call(interaction)
        except (KeyError, TypeError, ValueError, AttributeError) as fault:
            raise CassetteError(
                f"interactions[{number}] is none of VCR.py: {type(fault).__name__}: {fault}. Record it again."
            ) from fault
        where = f"interactions[{number}] {call.method} {call.url[:200]}"
        if call.not_replayable is not None:
            notes.append(f"{where} cannot be replayed: {call.not_replayable}")
        notes += [f"{where}: {line}" for line in said]
        calls.append(call)
    return Imported(imported_cassette(calls, utc_text(), "VCR.py"), tuple(notes))


def _interactions(content: Any) -> Any:
    return content.get("interactions") if isinstance(content, dict) else None


def _call(interaction: dict[str, Any]) -> tuple[HttpCall, list[str]]:
    request, response = interaction["request"], interaction["response"]
    said = [f"{name}: a cassette has no place for it" for name in interaction if name not in _HELD_OF_ONE]
    method, why = str(request["method"]), None
    try:
        sent = _bytes(request.get("body"))
    except TypeError as fault:
        sent, why = b"", f"the body of its request is {fault}, no bytes"
    status, reason, body = _answer(response)
    headers, body, changed = _as_sent(method, status, tuple(_lines(response.get("headers") or {})), body)
    call = HttpCall(
        method=method,
        url=str(request["uri"]).partition("#")[0],
        status=status,
        reason=reason,
        request_headers=tuple(_lines(request.get("headers") or {})),
        request_body=sent,
        headers=headers,
        body=body,
        not_replayable=why,
    )
    return call, [*said, *([changed] if changed is not None else [])]


def _answer(response: dict[str, Any]) -> tuple[int, str, bytes]:
    """Status, reason and body. Until vcrpy 6, answers of httpx stood in another form."""
    if "status_code" in response:
        return int(response["status_code"]), "", _bytes(response.get("content"))
    status = response["status"]
    return int(status["code"]), str(status.get("message") or ""), _bytes((response.get("body") or {}).get("string"))


def _as_sent(method: str, status: int, headers: HeaderPairs, body: bytes) -> tuple[HeaderPairs, bytes, str | None]:
    """Headers and body as a server would send them.

    VCR.py keeps bodies as they came, or decoded below the same headers: that depends on the client. A filter may have
    changed a body, and left its length in the headers as it was.
    """
    if decode_body(body, HeaderMap(headers)).problem is not None:
        return encoded_again(body, headers, method=method, status=status)
    plain = [pair for pair in headers if pair[0].lower() != b"content-encoding"]
    with_length, _, _ = encoded_again(body, plain, method=method, status=status)
    length = HeaderMap(with_length).get("content-length")
    if length is None or length == HeaderMap(headers).get("content-length"):
        return headers, body, None
    mended = tuple((name, length.encode() if name.lower() == b"content-length" else value) for name, value in headers)
    return mended, body, f"the header Content-Length is {length} now, the length of the body"


def _lines(headers: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for name, values in headers.items():
        for value in values if isinstance(values, list) else [values]:
            yield _header(name), _header(value)


def _header(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return str(value).encode("latin-1")
    except UnicodeEncodeError:
        return str(value).encode("utf-8", "surrogatepass")


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    if isinstance(body, (list, tuple)):
        return b"".join(map(_bytes, body))
    if isinstance(body, dict):  # aiohttp's ``data=`` as the app gave it
        return urlencode(body, doseq=True).encode()
    raise TypeError(f"a value of {type(body).__name__}")
