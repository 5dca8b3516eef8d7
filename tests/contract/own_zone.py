"""A time zone that only its app knows."""

from __future__ import annotations

import datetime as dt


class Zone(dt.tzinfo):
    """A zone of an app's own, as those of pytz and dateutil are."""

    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(hours=3)

    def dst(self, _: dt.datetime | None) -> None:
        return None

    def tzname(self, _: dt.datetime | None) -> str:
        return "mine"
