"""Reads what the process of the service says about the calls of each request: lines of JSON, appended to a file."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from timetracer_otel.types import Binding

__all__ = ["CallVerdict", "VerdictFile"]

_POLL_S = 0.02
_BEGAN_S = 1.0


@dataclass(slots=True)
class CallVerdict:
    """What the replay of one request did."""

    misses: list[str] = field(default_factory=list)
    """Texts of the errors for calls that had no answer, and for refused connections."""
    unused: list[int] = field(default_factory=list)
    """Numbers (``eid``) of the recorded calls that were not made."""
    ended: bool = False
    """Whether the request has ended. Only calls of tasks that outlive the request may still come."""
    rules: list[str] = field(default_factory=list)
    """The ``ignore`` rules that are advised for the calls that had no answer."""
    made: str | None = None
    """The file with the calls that the request made; None where the service was not asked for it."""
    paid: int | None = None
    """How many calls to providers of language models went out for real; None where the request makes none."""
    bindings: list[Binding] = field(default_factory=list)
    """The values that the calls of this run had in the places of recorded ones."""


class VerdictFile:
    """Reads the file that the setting ``replay_report`` names, while it grows. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._offset = 0
        self._by_cassette: dict[str, CallVerdict] = {}

    def wait_for(self, cassette: str, timeout_s: float) -> CallVerdict | None:
        """The verdict on the request that a cassette was chosen for; None if the service wrote nothing about it.

        The service writes it when it is done with the request, which may be after its answer.

        Args:
            cassette: Path of the cassette.
            timeout_s: How long to wait for the end of the request.
        """
        began_s = time.monotonic()
        while True:
            self._read_on()
            with self._lock:
                found = self._by_cassette.get(cassette)
            # The service writes that a request has begun before it answers. Without that, a short wait is enough.
            patience_s = timeout_s if found is not None else min(timeout_s, _BEGAN_S)
            is_known = found is not None and found.ended
            if is_known or time.monotonic() - began_s > patience_s or self._closed.wait(_POLL_S):
                return found

    def close(self) -> None:
        """End every `wait_for` at once, in all threads."""
        self._closed.set()

    def _read_on(self) -> None:
        with self._lock:
            try:
                with self.path.open("rb") as file:
                    file.seek(self._offset)
                    data = file.read()
            except FileNotFoundError:
                return
            # The service is still writing what follows the last line end.
            whole = data.rpartition(b"\n")[0]
            self._offset += len(whole) + 1 if whole else 0
            for line in whole.splitlines():
                self._note(json.loads(line))

    def _note(self, found: dict[str, Any]) -> None:
        verdict = self._by_cassette.setdefault(str(found.get("cassette")), CallVerdict())
        verdict.misses += found.get("misses", ())
        verdict.rules += found.get("rules", ())
        verdict.bindings += [Binding(*map(str, each)) for each in found.get("bindings", ())]
        verdict.ended = verdict.ended or found.get("state") == "ended"
        verdict.made = found.get("made", verdict.made)
        verdict.paid = found.get("paid", verdict.paid)
        verdict.unused = list(found.get("unused", verdict.unused))
