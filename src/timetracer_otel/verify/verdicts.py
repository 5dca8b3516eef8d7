"""What the service's process says about the calls of each request: lines of JSON in a file that it appends to."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CallVerdict", "VerdictFile"]

_POLL_S = 0.02
_BEGAN_S = 1.0


@dataclass(slots=True)
class CallVerdict:
    """What a request's replay did."""

    misses: list[str] = field(default_factory=list)
    """Texts of the errors for calls that had no answer, and for refused connections."""
    unused: list[int] = field(default_factory=list)
    """Positions of recorded calls that were not made."""
    ended: bool = False
    """Whether the request has ended, so that this is all but for what outlives it."""


class VerdictFile:
    """Reads the file that the setting ``replay_report`` names, as it grows. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._offset = 0
        self._by_cassette: dict[str, CallVerdict] = {}

    def wait_for(self, cassette: str, timeout_s: float) -> CallVerdict | None:
        """The verdict for a request that a cassette was chosen for; None where the service speaks of none.

        It is written when the service is done with the request, which may be after its answer.

        Args:
            cassette: Path of the cassette.
            timeout_s: How long to wait for the end of the request.
        """
        began_s = time.monotonic()
        while True:
            self._read_on()
            with self._lock:
                found = self._by_cassette.get(cassette)
            # That a request has begun is written before it is answered.
            patience_s = timeout_s if found is not None else min(timeout_s, _BEGAN_S)
            is_known = found is not None and found.ended
            if is_known or time.monotonic() - began_s > patience_s or self._closed.wait(_POLL_S):
                return found

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed.set()

    def _read_on(self) -> None:
        with self._lock:
            try:
                with self.path.open("rb") as file:
                    file.seek(self._offset)
                    data = file.read()
            except FileNotFoundError:
                return
            # What stands behind the last line end is still being written.
            whole = data.rpartition(b"\n")[0]
            self._offset += len(whole) + 1 if whole else 0
            for line in whole.splitlines():
                self._note(json.loads(line))

    def _note(self, found: dict[str, Any]) -> None:
        verdict = self._by_cassette.setdefault(str(found.get("cassette")), CallVerdict())
        verdict.misses += found.get("misses", ())
        verdict.ended = verdict.ended or found.get("state") == "ended"
        verdict.unused = list(found.get("unused", verdict.unused))
