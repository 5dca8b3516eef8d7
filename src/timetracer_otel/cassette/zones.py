"""Zones of times: which of them a cassette can hold, and as what."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any, Final
from zoneinfo import ZoneInfo

__all__ = ["ZONE_KEY", "are_plain", "plain_zone"]

ZONE_KEY: Final = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*", re.ASCII)
"""A key of the IANA database."""
_MICROSECOND: Final = dt.timedelta(microseconds=1)


def plain_zone(zone: dt.tzinfo) -> Any:
    """A zone as the payload of a time has it; None for one that has no name, or is of another class."""
    if zone is dt.timezone.utc:
        # That of most times.
        return [0]
    if type(zone) is dt.timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        return [offset // _MICROSECOND, *name]
    return zone.key if type(zone) is ZoneInfo and zone.key and ZONE_KEY.fullmatch(zone.key) else None


def are_plain(times: Iterable[dt.datetime]) -> bool:
    """Whether each of these times can be packed. Where their zones are few, that is quick."""
    zones = {id(zone): zone for zone in [time.tzinfo for time in times]}
    return all(zone is None or _is_plain(plain_zone(zone)) for zone in zones.values())


def _is_plain(packed: Any) -> bool:
    # The name that an app gives a fixed offset may have no UTF-8.
    return packed is not None and (type(packed) is str or all(str(name).isascii() for name in packed[1:]))
