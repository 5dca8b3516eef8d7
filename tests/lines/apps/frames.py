"""Lines about pandas, which asks whether there is a table of the name that a statement is, and swallows the error.

``POSTGRES`` in the environment is a database's URL for SQLAlchemy.
"""

from __future__ import annotations

import os
from typing import Any

import pandas as pd  # type: ignore[import-untyped, unused-ignore]
import sqlalchemy as sa

from tests.lines._line import Lines

POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
LINES = Lines()
MEALS = {
    "number": [1, 2, 3],
    "name": ["tea", None, "cake"],
    "price": [1.5, 2.25, None],
    "at": pd.to_datetime(["2024-02-29 12:30", None, "2024-10-27 02:30"]),
}


def _read(connection: sa.Connection) -> Any:
    chosen = sa.text("SELECT number, name, price FROM meals WHERE number >= :least ORDER BY number")
    frames = [
        pd.read_sql(chosen, connection, params={"least": 2}),
        pd.read_sql("meals", connection),
        pd.read_sql_table("meals", connection, columns=["name", "at"]),
        pd.read_sql_query(sa.text("SELECT count(*) AS meals FROM meals"), connection),
        *pd.read_sql(sa.text("SELECT number FROM meals ORDER BY number"), connection, chunksize=2),
    ]
    return [[list(map(str, frame.dtypes)), frame.to_dict("records")] for frame in frames]


@LINES.add
def tables_and_statements_that_pandas_reads() -> Any:
    found: dict[str, Any] = {}
    for driver in ("sqlite", "psycopg", "psycopg2"):
        url = sa.make_url("sqlite://") if driver == "sqlite" else POSTGRES.set(drivername=f"postgresql+{driver}")
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            written = pd.DataFrame(MEALS).to_sql("meals", connection, index=False, if_exists="replace")
        with engine.connect() as connection:
            found[driver] = [written, _read(connection)]
        engine.dispose()
    return found
