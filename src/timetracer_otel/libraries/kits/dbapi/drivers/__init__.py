"""The drivers that are known: one file for each that has something of its own, one line for the others.

Importing this folder makes them known to the kit. It imports no driver: their modules are looked up when a value, a
row or an error of theirs is there.
"""

from collections.abc import Sequence
from types import ModuleType

from timetracer_otel.calls.registry import Connector
from timetracer_otel.libraries.kits.dbapi.driver import Driver, ValueType, known, register
from timetracer_otel.libraries.kits.dbapi.drivers.asyncpg import ASYNCPG
from timetracer_otel.libraries.kits.dbapi.drivers.mysql import MYSQL
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg import PSYCOPG
from timetracer_otel.libraries.kits.dbapi.drivers.psycopg2 import PSYCOPG2
from timetracer_otel.libraries.kits.dbapi.drivers.sqlite import SQLITE

__all__ = ["ASYNCPG", "MYSQL", "PSYCOPG", "PSYCOPG2", "SQLITE", "connectors_of"]


def _of_pgvector(name: str) -> ValueType:
    module = {"HalfVector": "halfvec", "SparseVector": "sparsevec"}.get(name, name.lower())
    return ValueType(
        f"pgvector.{name}",
        (f"pgvector.{module}", name),
        parts=lambda value: bytes(value.to_binary()),
        build=lambda cls, parts: cls.from_binary(parts),
        module="pgvector",
    )


register(
    ASYNCPG,
    *MYSQL,
    PSYCOPG,
    PSYCOPG2,
    SQLITE,
    Driver(("databricks",), usual_rows=("databricks.sql.types.Row",)),
    Driver(("oracledb",)),
    Driver(("pg8000",)),
    # No driver, but a package that adds types of values to several.
    Driver(("pgvector",), value_types=tuple(map(_of_pgvector, ("Bit", "HalfVector", "SparseVector", "Vector")))),
    Driver(("pyodbc",), usual_rows=("pyodbc.Row",)),
)


def connectors_of(module: ModuleType) -> Sequence[Connector]:
    """The functions by which a driver asks C code for connections, from the driver's imported module."""
    driver = known.by_package[module.__name__]
    return driver.connectors(module) if driver.connectors is not None else ()
