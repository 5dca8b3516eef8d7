"""What a process that ``timetracer-otel record`` started says at its end: how much was written, and where."""

from __future__ import annotations

import logging
import os

from timetracer_otel.base import faults
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.config import record_account

__all__ = ["tell"]


def tell(folder: str) -> None:
    """Say it, in the process that was started. Those that it forked or started write to the same folder, and are
    silent.

    Args:
        folder: The folder of cassettes.
    """
    asked = record_account()
    if asked is None or asked[0] != os.getpid():
        return
    try:
        sizes = [entry.size_bytes for entry in CassetteStore(folder).entries() if entry.recorded_s >= asked[1]]
    except Exception as error:
        faults.contain("process.record_account", error)
        return
    faults.say(logging.INFO, _text(folder, len(sizes), sum(sizes)))


def _text(folder: str, number: int, size_bytes: int) -> str:
    if not number:
        return (
            f"nothing was recorded: no cassette was written to {folder}. No request or job came, and no library that "
            "is captured made a call."
        )
    written = f"{number} cassette{'s' * (number != 1)} ({-(-size_bytes // 1024):,} KiB)"
    return f"recorded {written} in {folder}. To see them: timetracer-otel list {folder}"
