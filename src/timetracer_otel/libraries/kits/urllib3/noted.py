"""A call whose answer urllib3 reads from `http.client`: what is noted of that, for each library above it."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Sequence
from typing import Any

from timetracer_otel.calls.flow import FAULT, Recording, Site
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.libraries.kits.http.bodies import BodyLimits
from timetracer_otel.libraries.kits.http1.file_bodies import WireTap
from timetracer_otel.libraries.kits.http1.recorded_connections import malformed_lines
from timetracer_otel.libraries.kits.urllib3.errors import HeldErrors
from timetracer_otel.libraries.kits.urllib3.responses import (
    ResponseFacts,
    http_response_of,
    response_facts,
    source_of,
    tee,
)
from timetracer_otel.types import EventResult, HeaderMap

__all__ = ["NOT_COMPARED", "NotedBeneath", "header_lines", "library_above"]

NOT_COMPARED = frozenset({"Content-Length", "traceparent", "tracestate"})
"""A header that says no more than the body, and those by which OpenTelemetry names its spans."""

library_above: CallAbove[str] = CallAbove("urllib3")
"""The plugin of a library that makes its call by urllib3 now: then urllib3's calls are part of that one."""


class NotedBeneath(Site):
    """A call (a `Site`) whose answer is noted where `http.client` reads it."""

    # The defaults stand in the class: an object is made for each call, and few of them set all.
    errors: HeldErrors
    """What makes values of the errors of the call."""
    rule: Any = None
    """The rule of retries that the call was given."""
    received: WireTap | None = None
    _limits: BodyLimits = BodyLimits(0)
    _status = 0
    _response_headers: Sequence[tuple[Any, Any]] = ()
    _malformed: list[list[Any]] | None = None
    """Lines of the head of the response that are no headers."""
    _facts: tuple[Any, ...] | None = None
    """Of the response, as `ResponseFacts` has them."""

    def note(self, raw: Any, on_end: Callable[[], None] | None) -> str | None:
        """Note an answer as it is read, or say why that cannot be done.

        Args:
            raw: The urllib3 response.
            on_end: Called once, when the body has ended; maybe at once.
        """
        original = self.original_of(raw)
        if original is None:
            return f"its body comes from a {source_of(raw)}, not from http.client"
        self.note_head(raw, original, on_end)
        return self.note_of(raw, original)

    def note_head(self, raw: Any, original: http.client.HTTPResponse, on_end: Callable[[], None] | None) -> None:
        """Note a head that was read, and its body as it is read. `note_of` notes the rest."""
        self._status = original.status
        self._response_headers = list(original.msg.raw_items())
        if original.msg.defects:
            self._malformed = malformed_lines(original.msg)
        if original.status != 101:
            self.received = tee(raw, original, self._limits, on_end)

    def note_of(self, raw: Any, original: http.client.HTTPResponse) -> str | None:
        """Note what `ResponseFacts` names of an answer, and say why that cannot be replayed; None where it can."""
        self._facts = response_facts(raw, original, self.rule, self.errors.recorded)
        if original.status == 101:
            return "the connection was upgraded to another protocol"
        return None if self.received is not None else "somebody had read from its body before it could be noted"

    def original_of(self, raw: Any) -> http.client.HTTPResponse | None:
        """The `http.client` response from which an answer is read; None where there is none."""
        return http_response_of(raw)

    def noted(self, recording: Recording) -> None:
        """The call has returned: it ends with its body."""
        recording.body = received = self.received
        if received is None or received.end is not None:
            recording.close()

    def result(self, recording: Recording) -> EventResult:
        """Status, headers and body, and what a replay's urllib3 response must be given besides."""
        assert recording.returned_s is not None
        received = self.received
        facts = ResponseFacts(*self._facts).as_reply() if self._facts is not None else {}
        if self._malformed is not None:
            facts["malformed"] = self._malformed
        reply = {**facts, "head_ms": (recording.returned_s - recording.started_s) * 1000, **self.more_facts()}
        if received is not None:
            if received.faulted:
                recording.not_replayable = FAULT
            if received.bad_line is not None:
                reply["bad_line"] = received.bad_line
            if received.ran_out:
                reply["ran_out"] = True
            open_chunk = received.open_chunk
            if open_chunk is not None:
                reply["open_chunk"] = open_chunk
        return EventResult(
            status=self._status,
            headers=HeaderMap(header_lines(self._response_headers)),
            body=received.snapshot(recording.started_s) if received is not None else None,
            reply=reply,
        )

    def more_facts(self) -> dict[str, Any]:
        """What else stands in the reply, by name."""
        return {}


def header_lines(items: Any) -> list[tuple[bytes, bytes]]:
    """Headers as the bytes of their lines."""
    items = list(items)
    try:
        # Most are texts that Latin-1 has. To ask for the bytes of each by a function takes twice as long.
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in items]
    except (AttributeError, UnicodeEncodeError):
        return [(_line(name), _line(value)) for name, value in items]


def _line(text: Any) -> bytes:
    if isinstance(text, bytes):
        return text
    try:
        return str(text).encode("latin-1")
    except UnicodeEncodeError:
        return str(text).encode("utf-8", "surrogatepass")
