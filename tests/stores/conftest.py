"""One S3 server for all tests of a module, and an empty bucket for each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from tests.servers._process import ServerProcess
from tests.stores._spool import BUCKET, aws_environment, make_bucket


@pytest.fixture(scope="session")
def s3_server() -> Iterator[ServerProcess]:
    server = ServerProcess("tests.servers.moto_server")
    yield server
    server.close()


@pytest.fixture
def s3(s3_server: ServerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The URL of an empty place on it, which the drivers of this process find by their environment."""
    make_bucket(s3_server)
    for name, value in aws_environment(s3_server.port("aws")).items():
        monkeypatch.setenv(name, value)
    # fsspec keeps one for each set of arguments, and that of a test before knows a gate that is closed.
    s3fs.S3FileSystem.clear_instance_cache()
    return f"s3://{BUCKET}/{tmp_path.name}"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes that were downloaded are kept below the user's home."""
    from timetracer_otel.storage import finding

    monkeypatch.setattr(finding, "_cache", lambda: tmp_path / "indexes")
