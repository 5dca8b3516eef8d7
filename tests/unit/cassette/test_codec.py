"""`pack` and `unpack`: what comes back is what went in, type for type, or nothing goes in."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import http
import ipaddress
import math
import threading
import uuid
from contextlib import nullcontext
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgpack  # type: ignore[import-untyped,unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.golden.make_golden import VALUES
from tests.unit.cassette.same import same
from timetracer_otel.cassette import Unencodable, check, pack, unpack
from timetracer_otel.cassette.codec import pack_map
from timetracer_otel.cassette.costs import Account, OwnCosts, TooDenseError
from timetracer_otel.cassette.extensions import EXTENSIONS
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import HeaderMap, RecordedError, SentRows

ZONES = st.one_of(
    st.none(),
    st.just(dt.timezone.utc),
    st.sampled_from([ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"), ZoneInfo("America/Argentina/Buenos_Aires")]),
    st.builds(
        dt.timezone,
        st.timedeltas(dt.timedelta(hours=-23, minutes=-59), dt.timedelta(hours=23, minutes=59)),
    ),
    st.builds(dt.timezone, st.just(dt.timedelta(hours=1)), st.text(st.characters(codec="utf-8"))),
)
ANY_TEXT = st.text(st.characters(codec=None))
ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(),
    ANY_TEXT,
    st.binary(),
    st.decimals(),
    st.datetimes(timezones=ZONES, allow_imaginary=True),
    st.builds(lambda when: when.replace(fold=1), st.datetimes(timezones=ZONES, allow_imaginary=True)),
    st.dates(),
    st.times(timezones=ZONES),
    st.timedeltas(),
    st.uuids(),
    st.ip_addresses(),
    st.complex_numbers(),
    st.builds(range, st.integers(), st.integers(), st.integers(min_value=1)),
)
BUFFERS = st.one_of(
    st.builds(bytearray, st.binary()),
    st.binary().map(lambda data: memoryview(data)),
    st.builds(lambda data: memoryview(bytearray(data)), st.binary()),
    st.builds(HeaderMap, st.lists(st.tuples(st.binary(), st.binary()))),
)
HASHABLE = st.recursive(
    ATOMS.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan())),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=5),
        st.sets(HASHABLE, max_size=5),
        st.builds(
            RecordedError,
            cls=ANY_TEXT,
            message=ANY_TEXT,
            args=st.lists(inner, max_size=2).map(tuple),
            attributes=st.dictionaries(ANY_TEXT, inner, max_size=2),
        ),
    )


ANYTHING = st.recursive(ATOMS | BUFFERS, containers, max_leaves=20)


@given(ANYTHING)
@examples(30)
def test_any_value_comes_back_with_its_type_at_every_level(value: Any) -> None:
    assert same(unpack(pack(value)), value)


@given(ANYTHING)
@examples(25)
def test_what_comes_back_packs_to_the_same_bytes(value: Any) -> None:
    packed = pack(value)
    assert same(unpack(pack(unpack(packed))), unpack(packed))


@given(ANYTHING | st.lists(ANYTHING, min_size=1).map(lambda items: items * 20))
@examples(20)
def test_a_reader_spends_no_more_on_a_value_than_its_writer_reckoned(value: Any) -> None:
    own, account = OwnCosts(), Account()
    data = pack_map(value, own=own)
    account.charge(data, 0, len(data))
    # It is not known of buffers and of text without UTF-8.
    assert account.spent <= own.spent or not own.known


@pytest.mark.parametrize(
    "value",
    [
        *VALUES.values(),
        *([each] * 100 for each in VALUES.values()),
        [(number, f"name {number}", number * 1.5, None, "") for number in range(100)],
        [{"id": number, "tags": [], "more": {}} for number in range(100)],
        {f"key {number}": {number: number} for number in range(100)},
        "long" * 10_000,
        "\N{GRINNING FACE}" * 10_000,
        [""] * 1000,
        [RecordedError("a.B", "c", (1, "d"), {"e": [1]}, cause=RecordedError("f.G", ""))] * 100,
        [HeaderMap([(b"a", b""), (b"b", b"c")])] * 100,
        [SentRows([25], 1, b"D\0\0\0\x0e\0\1\0\0\0\4text")] * 100,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_writer_reckons_is_near_what_a_reader_spends(value: Any) -> None:
    own, account = OwnCosts(), Account()
    data = pack_map(value, own=own)
    account.charge(data, 0, len(data))
    if own.known:
        assert account.spent <= own.spent <= 5 * account.spent + 1000


@given(st.lists(ANYTHING, min_size=1, max_size=5), st.integers(1, 4))
def test_what_reading_costs_is_never_above_its_bound(values: list[Any], times: int) -> None:
    parts = [pack([value] * times) for value in values]
    data = b"".join(parts)
    places = [(sum(map(len, parts[:number])), sum(map(len, parts[: number + 1]))) for number in range(len(parts))]

    def account_of(limit: int | None) -> Account:
        account = Account(limit)
        for start, end in places:
            account.charge(data, start, end)
        return account

    exact = account_of(None)
    assert account_of(1 << 40).spent >= exact.spent
    assert account_of(1 << 40).levels >= exact.levels
    # However much the bounds are above it, a limit that the costs do not exceed is kept, and one below is not.
    account_of(exact.spent)
    with pytest.raises(TooDenseError):
        account_of(exact.spent - 1)


@given(st.binary(max_size=300))
@examples(200)
def test_arbitrary_bytes_are_a_value_or_a_cassette_error(data: bytes) -> None:
    try:
        unpack(data)
    except CassetteError:
        pass


@given(st.integers(-128, 127), st.binary(max_size=80) | ATOMS.map(pack) | st.lists(ATOMS).map(pack))
@examples(200)
def test_any_payload_under_any_extension_code_is_a_value_or_a_cassette_error(code: int, payload: bytes) -> None:
    try:
        unpack(msgpack.packb(msgpack.ExtType(code, payload)) if code >= 0 else _ext(code, payload))
    except CassetteError:
        pass


def _ext(code: int, payload: bytes) -> bytes:
    return b"\xc9" + len(payload).to_bytes(4, "big") + code.to_bytes(1, "big", signed=True) + payload


@pytest.mark.parametrize("name", VALUES)
def test_every_type_of_the_specification_round_trips(name: str) -> None:
    assert same(unpack(pack(VALUES[name])), VALUES[name])


def test_the_golden_values_use_every_extension_type_that_is_specified() -> None:
    assert len({row.code for row in EXTENSIONS}) == len({row.kind for row in EXTENSIONS}) == len(EXTENSIONS) == 24


def test_plain_data_is_plain_msgpack_that_anybody_reads() -> None:
    value = {"a": [1, 2.5, None, True, b"\xff"], "b": {"c": "text"}}
    assert msgpack.unpackb(pack(value)) == value


@pytest.mark.parametrize(
    ("left", "right"),
    [(True, 1), (1, 1.0), (0.0, -0.0), ((), []), (b"", bytearray()), (set(), frozenset()), (dt.date(1, 1, 1), "x")],
)
def test_values_that_python_takes_for_equal_stay_apart(left: Any, right: Any) -> None:
    assert same(unpack(pack([left, right])), [left, right])
    assert not same(unpack(pack(left)), right)


def test_equal_sets_are_packed_to_equal_bytes() -> None:
    names = [f"name{number}" for number in range(50)]
    assert pack(set(names)) == pack(set(sorted(names, reverse=True)))  # noqa: C414 - put in in another order
    assert pack({1, "a", None, (1,)}) == pack({(1,), None, "a", 1})


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024


@pytest.mark.parametrize(
    "value",
    [
        Number.ONE,
        http.HTTPStatus.OK,
        Text("x"),
        Point(1, 2),
        collections.OrderedDict(a=1),
        collections.defaultdict(list),
        collections.Counter(),
        object(),
        len,
        int,
        msgpack.ExtType(2, b"\x90"),
        msgpack.Timestamp(0),
        memoryview(b"abcd").cast("I"),
        memoryview(bytearray(8)).cast("B", (2, 4)),
        dt.datetime(2024, 1, 1, tzinfo=type("Zone", (dt.tzinfo,), {"utcoffset": lambda *_: dt.timedelta(0)})()),
        ValueError("x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_come_back_as_something_else_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(Unencodable) as caught:
        pack({"rows": [(1,), (2, {"k": value})]})
    assert str(caught.value).startswith("value['rows'][1][1]['k']: ")
    assert isinstance(caught.value, TypeError)


def test_keys_members_and_attributes_have_places_too() -> None:
    with pytest.raises(
        Unencodable, match=r"value\.keys\(\)\[<Number>\]: .*IntEnum|value\.keys\(\)\[<Number>\]: .*Number"
    ):
        pack({Number.ONE: 1})
    with pytest.raises(Unencodable, match=r"value\{<Point>\}"):
        pack({Point(1, 2)})
    with pytest.raises(Unencodable, match=r"value\.args\[0\]"):
        pack(RecordedError("a:B", "m", (object(),)))


def test_a_subclass_is_named_with_what_it_would_come_back_as() -> None:
    with pytest.raises(Unencodable, match="OrderedDict is a subclass of dict, and would come back as plain dict"):
        pack(collections.OrderedDict())


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(Unencodable, match="holds itself"):
        pack(loop)
    ring: dict[str, Any] = {}
    ring["a"] = ({"b": [ring, ring]}, ring)
    with pytest.raises(Unencodable, match="holds itself"):
        pack(ring)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: (inner,), lambda inner: {"a": inner}])
def test_depth_is_bounded_and_no_recursion_error(wrap: Any) -> None:
    value: Any = 1
    for _ in range(100):
        value = wrap(value)
    assert same(unpack(pack(value)), value)
    for _ in range(5000):
        value = wrap(value)
    with pytest.raises(Unencodable, match="deeper than 100"):
        pack(value)


def test_few_containers_that_unfold_to_very_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timetracer_otel.cassette.scan._MAX_CONTAINERS", 10_000)
    value: Any = []
    for _ in range(40):
        value = [value, value]
    with pytest.raises(Unencodable, match="more than 10000 containers"):
        pack(value)


def test_headers_keep_their_lines_exactly() -> None:
    headers = HeaderMap([(b"X-A", b"1"), (b"x-a", b"2"), (b"\xff", b"\x00")])
    found = unpack(pack([headers, HeaderMap()]))
    assert found[0].pairs == headers.pairs
    assert found[0]["x-a"] == "1, 2"
    assert type(found[1]) is HeaderMap


def test_a_not_a_number_stays_one() -> None:
    assert math.isnan(unpack(pack(float("nan"))))
    assert unpack(pack(Decimal("sNaN12"))).is_snan()


def test_special_objects_keep_what_equality_does_not_show() -> None:
    fixed = dt.timezone(dt.timedelta(hours=1), "CET")
    found = unpack(pack(dt.datetime(2024, 10, 27, 2, 30, tzinfo=fixed, fold=1)))
    assert (found.tzname(), found.fold) == ("CET", 1)
    assert unpack(pack(dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc))).tzinfo is dt.timezone.utc
    assert unpack(pack(dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC")))).tzinfo is ZoneInfo("UTC")
    assert unpack(pack(ipaddress.ip_address("fe80::1%eth0"))).scope_id == "eth0"
    assert unpack(pack(uuid.UUID(int=1))).int == 1


def test_a_timestamp_of_another_writer_is_a_datetime_in_utc() -> None:
    when = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
    assert unpack(msgpack.packb(when, datetime=True)) == when


class _OwnZone(dt.tzinfo):
    """Of the app's own."""

    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)

    dst = utcoffset

    def tzname(self, _: dt.datetime | None) -> str:
        return "own"


_HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize(
    ("zone", "is_packed"),
    [
        (None, True),
        (dt.timezone.utc, True),
        (dt.timezone(dt.timedelta(0), "UTC"), True),
        (dt.timezone(_HOUR), True),
        (dt.timezone(_HOUR, "Zürich"), True),
        (dt.timezone(_HOUR, "no UTF-8: \udc80"), False),
        (ZoneInfo("Europe/Berlin"), True),
        (_OwnZone(), False),
    ],
)
def test_a_look_at_a_time_says_what_packing_it_says(zone: dt.tzinfo | None, is_packed: bool) -> None:
    rows = [[1, dt.datetime(2024, 2, 29, 12, 30, tzinfo=each)] for each in (dt.timezone.utc, zone)]
    for judge in (check, pack):
        refused: Any = nullcontext() if is_packed else pytest.raises(Unencodable)
        with refused:
            judge(rows)
    if is_packed:
        assert repr(unpack(pack(rows))) == repr(rows)


@pytest.mark.parametrize("key", ["../../../etc/passwd", "/etc/localtime", "Europe", "No/Such", "a\x00b", ""])
def test_a_zone_key_reaches_no_file_but_a_zone(key: str) -> None:
    packed = msgpack.packb(msgpack.ExtType(6, msgpack.packb(["2024-01-01T00:00:00", key])))
    with pytest.raises(CassetteError):
        unpack(packed)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff" * 100,
        b"\xdf\xff\xff\xff\xff\x00",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x02",
        b"\x91" * 100_000,
        b"\x81\x00" * 100_000,
        b"\x81\x90\x00",
        b"\xa1\xff",
        b"\x01\x01",
        b"\xd4\x63\x00",
        _ext(-2, b""),
        _ext(-1, b"123"),
    ],
    ids=range(15),
)
def test_hostile_bytes_are_cassette_errors(data: bytes) -> None:
    with pytest.raises(CassetteError):
        unpack(data)


def test_hostile_lengths_within_payloads_allocate_nothing() -> None:
    payload = b"\xdd\x00\x0f\xff\xff" * 200_000
    with pytest.raises(CassetteError):
        unpack(_ext(2, payload))


def test_extension_types_within_each_other_end_before_the_stack_does() -> None:
    data = b"\x90"
    for _ in range(2000):
        data = _ext(2, data)
    with pytest.raises(CassetteError):
        unpack(data)


def test_threads_pack_side_by_side() -> None:
    values = [{"thread": number, "rows": [(number, "x" * number, Decimal(number))] * 50} for number in range(8)]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(100):
            if not same(unpack(pack(values[number])), values[number]):
                wrong.append(number)  # noqa: PERF401 - one at a time, between packing

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_failed_value_leaves_nothing_behind_for_the_next() -> None:
    with pytest.raises(Unencodable):
        pack(["before", dt.datetime(2024, 1, 1, tzinfo=type("Z", (dt.tzinfo,), {})())])
    assert unpack(pack("after")) == "after"


def test_text_in_error_records_may_hold_surrogates() -> None:
    error = RecordedError("builtins:OSError", "no \udcff", (2, "no", ["\udcff"]), {"filename": "\udcff"})
    assert same(unpack(pack({"e": error})), {"e": error})


def test_text_that_has_no_utf_8_within_an_extension_is_refused() -> None:
    with pytest.raises(Unencodable, match="no UTF-8"):
        pack([dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(0), "\udcff"))])


def test_a_value_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timetracer_otel.cassette.codec.MAX_OBJECT_BYTES", 1000)
    with pytest.raises(Unencodable, match=r"value\['a'\]: longer than 1000 bytes"):
        pack({"a": b"x" * 1001})


def test_headers_whose_pairs_are_no_bytes_are_refused() -> None:
    headers = HeaderMap()
    headers.pairs = (("a", "b"),)  # type: ignore[assignment]
    with pytest.raises(Unencodable, match="HeaderMap"):
        pack(headers)


def test_a_stack_that_is_nearly_full_is_no_recursion_error() -> None:
    value: Any = 1
    for _ in range(90):
        value = (value,)

    def deeper() -> str:
        try:
            pack(value)
        except Unencodable as fault:
            return str(fault)
        return deeper()

    assert "nested too deeply" in deeper()
