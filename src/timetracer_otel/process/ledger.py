"""The account of a folder's replay: sums for the log and, where a file is named, a line of JSON for each request."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

from timetracer_otel.base import faults
from timetracer_otel.base.private_files import open_private
from timetracer_otel.exceptions import NetworkBlockedError, ReplayMismatchError
from timetracer_otel.match.advice import Wording
from timetracer_otel.match.folder_index import FolderIndex
from timetracer_otel.types import Verdict

__all__ = ["ReplayLedger"]

_MOST_TOLD = 50
"""How many missed calls are logged at the end; further ones are only counted."""


class ReplayLedger:
    """Counts requests and calls, and keeps the first missed calls as text. Safe from any thread and task.

    Args:
        report: The file that lines of JSON are appended to; None for no file.
        wording: How the user says settings, for advice.
    """

    def __init__(self, report: str | None, wording: Wording) -> None:
        self._report_path = report
        self._wording = wording
        self._rules: dict[str, None] = {}
        self._lock = threading.RLock()
        self._sums: Counter[str] = Counter()
        self._told: list[str] = []
        self._without_plugin: set[str] = set()
        self._has_models = False

    def began(self, request: str, cassette: str | None) -> None:
        """Count a request that has come in. ``cassette`` was chosen for it; None where there is no recording."""
        with self._lock:
            self._sums["requests"] += 1
            self._sums["refused"] += cassette is None
        self._report({"request": request, "cassette": cassette, "state": "began"})

    def withdrawn(self, cassette: str | None) -> None:
        """Take back what `began` counted."""
        with self._lock:
            self._sums["requests"] -= 1
            self._sums["refused"] -= cassette is None

    def missed(self, request: str, error: ReplayMismatchError) -> None:
        """Count a call of a request that had no answer."""
        with self._lock:
            self._sums["missed"] += 1
            self._rules.update(dict.fromkeys(error.rules))
            if len(self._told) < _MOST_TOLD:
                self._told.append(f"missed in {request}: {error}")

    def missed_late(self, request: str, cassette: str | None, error: ReplayMismatchError) -> None:
        """Count a call that had no answer and was made after its request had ended."""
        self.missed(f"{request}, after its end", error)
        self._report({"request": request, "cassette": cassette, "state": "late", **_told([error])})

    def ended(self, request: str, cassette: str | None, verdict: Verdict, made: str | None = None) -> None:
        """Add what the calls of a request did, when it has ended. ``made`` is the file with its calls, if any."""
        self.add(verdict)
        self._report(
            {
                "request": request,
                "cassette": cassette,
                "state": "ended",
                "hits": len(verdict.hits) + verdict.repeats,
                **_told(verdict.misses, verdict.blocked),
                "unused": [event.eid for event in verdict.unused],
                "live": dict(verdict.live),
                **({"paid": verdict.paid} if verdict.paid is not None else {}),
                "bindings": [[each.kind, each.recorded, each.present] for each in verdict.bindings],
                **({"made": made} if made is not None else {}),
            }
        )

    def add(self, verdict: Verdict) -> None:
        """Add what the calls of one session did, without its misses, which `missed` has counted."""
        with self._lock:
            self._sums["hit"] += len(verdict.hits) + verdict.repeats
            self._sums["unused"] += len(verdict.unused)
            self._sums["live"] += sum(verdict.live.values())
            self._sums["blocked"] += len(verdict.blocked)
            self._sums["bound"] += len(verdict.bindings)
            if verdict.paid is not None:
                self._sums["paid"] += verdict.paid
                self._has_models = True
            self._without_plugin.update(verdict.without_plugin)

    def tell(self, index: FolderIndex) -> None:
        """Log the sums in one line, and each call that had no answer."""
        sums = self._sums
        recordings = len(index.entries)
        refused = f", {sums['refused']} without a recording" if sums["refused"] else ""
        named = f" ({', '.join(sorted(self._without_plugin))})" if self._without_plugin else ""
        blocked = f", {sums['blocked']} blocked" if sums["blocked"] else ""
        blocked += f", {sums['bound']} bound" if sums["bound"] else ""
        blocked += f", paid calls: {sums['paid']}" if self._has_models else ""
        faults.say(
            logging.WARNING if sums["missed"] or sums["blocked"] else logging.INFO,
            f"Replay of {index.directory}: {sums['requests']} requests from "
            f"{recordings - len(index.unused())} of {recordings} recordings{refused}: {sums['hit']} hit, "
            f"{sums['missed']} missed, {sums['unused']} unused, {sums['live']} live{named}{blocked}",
        )
        for text in self._told:
            faults.logger.warning("timetracer-otel: %s", text)
        if sums["missed"] > len(self._told):
            faults.logger.warning("timetracer-otel: and %d more missed calls", sums["missed"] - len(self._told))
        if self._rules:
            faults.logger.warning(
                "timetracer-otel: to leave out the values that change from run to run, of all these calls: %s",
                self._wording.ignoring(self._rules),
            )

    def _report(self, found: dict[str, Any]) -> None:
        if self._report_path is None:
            return
        try:
            # A whole line in one write, to a file that is open for appending: lines of several workers do not mix.
            handle = open_private(self._report_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            with open(handle, "ab", buffering=0) as file:
                file.write(json.dumps(found).encode() + b"\n")
        except OSError as error:
            faults.warn_once(
                "replay-report", f"TIMETRACER_REPLAY_REPORT: cannot write {self._report_path}: {error.strerror}"
            )


def _told(misses: Sequence[ReplayMismatchError], blocked: Sequence[NetworkBlockedError] = ()) -> dict[str, list[str]]:
    """The part of a report's line that says what had no answer, and which ``ignore`` rules are advised."""
    return {
        "misses": [str(error) for error in (*misses, *blocked)],
        "rules": list(dict.fromkeys(rule for error in misses for rule in error.rules)),
    }
