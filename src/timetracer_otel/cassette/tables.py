"""Converts a dataclass to a map with short keys and back, by one table of its fields.

Both directions check the same types, so that what is written can be read. A field that has its default is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from enum import Enum
from operator import attrgetter
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeVar

from timetracer_otel.cassette.scan import NATIVE, Survey, Unencodable

__all__ = ["Faults", "Kind", "MalformedError", "Table", "bounded", "nested", "scalar"]

T = TypeVar("T")
Faults = list[tuple[str, str]]
"""The parts that were left out because they have no encoding: place and reason of each."""

_COERCED: Final[dict[type, Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
}
"""The scalar types of our own fields. A subclass (``HTTPStatus.OK``, ``numpy.float64``) is stored as plain."""


_OMITTED_WHERE_EMPTY: Final = frozenset({dict, list})
"""Types whose empty values are left out. An empty HeaderMap stays: it says that there were no headers."""


_BOUND: Final = 1e15
"""The largest number that a time may have: in milliseconds, 30,000 years."""


class MalformedError(ValueError):
    """A map is not what the format says; the text names the key."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field holds, and how it stands in the map."""

    expected: str
    types: frozenset[type] = frozenset()
    """Types that may stand in the map. An empty set means anything that can be packed."""
    check: Callable[[Any], bool] | None = None
    """Tells whether a value of such a type is allowed, when writing and when reading."""
    encode: Callable[[Any], Any] | None = None
    """Converts a value to what stands in the map; raises ValueError or TypeError for a value of another kind."""
    decode: Callable[[Any], Any] | None = None
    """Converts what stands in the map, and has passed `check`, to a value; raises ValueError."""
    members: Mapping[str, Any] | None = None
    """What `decode` gives, by what stands in the map, where few texts may stand there."""
    table: Table[Any] | None = None
    unchecked: frozenset[type] = frozenset()
    """Types of `types` whose values pass `check` in any case. What stands in them is looked at when it is packed."""
    enum: type[Enum] | None = None
    """The class of the values that `encode` gives the text of, where they are members of one class."""
    fallback: str | None = None
    """What is written for a value that is not in a closed list, such as an unknown type of event."""

    @property
    def as_is(self) -> frozenset[type]:
        """Types whose values are written as they are, without a check or a conversion."""
        return frozenset() if self.check or self.encode or self.table else self.types

    def to_file(self, item: Any, faults: Faults | None, place: str) -> Any:
        """What stands in the map; raises ValueError, TypeError or AttributeError for a value of another kind."""
        if self.table is not None:
            return self.table.to_map(item, faults, place)
        if self.encode is not None:
            item = self.encode(item)
        if self.types and type(item) not in self.types:
            item = self._plain(item)
        if self.check is not None and not self.check(item):
            raise self._wrong(item)
        return item

    def from_file(self, item: Any, place: str) -> Any:
        """The field's value; raises `MalformedError`."""
        if self.table is not None:
            return self.table.from_map(item, place)
        if self.types and type(item) not in self.types:
            raise MalformedError(f"{place} is {type(item).__name__}, not {self.expected}")
        try:
            if float in self.types:
                return bounded(float(item))
            if self.check is not None and not self.check(item):
                raise MalformedError(f"it is not {self.expected}")
            return self.decode(item) if self.decode is not None else item
        except (ValueError, TypeError, OverflowError) as fault:
            raise MalformedError(f"{place}: {fault}") from None

    def placeholder(self, item: Any) -> Any:
        """A value of this kind in place of one that is of another kind or missing, where the format wants one."""
        if self.table is not None:
            return self.table.blank()
        if str in self.types:
            return self.fallback or ("" if item is None else ascii(item)[:200])
        return min(self.types, key=lambda one: one.__name__)()

    def _plain(self, item: Any) -> Any:
        for base, plain in _COERCED.items():
            if base in self.types and isinstance(item, base):
                return plain(item)
        raise self._wrong(item)

    def _wrong(self, item: Any) -> TypeError:
        return TypeError(f"{type(item).__module__}.{type(item).__qualname__} is not {self.expected}")


class _Row(NamedTuple):
    key: str
    attribute: str
    default: Any
    """The default of the field. MISSING if there must be a value, None if the default is made anew each time."""
    kind: Kind


def bounded(number: float) -> float:
    """The number, checked to be usable as a time or a share. NaN, infinities and huge numbers are not.

    Raises:
        ValueError: The number is one of those.
    """
    if not -_BOUND < number < _BOUND:
        raise ValueError(f"it is {number}")
    return number


def scalar(*types: type) -> Kind:
    """A field of these types."""
    return Kind(" or ".join(kind.__name__ for kind in types), frozenset(types))


def nested(table: Table[Any]) -> Kind:
    """A field that is a dataclass with a table of its own."""
    return Kind("a map", table=table)


class Table(Generic[T]):
    """The fields of one dataclass: attribute, key and kind of each, in the order of the file."""

    def __init__(
        self, cls: type[T], name: str, rows: dict[str, tuple[str, Kind]], make: Callable[..., T] | None = None
    ) -> None:
        """``rows`` gives key and kind by attribute. ``name`` is the name of the map in error messages. ``make`` takes
        the attributes in the place of the class.
        """
        declared = {entry.name: entry for entry in fields(cls)}  # type: ignore[arg-type]
        self.name = name
        self._make: Callable[..., T] = cls if make is None else make
        self._rows = tuple(
            _Row(key, attribute, _default(declared[attribute]), kind) for attribute, (key, kind) in rows.items()
        )
        # Looked up once here, since the loops below run for each field of each event.
        self._write = tuple((row.key, row.default, row.kind.as_is, row) for row in self._rows)
        self._factories = {
            entry.name: entry.default_factory for entry in declared.values() if entry.default_factory is not MISSING
        }
        self._cls = cls
        self._read: Callable[[Any, str], T] | None = None
        self._surveyed: Callable[[Any, Survey, int], dict[str, Any]] | None = None
        self._values: Callable[[Any], tuple[Any, ...]] = attrgetter(*rows)

    def to_map(self, value: T, faults: Faults | None = None, place: str = "") -> dict[str, Any]:
        """The map of a value, without the fields that have their defaults.

        Args:
            value: An instance of the table's class.
            faults: Takes a note of each field that is not of its kind. The field is left out, or gets a placeholder
                if it must be there.
            place: Prefix of the places noted.

        Raises:
            Unencodable: A field is not of its kind, and ``faults`` is None.
        """
        found: dict[str, Any] = {}
        for item, (key, default, as_is, row) in zip(self._values(value), self._write, strict=True):
            if item is default or (item is None and default is not MISSING):
                continue
            if type(item) in as_is:
                found[key] = item
                continue
            try:
                item = row.kind.to_file(item, faults, f"{place}{key}.")
            except (ValueError, TypeError, AttributeError) as fault:
                reason = fault.reason if isinstance(fault, Unencodable) else str(fault)
                if faults is None:
                    raise Unencodable(reason, f".{key}") from None
                faults.append((place + key, reason))
                if default is MISSING:
                    found[key] = row.kind.placeholder(item)
                continue
            if type(item) not in _OMITTED_WHERE_EMPTY or item or not row.kind.types:
                found[key] = item
        return found

    def to_surveyed_map(self, value: T, survey: Survey, room: int) -> dict[str, Any]:
        """The same as `to_map` without ``faults``, and `Survey.look` at the map, in one walk.

        What the table itself says of a field is not looked at again: most values of most events are of the types
        that stand there.

        Args:
            value: An instance of the table's class.
            survey: Counts what stands in the map. Its counts are at least as high as those of `Survey.look`.
            room: How deep containers may stand within the map.

        Raises:
            TypeError, ValueError, AttributeError: A field is not of its kind, or has no encoding.
        """
        return self._writer()(value, survey, room)

    def _writer(self) -> Callable[[Any, Survey, int], dict[str, Any]]:
        write = self._surveyed
        if write is None:
            write = self._surveyed = self._compiled_writer()
        return write

    def _compiled_writer(self) -> Callable[[Any, Survey, int], dict[str, Any]]:
        """`to_surveyed_map` of this table as a function without loops; see `_compiled`."""
        names: dict[str, Any] = {"cls": self._cls, "wrong": self._wrong_value}
        lines = [
            "def write(value, survey, room):",
            "    if type(value) is not cls:",
            "        wrong(value)",
            "    found = {}",
        ]
        for at, row in enumerate(self._rows):
            kind, put = row.kind, f"found[{row.key!r}] = v"
            names[f"kind{at}"], names[f"default{at}"] = kind, row.default
            lines.append(f"    v = value.{row.attribute}")
            # What has its default is left out. Most of those are None, or an empty container.
            if row.default is None:
                lines.append("    if v is not None:")
            elif row.default is MISSING:
                lines.append("    if True:")
            else:
                lines.append(f"    if v is not default{at} and v is not None:")
            if kind.table is not None:
                names[f"write{at}"] = kind.table._writer()
                lines.append(f"        found[{row.key!r}] = write{at}(v, survey, room - 1)")
                continue
            branch = "if"
            # What is no scalar is looked at in any case, and may stand in a field of any type.
            as_is = kind.as_is & NATIVE | kind.unchecked if kind.types else NATIVE
            if kind.enum is not None:
                names[f"enum{at}"] = kind.enum
                lines += [f"        if type(v) is enum{at}:", f"            found[{row.key!r}] = v._value_"]
                branch = "elif"
            elif as_is:
                names[f"kinds{at}"] = as_is if len(as_is) > 1 else next(iter(as_is))
                fits = f"type(v) {'in' if len(as_is) > 1 else 'is'} kinds{at}"
                lines += [f"        if {fits}:", f"            {put}"]
                branch = "elif"
            if kind.types & _OMITTED_WHERE_EMPTY:
                names[f"empty{at}"] = kind.types | {tuple} if kind.encode is not None else kind.types
                lines += [f"        {branch} not v and type(v) in empty{at}:", "            pass"]
                branch = "elif"
            lines.append("        else:" if branch == "elif" else "        if True:")
            lines.append(f"            v = kind{at}.to_file(v, None, '')")
            if kind.types & _OMITTED_WHERE_EMPTY:
                lines.append("            if v or type(v) not in omitted:")
                lines += ["                survey.look_at(v, room)", f"                {put}"]
                names["omitted"] = _OMITTED_WHERE_EMPTY
            else:
                lines += ["            survey.look_at(v, room)", f"            {put}"]
        lines += [
            "    pairs = len(found)",
            "    survey.containers += 1",
            "    survey.pairs += pairs",
            "    survey.items += 2 * pairs",
            "    return found",
        ]
        exec("\n".join(lines), names)  # noqa: S102  # nosec
        made: Callable[[Any, Survey, int], dict[str, Any]] = names["write"]
        return made

    def _wrong_value(self, value: Any) -> NoReturn:
        raise TypeError(f"{type(value).__qualname__} is not {self._cls.__qualname__}")

    def blank(self) -> dict[str, Any]:
        """A map that has nothing but placeholders for what must be there."""
        return {row.key: row.kind.placeholder(None) for row in self._rows if row.default is MISSING}

    def from_map(self, found: Any, place: str = "") -> T:
        """The value of a map. Unknown keys are ignored, missing optional ones have their defaults.

        Raises:
            MalformedError: ``found`` is no map, a key is missing, or a value is not of its kind.
        """
        read = self._read
        if read is None:
            read = self._read = self._compiled()
        return read(found, place)

    def _compiled(self) -> Callable[[Any, str], T]:
        """`from_map` of this table as a function without loops.

        It runs for each map of each event, and a loop over the rows takes three times as long. It is made when the
        table is first read, so that importing does not wait for it. Its text is made of the table alone.
        """
        names: dict[str, Any] = {"make": self._make, "wrong": self._wrong_map, "slow": self._read_slowly}
        lines = [
            "def read(found, place):",
            "    if type(found) is not dict:",
            "        wrong(found, place)",
            "    get = found.get",
        ]
        for at, row in enumerate(self._rows):
            names[f"row{at}"], as_is = row, row.kind.as_is - {int} or row.kind.as_is
            lines.append(f"    v{at} = get({row.key!r})")
            fits = "False"
            if as_is:
                names[f"kinds{at}"] = as_is if len(as_is) > 1 else next(iter(as_is))
                fits = f"type(v{at}) {'in' if len(as_is) > 1 else 'is'} kinds{at}"
            if float in as_is:
                fits += f" and {-_BOUND!r} < v{at} < {_BOUND!r}"
            if row.kind.members is not None:
                names[f"members{at}"] = row.kind.members
                lines.append(f"    if type(v{at}) is str and v{at} in members{at}:")
                lines.append(f"        v{at} = members{at}[v{at}]")
            else:
                lines.append(f"    if {fits}:")
                lines.append("        pass")
            if row.default is not MISSING:
                factory = self._factories.get(row.attribute)
                names[f"default{at}"] = row.default if factory is None else factory
                lines.append(f"    elif v{at} is None:")
                lines.append(f"        v{at} = default{at}{'' if factory is None else '()'}")
            lines.append("    else:")
            if row.kind.table is not None:
                names[f"table{at}"] = row.kind.table
                lines.append(f"        if v{at} is None:")
                lines.append(f"            slow(row{at}, None, place)")
                lines.append(f"        v{at} = table{at}.from_map(v{at}, (place or {self.name!r}) + '.{row.key}')")
            else:
                lines.append(f"        v{at} = slow(row{at}, v{at}, place)")
        given = ", ".join(f"{row.attribute}=v{at}" for at, row in enumerate(self._rows))
        lines.append(f"    return make({given})")
        # The text is made of the table, and of nothing that was read.
        exec("\n".join(lines), names)  # noqa: S102  # nosec
        found: Callable[[Any, str], T] = names["read"]
        return found

    def _wrong_map(self, found: Any, place: str) -> NoReturn:
        raise MalformedError(f"{place or self.name} is {type(found).__name__}, not a map")

    def _read_slowly(self, row: _Row, item: Any, place: str) -> Any:
        """The value of a field that is not there, or not of a type that is taken as it is."""
        if item is None:
            raise MalformedError(f"{place or self.name} has no {row.key!r}")
        if type(item) is float and float in row.kind.as_is and not -_BOUND < item < _BOUND:
            raise MalformedError(f"{place or self.name}.{row.key} is {item}")
        return row.kind.from_file(item, f"{place or self.name}.{row.key}")

    def prune(self, found: dict[str, Any], packs: Callable[[Any], object], faults: Faults, place: str = "") -> None:
        """Remove the entries that cannot be packed from a map, and note the place and reason of each."""
        nested = {row.key: row.kind.table for row in self._rows}
        for key, item in list(found.items()):
            try:
                packs(item)
            except Unencodable as fault:
                inner = nested.get(key)
                if inner is not None:
                    inner.prune(item, packs, faults, f"{place}{key}.")
                else:
                    faults.append((place + key, str(fault)))
                    del found[key]


def _default(entry: Field[Any]) -> Any:
    return None if entry.default_factory is not MISSING else entry.default
