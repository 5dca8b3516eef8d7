"""Cassettes in object storage: packs, their index, shipping a spool, finding and reading one, compacting.

A recording process imports none of this. It needs the extra ``store``; `require` says so where that is missing.

```text
spool.py      what in a local folder is finished, and the outbox of packs that are on their way
packing.py    finished cassettes to a pack and the rows of its index; one cassette out of a pack
rows.py       the columns of an index, and an index as a Parquet file
objects.py    object storage by fsspec: put and confirm, read a range, list, remove
shipping.py   one pass: from the spool to object storage
names.py      how packs and indexes are named
finding.py    queries over the indexes, by DuckDB
compacting.py small packs to larger ones, and retention
```
"""

from __future__ import annotations

from importlib.util import find_spec

from timetracer_otel.exceptions import ConfigurationError

__all__ = ["require"]


def require() -> None:
    """Check that what object storage needs is installed.

    Raises:
        ConfigurationError: The extra ``store`` is missing; the text has the line that installs it.
    """
    missing = [name for name in ("fsspec", "pyarrow", "duckdb", "zstandard") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f'Object storage needs {", ".join(missing)}. Install: pip install "timetracer-otel[store]"'
        )
