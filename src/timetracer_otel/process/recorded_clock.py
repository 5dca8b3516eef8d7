"""The clock of a recording: in a replay with ``clock="recorded"`` the app's time begins when the recording began.

It goes on from there. `time.time`, `datetime.now` and their like are replaced for the whole process, by time-machine;
`time.monotonic` and `time.perf_counter` are not. A process has one clock. So it is refused to a second replay of
another recording, as long as there is a first one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from types import ModuleType
from typing import TYPE_CHECKING

from timetracer_otel.base import faults, real_time
from timetracer_otel.config import TraceConfig
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.session import BaseSession, ReplaySession

if TYPE_CHECKING:
    from time_machine import Traveller, travel

__all__ = ["begin", "begin_at", "end", "is_wanted", "move_to"]

_INSTALL = 'pip install "timetracer-otel[clock]"'
_lock = threading.RLock()
_travel: travel | None = None
_traveller: Traveller | None = None
_start = ""
_holders = 0
_kept: list[ModuleType] = []
"""The modules of OpenTelemetry that have the real time."""


def is_wanted(config: TraceConfig | None) -> bool:
    """Whether a replay with these settings has the clock of its recording."""
    return config is not None and config.clock == "recorded"


def begin(session: BaseSession) -> bool:
    """Give the process the clock of a replay's recording, until `end`. False where the session does not want that.

    Raises:
        ConfigurationError: The process has the clock of another recording, or time-machine is missing.
    """
    if not isinstance(session, ReplaySession) or not is_wanted(session.config):
        return False
    begin_at(session.cassette.session.recorded_at)
    return True


def begin_at(recorded_at: str) -> None:
    """Let the clock of the process begin at a time, until `end`.

    Args:
        recorded_at: ISO 8601.

    Raises:
        ConfigurationError: As for `begin`.
    """
    global _travel, _traveller, _start, _holders
    with _lock:
        if _holders and _start != recorded_at:
            raise ConfigurationError(
                f"clock: a replay in this process has the clock of a recording of {_start}, and a process has one "
                f"clock. End that replay before one of a recording of {recorded_at} begins."
            )
        if not _holders:
            _travel, _traveller = _travelling(recorded_at)
            _start = recorded_at
        _holders += 1


def move_to(recorded_at: str) -> None:
    """Let the clock go on from another time, as the replay of a folder does with each request."""
    global _start
    with _lock:
        if _traveller is not None and _start != recorded_at:
            _traveller.move_to(_seconds(recorded_at))
            _start = recorded_at


def end() -> None:
    """Undo one `begin` or `begin_at`. With the last one, the process has the real time again."""
    global _travel, _traveller, _holders
    with _lock:
        _holders -= 1
        if _holders or _travel is None:
            return
        real_time.read_from(time.time_ns)
        for module in _kept:
            module.__dict__["time_ns"] = time.time_ns
        _kept.clear()
        _travel.stop()
        _travel = _traveller = None


def _travelling(recorded_at: str) -> tuple[travel, Traveller]:
    seconds = _seconds(recorded_at)
    try:
        import time_machine
    except ImportError:
        raise ConfigurationError(f"clock: recorded needs the package time-machine. Install: {_INSTALL}") from None
    real_ns: Callable[[], int] = time_machine.escape_hatch.time.time_ns
    # A number and no datetime: with one of UTC, it would set the zone of the process as well.
    journey = time_machine.travel(seconds, tick=True)
    try:
        traveller = journey.start()
    except RuntimeError as error:  # freezegun has the clock
        raise ConfigurationError(f"clock: recorded is not possible: {error}") from error
    real_time.read_from(real_ns)
    _keep_real(real_ns)
    return journey, traveller


def _keep_real(real_ns: Callable[[], int]) -> None:
    """Let spans, and whatever else OpenTelemetry's loaded modules stamp, have the real time: backends show that."""
    for name, module in sys.modules.copy().items():
        if name.startswith("opentelemetry.") and module.__dict__.get("time_ns") is time.time_ns:
            module.__dict__["time_ns"] = real_ns
            _kept.append(module)


def _seconds(recorded_at: str) -> float:
    try:
        moment = datetime.fromisoformat(recorded_at.replace("Z", "+00:00"))
    except ValueError:
        faults.warn_once("recorded_at", f"the recording does not say when it was made ({recorded_at!r}).")
        return real_time.time_s()
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).timestamp()
