"""Trace context within calls: in headers, and where an app writes it into bodies and arguments.

OpenTelemetry's propagators write into any carrier that an app gives them: the ``_meta`` of MCP's messages
(``params._meta.traceparent``), the headers of a Celery message, the attributes of an SQS message. What they write is
new in every call, and is not compared.

It is cut out of the bytes. The rest of a body stays as it was sent, so that ``{"a": 1e2}`` and ``{"a": 100.0}`` are
two bodies as ever. An entry counts as trace context by its name and by its form: an app may have a field ``b3`` of
its own. ``tracestate`` and ``baggage`` have no form to know them by, and are cut out beside such an entry.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus

__all__ = ["OF_THE_TRACE", "may_be_traced", "untraced", "untraced_bytes", "untraced_form"]

_TRACEPARENT = "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
_FORMS = {
    # https://www.w3.org/TR/trace-context/#traceparent-header
    "traceparent": _TRACEPARENT,
    # https://github.com/openzipkin/b3-propagation
    "b3": "[0-9a-f]{16,32}-[0-9a-f]{16}(?:-[01d])?(?:-[0-9a-f]{16})?",
    "x-b3-traceid": "[0-9a-f]{16,32}",
    # https://www.jaegertracing.io/sdk-migration/#propagation-format
    "uber-trace-id": "[0-9a-f]{1,32}:[0-9a-f]{1,16}:[0-9a-f]{1,16}:[0-9a-f]{1,2}",
    # https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader
    "x-amzn-trace-id": 'Root=1-[0-9a-f]{8}-[0-9a-f]{24}[^"\\\\]*',
    "awstraceheader": 'Root=1-[0-9a-f]{8}-[0-9a-f]{24}[^"\\\\]*',
}
"""By name, in lower case: the form of the value."""
_BESIDE = ("tracestate", "baggage", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags")

OF_THE_TRACE = frozenset({*_FORMS, *_BESIDE} - {"awstraceheader"})
"""Headers of OpenTelemetry's propagators (W3C Trace Context and Baggage, B3, Jaeger, X-Ray), in lower case."""

_TRACE_MARKS = (b"traceparent", b"uber-trace-id", b"X-Amzn-Trace-Id", b"AWSTraceHeader")

# A JSON text may stand in a string of another one: then its quotes have backslashes before them.
_QUOTE = r'\\{0,7}"'


def _entry(names: str, text: str) -> str:
    """An entry of a JSON object.

    As SQS has it, its value is an object: ``{"StringValue": "00-…", "DataType": "String"}``.
    """
    text = rf"{_QUOTE}{text}{_QUOTE}"
    return rf"{_QUOTE}(?:{names}){_QUOTE}\s*:\s*(?:{text}|\{{[^{{}}]{{0,200}}?{text}[^{{}}]{{0,200}}\}})"


_ENTRY = "|".join(_entry(name, form) for name, form in _FORMS.items())
_COMPANION = _entry("|".join(_BESIDE), r'[^"\\]{0,9000}')
# All repetitions have a limit, as a body may be anybody's.
_RUN = re.compile(
    rf"(?:(?:{_COMPANION})\s*,\s*){{0,5}}(?:{_ENTRY})(?:\s*,\s*(?:{_ENTRY}|{_COMPANION})){{0,9}}".encode(),
    re.IGNORECASE,
)
"""Entries of a JSON object that stand side by side, as a propagator writes them."""
_NAME_BEFORE = re.compile(rb'\\{0,7}"[^"\\{}\[\]]{1,100}\\{0,7}"\s*:\s*\Z')
_ELSEWHERE = re.compile(rb"(traceparent.{0,40}?)" + _TRACEPARENT.encode(), re.IGNORECASE | re.DOTALL)
"""In any other form (multipart, msgpack, a list of pairs): the value shortly behind its name."""
_BLANK = rb"\g<1>00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00"
_WHOLE = {name: re.compile(form) for name, form in _FORMS.items()}


def may_be_traced(data: bytes) -> bool:
    """Whether there may be trace context in a body, or in encoded arguments. Quick, for any size.

    One of the marks stands wherever trace context stands, as the propagators write it. It is asked of every call, so
    what the marks have in common is looked for first.
    """
    return (b"race" in data and any(mark in data for mark in _TRACE_MARKS)) or (
        b"b3" in data and (b"-b3-" in data or b'"b3' in data)
    )


def untraced_bytes(data: bytes) -> bytes:
    """The bytes without trace context; the same object where there is none.

    In JSON, also where that stands in a string of another JSON text, the entries are gone, and so is an object that
    had no other. In other forms the value is blanked.
    """
    if not may_be_traced(data):
        return data
    pieces: list[bytes] = []
    done = 0
    for match in _RUN.finditer(data):
        start, end = _entry_around(data, *match.span())
        if start >= done:
            pieces.append(data[done:start])
            done = end
    cut = b"".join([*pieces, data[done:]]) if pieces else data
    return _ELSEWHERE.sub(_BLANK, cut)


def _entry_around(data: bytes, start: int, end: int) -> tuple[int, int]:
    """What has to go with some entries of an object: a comma, or else the whole object that has no others."""
    while True:
        left = len(data[max(start - 200, 0) : start].rstrip()) + max(start - 200, 0)
        right = end + len(data[end : end + 200]) - len(data[end : end + 200].lstrip())
        before, after = data[left - 1 : left], data[right : right + 1]
        if before == b",":
            return left - 1, end
        if after == b",":
            behind = data[right + 1 : right + 201]
            return start, right + 1 + len(behind) - len(behind.lstrip())
        named = _NAME_BEFORE.search(data[max(left - 201, 0) : left - 1]) if before == b"{" and after == b"}" else None
        if named is None:
            return start, end
        start, end = max(left - 201, 0) + named.start(), right + 1


def untraced_form(data: bytes) -> bytes:
    """An URL-encoded form without the fields of trace context; the same object where there are none.

    The attributes of an SQS message are fields with a common beginning, one of which has the name:
    ``MessageAttribute.1.Name=traceparent``.
    """
    if not may_be_traced(data):
        return data
    fields = [(field, *_decoded(field)) for field in data.split(b"&")]
    attributes = tuple(
        name.removesuffix("Name")
        for _, name, value in fields
        if name.endswith(".Name") and (value.lower() in _FORMS or value.lower() in _BESIDE)
    )
    if not attributes and not any(_is_trace(name, value) for _, name, value in fields):
        return data
    kept = [
        field
        for field, name, value in fields
        if not (name.startswith(attributes) or _is_trace(name, value) or name.lower() in _BESIDE)
    ]
    return b"&".join(kept)


def _decoded(field: bytes) -> tuple[str, str]:
    name, _, value = field.decode("latin-1").partition("=")
    return unquote_plus(name), unquote_plus(value)


def untraced(value: Any) -> Any:
    """A value, of any depth, without trace context; the same object where there is none."""
    if isinstance(value, str):
        data = value.encode(errors="surrogatepass")
        cut = untraced_bytes(data)
        return value if cut is data or cut == data else cut.decode(errors="surrogatepass")
    if isinstance(value, bytes):
        return untraced_bytes(value)
    if isinstance(value, dict):
        return _without_entries(value)
    if isinstance(value, (list, tuple)):
        items = [untraced(item) for item in value if not (_is_pair(item) and _is_trace(*item))]
        for index in range(1, len(items)):
            if _is_trace(items[index - 1], items[index]):
                items[index] = ""
        if len(items) == len(value) and all(map(_is, items, value)):
            return value
        return items if isinstance(value, list) else tuple(items)
    return value


def _without_entries(value: dict[Any, Any]) -> dict[Any, Any]:
    traced = any(_is_trace(name, item) for name, item in value.items())
    kept = {}
    for name, item in value.items():
        lowered = name.lower() if isinstance(name, str) else None
        if traced and (lowered in _BESIDE or _is_trace(name, item)):
            continue
        cut = untraced(item)
        if cut is item or cut or not isinstance(cut, dict):
            kept[name] = cut
    same = len(kept) == len(value) and all(map(_is, kept.values(), value.values()))
    return value if same else kept


def _is(one: Any, other: Any) -> bool:
    return one is other


def _is_pair(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and len(item) == 2


def _is_trace(name: Any, value: Any) -> bool:
    """Whether an entry is trace context, by its name and its form."""
    if isinstance(name, bytes):
        name = name.decode("latin-1")
    form = _WHOLE.get(name.lower()) if isinstance(name, str) else None
    if form is None:
        return False
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    texts = value.values() if isinstance(value, dict) else (value,)
    return any(isinstance(text, str) and form.fullmatch(text) for text in texts)
