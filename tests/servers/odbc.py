"""MariaDB's driver for ODBC, which pyodbc loads: on no package index for Python, but in Debian's ``odbc-mariadb``."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

__all__ = ["HAS_ODBC", "driver_of_mariadb", "needs_odbc"]

_DRIVERS = ("/usr/lib/x86_64-linux-gnu/odbc/libmaodbc.so", "/usr/lib/aarch64-linux-gnu/odbc/libmaodbc.so")


def driver_of_mariadb() -> str:
    """The path of the driver."""
    return next(path for path in _DRIVERS if Path(path).exists())


def _why_not() -> str | None:
    try:
        importlib.import_module("pyodbc")
    except ImportError as error:
        return f"pyodbc needs the system's ODBC: install unixodbc ({error})"
    return None if any(map(os.path.exists, _DRIVERS)) else "no driver of MariaDB for ODBC: install odbc-mariadb"


HAS_ODBC = _why_not() is None or (bool(os.environ.get("CI")) and sys.platform == "linux")
"""Whether there is the driver, or has to be."""
needs_odbc = pytest.mark.skipif(not HAS_ODBC, reason=str(_why_not()))
"""Marks what asks MariaDB by it: with the marks of `tests.servers.mariadb`, the one skip of the whole suite."""
