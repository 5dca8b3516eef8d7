"""Arguments without an encoding of their own are compared by what they consist of."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime as dt
import enum
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import pytest

from tests.children import ROOT
from timetracer_otel.cassette import Unencodable, pack, unpack
from timetracer_otel.match.stable_form import stable_form

T = TypeVar("T")


class Zone(dt.tzinfo):
    """A zone of an app's own, as those of pytz and dateutil are."""

    def __init__(self, hours: int | None) -> None:
        self._hours = hours

    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta | None:
        return None if self._hours is None else dt.timedelta(hours=self._hours)

    def dst(self, _: dt.datetime | None) -> None:
        return None

    def tzname(self, _: dt.datetime | None) -> str:
        return "mine"


class Point:
    """A class that an app lets its driver adapt."""

    asked = 0

    def __init__(self, x: Any, y: Any) -> None:
        self._x, self._y = x, y

    def __conform__(self, _: Any) -> str:
        Point.asked += 1
        return f"{self._x};{self._y}"

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("nothing of the app's is asked")

    def __repr__(self) -> str:
        raise AssertionError("nothing of the app's is asked")


class NoItems(list[Any]):
    def __iter__(self) -> Any:
        raise ZeroDivisionError


class Slotted(Point):
    __slots__ = ("never", "z")

    def __init__(self, z: Any) -> None:
        super().__init__(1, 2)
        self.z = z


class OnlySlots:
    __slots__ = ("__hidden", "a")

    def __init__(self, a: Any) -> None:
        self.a, self.__hidden = a, [a]


class Held(Generic[T]):
    def __init__(self, held: T) -> None:
        self.held = held


@dataclasses.dataclass(frozen=True)
class Span:
    lower: Any
    upper: Any


class Pair(NamedTuple):
    a: Any
    b: Any


class Text(str):
    __slots__ = ()


class Colour(enum.Enum):
    RED = 1


MAKERS: dict[str, Callable[[Any], Any]] = {
    "datetime in a zone of its own": lambda x: dt.datetime(2020, 1, 2, x, tzinfo=Zone(3)),
    "time in a zone of its own": lambda x: dt.time(x, tzinfo=Zone(3)),
    "the zone itself": lambda x: dt.datetime(2020, 1, 2, 12, tzinfo=Zone(x)),
    "a zone without an offset": lambda x: dt.datetime(2020, 1, 2, x, tzinfo=Zone(None)),
    "array": lambda x: array.array("i", [1, x]),
    "conforms": lambda x: Point(1, x),
    "slots": Slotted,
    "only slots": OnlySlots,
    "generic": lambda x: Held(Held(x)),
    "dataclass": lambda x: Span(x, dt.datetime(2020, 1, 2, tzinfo=Zone(3))),
    "named tuple": lambda x: Pair(x, Point(1, 2)),
    "set of objects": lambda x: {("a", "b", str(x)), Text("c")},
    "mapping of objects": lambda x: collections.OrderedDict([(Pair(1, x), Point(1, 2))]),
    "nested": lambda x: {"rows": [[Text(x), Point(x, None)]]},
    "a function": lambda x: {"key": re.sub if x == 1 else re.match},
    "a class": lambda x: Point if x == 1 else Span,
}


@pytest.mark.parametrize("name", MAKERS)
def test_equal_values_have_equal_forms_and_others_have_not(name: str) -> None:
    Point.asked = 0
    make = MAKERS[name]
    form = stable_form(make(1))
    assert unpack(pack(form)) == form
    assert pack(stable_form(make(1))) == pack(form)
    assert pack(stable_form(make(2))) != pack(form)
    assert Point.asked == 0


@pytest.mark.parametrize(
    "value",
    [
        1, "x", b"x", None, Decimal("1.5"), uuid.UUID(int=1), dt.date(2020, 1, 2), [1, (2, {"a": 3})],
        dt.datetime(2020, 1, 2, 3, tzinfo=ZoneInfo("Europe/Berlin"), fold=1), dt.time(1, 2, 3, 4),
        dt.datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=dt.timezone.utc),
    ],
)  # fmt: skip
def test_what_has_an_encoding_stays_as_it_is(value: Any) -> None:
    assert stable_form(value) == value
    assert pack(stable_form(value)) == pack(value)


def test_a_clock_is_compared_by_its_offset_and_not_by_whose_zone_it_is() -> None:
    own = dt.datetime(2020, 1, 2, tzinfo=Zone(3))
    assert pack(stable_form(own)) == pack(own.replace(tzinfo=dt.timezone(dt.timedelta(hours=3))))


def holds_itself() -> Any:
    point = Point(1, 2)
    point._x = point
    return point


@pytest.mark.parametrize(
    "value",
    [
        re.match("a", "a"), threading.Lock(), holds_itself(), lambda: 1, object(), iter([1]), (x for x in [1]),
        Point(1, threading.Lock()), collections.deque([1]), [[1] * 200 for _ in range(200)],
        NoItems([1]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_cannot_be_seen_is_refused(value: Any) -> None:
    with pytest.raises(Unencodable):
        stable_form(value)


def test_forms_are_the_same_in_other_processes() -> None:
    code = (
        "from tests.unit.session.test_stable_form import MAKERS, stable_form, pack; "
        "print([pack(stable_form(make(1))) for make in MAKERS.values()])"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
