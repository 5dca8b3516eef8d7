"""What a process that ``timetracer-otel record`` started says at its end: how much was written, and where."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

from timetracer_otel.base import counters, faults
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.config import record_account

__all__ = ["tell"]


def tell(folder: str) -> bool:
    """Say it, in the process that was started. Those that it forked or started write to the same folder, and are
    silent: False.

    Args:
        folder: The folder of cassettes.
    """
    asked = record_account()
    if asked is None or asked[0] != os.getpid():
        return False
    try:
        sizes = [entry.size_bytes for entry in CassetteStore(folder).entries() if entry.recorded_s >= asked[1]]
    except Exception as error:
        faults.contain("process.record_account", error)
        return False
    discarded = counters.counters().discarded_by_reason
    faults.say(logging.INFO, _text(folder, len(sizes), sum(sizes), discarded))
    return True


def _text(folder: str, number: int, size_bytes: int, discarded: Mapping[str, int]) -> str:
    not_kept = f". {counters.discarded_text(discarded)}" if discarded else ""
    if not number:
        return (
            f"nothing was recorded: no cassette was written to {folder}. No request or job came that the settings "
            f"record, and no call was made outside of them{not_kept}."
        )
    written = f"{number} cassette{'s' * (number != 1)} ({-(-size_bytes // 1024):,} KiB)"
    return f"recorded {written} in {folder}{not_kept}. To see them: timetracer-otel list {folder}"
