"""What stands in for Oracle's client library, which oracledb loads in thick mode.

The library is on no package index, and may not be given on. oracledb's own code in C runs over this one, which is
built here and connects to nobody: it notes who would have been asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["OracleClient", "needs_compiler"]

_CODE = Path(__file__).with_name("oracle_client.c")
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and not os.environ.get("CI"), reason="no C compiler here: install gcc"
)
"""Marks what needs it: with the marks of `tests.servers.mariadb`, the one skip of the whole suite."""


class OracleClient:
    """The library, built in a folder.

    Attributes:
        folder: For ``lib_dir``, and for ``ORACLE_CLIENT`` in the environment of who loads it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(folder / "libclntsh.so"), str(_CODE)]
        subprocess.run(command, check=True, timeout=100)

    def take_asked(self) -> list[str]:
        """The functions that would have gone out since this was last asked, each with its place or its statement."""
        path = self.folder / "asked"
        try:
            return path.read_text("utf-8").splitlines()
        finally:
            path.unlink(missing_ok=True)
