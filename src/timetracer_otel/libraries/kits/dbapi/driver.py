"""What one driver has of its own, beyond PEP 249, and the drivers that are known.

The rest of the kit names no driver: it looks here. Each driver states what it has in a file of its own, in the folder
``drivers``; the library that uses a driver imports that file.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from timetracer_otel.calls.registry import Connectors

__all__ = ["Driver", "RowType", "ValueType", "driver_of", "known", "register"]


@dataclass(frozen=True)
class ValueType:
    """A class of the driver's whose values stand in rows or parameters, for instance psycopg's ``Range``.

    A cassette holds the parts of such a value, with the name of its type.
    """

    name: str
    """Of the type in cassettes."""
    found: tuple[str, str]
    """Module and qualified name of the class."""
    parts: Callable[[Any], Any]
    """Takes a value apart, into plain data and values of other known types."""
    build: Callable[[Any, Any], Any] = lambda cls, parts: cls(parts)
    """Makes a value, from its class and its parts."""
    module: str = ""
    """Where the class is imported from, if that is not the module that it names."""

    def made_of(self, parts: Any) -> Any:
        """A value again, of its parts.

        Raises:
            ImportError: The driver is not installed.
        """
        return self.build(getattr(importlib.import_module(self.module or self.found[0]), self.found[1]), parts)


@dataclass(frozen=True)
class RowType:
    """A class of rows that a driver makes where the app asks for it, for instance ``sqlite3.Row``."""

    name: str
    """Module and name."""
    maker: Callable[[Sequence[Any]], Callable[[tuple[Any, ...]], Any]]
    """Gives what makes such a row of its values, from the names of the columns.

    It may raise ImportError where the driver is not installed."""
    by_name: bool = False
    """Whether a row is a mapping with the names of the columns as keys; otherwise a sequence of the values."""


@dataclass(frozen=True)
class Driver:
    """What one driver has of its own. A driver that keeps to PEP 249 needs no more than its package."""

    packages: Sequence[str]
    """Its top-level packages; a replay may make their errors again."""

    statement_texts: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    """By module of a class: gives the text of a statement that is an object of that class, without a connection."""

    value_types: Sequence[ValueType] = ()
    wrapped: Sequence[str] = ()
    """Attributes in which the driver's wrappers of parameters hold the value itself, such as ``Json(value).obj``."""

    row_types: Sequence[RowType] = ()
    named_tuple_modules: Mapping[str, str] = field(default_factory=dict)
    """Modules of the driver that make classes of named tuples: of rows, one for each set of columns, and of values of
    composite types. With each, the name of its function that gives such a class by name and fields, the same one
    again each time; empty where it has none."""
    usual_rows: Sequence[str] = ()
    """Classes of the rows that only the driver can make, and makes unless the app asks for others. They are tuples,
    more or less, and come back as tuples in a replay."""

    error_attributes: Sequence[str] = ()
    """What its errors have besides their own dictionary."""
    keep_error: Callable[[BaseException, dict[str, Any]], None] | None = None
    """Adds to the attributes of a recorded error what is known only while the driver's own error is at hand."""
    kept_apart: str = ""
    """The attribute, made by `keep_error`, that cannot be set on an error of the driver's."""
    restore_error: Callable[[BaseException, Any, Mapping[str, Any]], BaseException] | None = None
    """Gives an error that has it all the same, from the error as rebuilt, that value, and all the attributes."""

    cursor_class: Callable[[Any, tuple[Any, ...], Mapping[str, Any]], type[Any] | None] = lambda dbapi, *_: getattr(
        dbapi, "Cursor", None
    )
    """The class of the cursor that ``connection.cursor`` gives, from the driver's module, and from the arguments of
    that call, by position and by name; None where it is not known."""
    cursor_attributes: Mapping[str, bool] = field(default_factory=dict)
    """Attributes in which its cursors differ from their class: True where only the objects have it, False where they
    have it not (a property that raises)."""

    connectors: Connectors | None = None
    """Gives, from the driver's module, the functions by which it asks C code for connections."""


class _Known:
    """What the registered drivers have, by what it is looked up with."""

    def __init__(self) -> None:
        self.by_package: dict[str, Driver] = {}
        self.kept_apart: dict[str, Driver] = {}
        self.statement_texts: dict[str, Callable[[Any], str]] = {}
        self.value_types: dict[tuple[str, str], ValueType] = {}
        self.value_types_by_name: dict[str, ValueType] = {}
        self.row_types: dict[str, RowType] = {}
        self.named_tuple_modules: dict[str, str] = {}
        self.usual_rows: set[str] = set()
        self.error_attributes: dict[str, None] = {}

    @property
    def packages(self) -> Collection[str]:
        """The top-level packages of all drivers."""
        return self.by_package.keys()


known = _Known()


def register(*drivers: Driver) -> None:
    """Let the kit know some drivers. Harmless when repeated."""
    for driver in drivers:
        known.by_package.update(dict.fromkeys(driver.packages, driver))
        if driver.kept_apart:
            known.kept_apart[driver.kept_apart] = driver
        known.statement_texts.update(driver.statement_texts)
        known.value_types.update({kind.found: kind for kind in driver.value_types})
        known.value_types_by_name.update({kind.name: kind for kind in driver.value_types})
        known.row_types.update({kind.name: kind for kind in driver.row_types})
        known.named_tuple_modules.update(driver.named_tuple_modules)
        known.usual_rows.update(driver.usual_rows)
        known.error_attributes.update(dict.fromkeys(driver.error_attributes))


def driver_of(cls: type) -> Driver | None:
    """The driver that a class belongs to, by the package that defines it."""
    return known.by_package.get(cls.__module__.partition(".")[0])
