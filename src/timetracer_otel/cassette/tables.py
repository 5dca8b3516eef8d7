"""Converts a dataclass to a map with short keys and back, by one table of its fields.

Both directions check the same types, so that what is written can be read. A field that has its default is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from enum import Enum
from operator import attrgetter
from typing import Any, Final, Generic, NamedTuple, NoReturn, TypeAlias, TypeVar

from timetracer_otel.cassette.scan import NATIVE, Survey, Unencodable

__all__ = ["Faults", "Kind", "Known", "MalformedError", "Notes", "Part", "Table", "bounded", "nested", "scalar"]

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


class Known(str):
    """An expression whose value is of the kind of its field, and is not looked at again."""

    __slots__ = ()


class Part(NamedTuple):
    """Where the fields of a part are found that has a table of its own."""

    fields: Notes
    is_there: str = ""
    """An expression that tells whether the value has this part; empty where it always has."""


Notes: TypeAlias = Mapping[str, "str | Part"]
"""By attribute: the expression that gives its value. What is not named has its default."""


class _Text:
    """The text of a function that makes maps of the fields of tables."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"omitted": _OMITTED_WHERE_EMPTY}
        self.lines: list[str] = []
        self.always = 0
        """How many maps it makes in any case."""
        self.counts_maps = False
        """Whether it makes more of them in some cases."""
        self._number = 0

    def map_of(self, table: Table[Any], source: str | Notes, into: str, indent: int, level: int) -> None:
        """Add what makes the map of one table.

        Args:
            table: Says which fields there are.
            source: An expression for an instance of the table's class, or where its fields are found.
            into: The variable that the map is put into.
            indent: How far the lines are indented.
            level: How deep the map stands within the outermost one.
        """
        margin = "    " * indent
        if isinstance(source, str):
            self._add(margin, f"if type({source}) is not {self._named(table.cls)}:")
            self._add(margin, f"    {self._named(table.wrong_value)}({source})")
        rows = [row for row in table.rows if isinstance(source, str) or row.attribute in source]
        # The fields that must be there come first, and make the map in one go.
        first = 0
        while first < len(rows) and rows[first].default is MISSING:
            first += 1
        values = [f"{row.key!r}: {self._required(row, source, indent, level)}" for row in rows[:first]]
        self._add(margin, f"{into} = {{{', '.join(values)}}}")
        for row in rows[first:]:
            self._field(row, source, into, indent, level)
        self._add(margin, f"pairs += len({into})")
        if indent == 1:
            self.always += 1
        else:
            self.counts_maps = True
            self._add(margin, "maps += 1")

    def _required(self, row: _Row, source: str | Notes, indent: int, level: int) -> str:
        """Add what gives the value of a field that must be there, and give the expression for it."""
        found = self._expression(row, source)
        margin, value = "    " * indent, self._variable()
        if row.kind.table is not None:
            inner = found.fields if isinstance(found, Part) else found
            self.map_of(row.kind.table, inner, value, indent, level + 1)
            return value
        if isinstance(found, Known):
            return str(found)
        self._add(margin, f"{value} = {found}")
        if row.kind.enum is not None:
            self._add(margin, f"if type({value}) is {self._named(row.kind.enum)}:")
            self._add(margin, f"    {value} = {value}._value_")
            self._add(margin, "else:")
        else:
            as_is = row.kind.as_is & NATIVE
            self._add(margin, f"if {self._is_one_of(value, as_is, False)}:" if as_is else "if True:")
        self._add(margin, f"    {value} = {self._named(row.kind)}.to_file({value}, None, '')")
        self._add(margin, f"    survey.look_at({value}, room - {level})")
        return value

    def _field(self, row: _Row, source: str | Notes, into: str, indent: int, level: int) -> None:
        """Add what puts the value of a field into the map, where it is not the default."""
        found, kind = self._expression(row, source), row.kind
        margin, put = "    " * indent, f"{into}[{row.key!r}] = "
        if isinstance(found, Part):
            inner = self._variable()
            if found.is_there:
                self._add(margin, f"if {found.is_there}:")
            assert kind.table is not None
            deeper = indent + bool(found.is_there)
            self.map_of(kind.table, found.fields, inner, deeper, level + 1)
            self._add("    " * deeper, f"{put}{inner}")
            return
        value = found if found.isidentifier() else self._variable()
        if value != found:
            self._add(margin, f"{value} = {found}")
        # What has its default is left out. Most of those are None, or an empty container.
        is_there = f"{value} is not None"
        if row.default is MISSING:
            is_there = "True"
        elif row.default is not None:
            is_there = f"{value} is not {self._named(row.default)} and {is_there}"
        self._add(margin, f"if {is_there}:")
        margin += "    "
        if kind.table is not None:
            inner = self._variable()
            self.map_of(kind.table, value, inner, indent + 1, level + 1)
            self._add(margin, f"{put}{inner}")
            return
        if isinstance(found, Known):
            self._add(margin, f"{put}{value}")
            return
        branch = "if"
        # What is no scalar is looked at in any case, and may stand in a field of any type.
        as_is = kind.as_is & NATIVE | kind.unchecked if kind.types else NATIVE
        if kind.enum is not None:
            self._add(margin, f"if type({value}) is {self._named(kind.enum)}:")
            self._add(margin, f"    {put}{value}._value_")
            branch = "elif"
        elif as_is:
            self._add(margin, f"if {self._is_one_of(value, as_is, True)}:")
            self._add(margin, f"    {put}{value}")
            branch = "elif"
        may_be_empty = bool(kind.types & _OMITTED_WHERE_EMPTY)
        if may_be_empty:
            empty = self._named(kind.types | {tuple} if kind.encode is not None else kind.types)
            self._add(margin, f"{branch} not {value} and type({value}) in {empty}:")
            self._add(margin, "    pass")
            branch = "elif"
        self._add(margin, "else:" if branch == "elif" else "if True:")
        margin += "    "
        self._add(
            margin, f"made = {self._named(kind)}.to_file({value}, None, '')" if kind.types else f"made = {value}"
        )
        if may_be_empty:
            self._add(margin, "if made or type(made) not in omitted:")
            margin += "    "
        self._add(margin, f"survey.look_at(made, room - {level})")
        self._add(margin, f"{put}made")

    def _expression(self, row: _Row, source: str | Notes) -> str | Part:
        return f"{source}.{row.attribute}" if isinstance(source, str) else source[row.attribute]

    def _is_one_of(self, value: str, kinds: frozenset[type], wanted: bool) -> str:
        if len(kinds) == 1:
            return f"type({value}) is {'' if wanted else 'not '}{self._named(next(iter(kinds)))}"
        return f"type({value}) {'' if wanted else 'not '}in {self._named(kinds)}"

    def _add(self, margin: str, line: str) -> None:
        self.lines.append(margin + line)

    def _variable(self) -> str:
        self._number += 1
        return f"v{self._number}"

    def _named(self, value: Any) -> str:
        """A name for what stands in the table."""
        self._number += 1
        name = f"k{self._number}"
        self.names[name] = value
        return name


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
        self.rows = tuple(
            _Row(key, attribute, _default(declared[attribute]), kind) for attribute, (key, kind) in rows.items()
        )
        # Looked up once here, since the loops below run for each field of each event.
        self._write = tuple((row.key, row.default, row.kind.as_is, row) for row in self.rows)
        self._factories = {
            entry.name: entry.default_factory for entry in declared.values() if entry.default_factory is not MISSING
        }
        self.cls = cls
        self._read: Callable[[Any, str], T] | None = None
        self._surveyed: Callable[[Any, Survey, int], dict[str, Any]] | None = None
        self.values: Callable[[Any], tuple[Any, ...]] = attrgetter(*rows)
        """Gives the values of all fields."""

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
        for item, (key, default, as_is, row) in zip(self.values(value), self._write, strict=True):
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
            write = self._surveyed = self.compiled(None)
        return write

    def compiled(self, notes: Notes | None, arguments: Sequence[str] = ("value",)) -> Callable[..., dict[str, Any]]:
        """A function without loops that makes the map of a value, as `to_surveyed_map` does.

        It is made of the table alone, so that it writes what the table says, in that order. It runs for each event,
        and a loop over the rows takes three times as long.

        Args:
            notes: Where the value of each field is found among the arguments; None for an instance of the class,
                which is the only argument.
            arguments: The names of the function's arguments. It has ``survey`` and ``room`` as its last ones.
        """
        text = _Text()
        text.map_of(self, "value" if notes is None else notes, "found", 1, 0)
        lines = [
            f"def write({', '.join(arguments)}, survey, room):",
            "    pairs = 0",
            *text.lines,
            f"    survey.containers += {text.always}" + " + maps" * text.counts_maps,
            "    survey.pairs += pairs",
            "    survey.items += 2 * pairs",
            "    return found",
        ]
        if text.counts_maps:
            lines.insert(1, "    maps = 0")
        exec("\n".join(lines), text.names)  # noqa: S102  # nosec
        made: Callable[..., dict[str, Any]] = text.names["write"]
        return made

    def wrong_value(self, value: Any) -> NoReturn:
        """Raise the error of a value that is no instance of the table's class."""
        raise TypeError(f"{type(value).__qualname__} is not {self.cls.__qualname__}")

    def blank(self) -> dict[str, Any]:
        """A map that has nothing but placeholders for what must be there."""
        return {row.key: row.kind.placeholder(None) for row in self.rows if row.default is MISSING}

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
        for at, row in enumerate(self.rows):
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
        given = ", ".join(f"{row.attribute}=v{at}" for at, row in enumerate(self.rows))
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
        nested = {row.key: row.kind.table for row in self.rows}
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
