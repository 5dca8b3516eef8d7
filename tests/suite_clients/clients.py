"""The clients whose own tests are run: which of their tests, and what these need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CLIENTS", "Client"]


@dataclass(frozen=True)
class Client:
    """A client's own tests, as its source distribution on PyPI has them.

    Attributes:
        name: What the run is called.
        project: The project on PyPI. Its tests are those of the version that is installed.
        tests: The files and folders of its tests, in its source.
        options: What pytest is told.
        scope: How a test gets its recording: by the ``timetracer`` marker, or by a block around the test with its
            fixtures.
        needs_redis: Whether a Redis server is started for it. It is stopped before the replay.
        matched_without_ports: Whether the tests' own servers have another port in each run. A replay then compares
            URLs without ports.
    """

    name: str
    project: str
    tests: tuple[str, ...]
    options: tuple[str, ...] = ()
    scope: Literal["marker", "block"] = "marker"
    needs_redis: bool = False
    matched_without_ports: bool = False


_SQL_OPTIONS = ("--timeout", "120")

CLIENTS = (
    Client("httpx", "httpx", ("tests",), ("--timeout", "60"), scope="block"),
    Client("requests", "requests", ("tests",), ("--timeout", "60"), scope="block", matched_without_ports=True),
    Client(
        "aiohttp",
        "aiohttp",
        (
            "tests/test_client_functional.py",
            "tests/test_client_middleware.py",
            "tests/test_client_middleware_digest_auth.py",
            "tests/test_client_request.py",
            "tests/test_client_response.py",
            "tests/test_client_session.py",
            "tests/test_client_ws.py",
            "tests/test_client_ws_functional.py",
            "tests/test_connector.py",
            "tests/test_proxy.py",
            "tests/test_proxy_functional.py",
            "tests/test_resolver.py",
            "tests/test_test_utils.py",
            "tests/test_tracing.py",
            "tests/test_web_functional.py",
            "tests/test_web_middleware.py",
            "tests/test_web_sendfile_functional.py",
            "tests/test_web_websocket_functional.py",
        ),
        ("-m", "not dev_mode and not autobahn and not internal", "--timeout", "10"),
        matched_without_ports=True,
    ),
    Client(
        "redis",
        "redis",
        ("tests",),
        (
            "-m",
            " and not ".join(
                ("not onlycluster", "redismod", "ssl", "replica", "cp_integration", "multidb_integration")
            ),
            "--timeout",
            "30",
            "-o",
            "timeout_method=signal",
        ),
        needs_redis=True,
    ),
    Client(
        "sqlalchemy-dialect",
        "sqlalchemy",
        ("test/dialect/test_suite.py", "test/dialect/sqlite"),
        _SQL_OPTIONS,
        scope="block",
    ),
    Client(
        "sqlalchemy-core",
        "sqlalchemy",
        (
            *(
                f"test/engine/test_{part}.py"
                for part in (
                    "ddlevents",
                    "deprecations",
                    "execute",
                    "logging",
                    "parseconnect",
                    "pool",
                    "processors",
                    "reconnect",
                    "reflection",
                    "transaction",
                )
            ),
            *(f"test/sql/test_{part}.py" for part in ("defaults", "insert_exec", "query", "resultset", "returning")),
        ),
        _SQL_OPTIONS,
        scope="block",
    ),
    Client(
        "sqlalchemy-orm",
        "sqlalchemy",
        (
            "test/orm/dml",
            *(
                f"test/orm/test_{part}.py"
                for part in (
                    "cycles",
                    "expire",
                    "lazy_relations",
                    "loading",
                    "manytomany",
                    "merge",
                    "naturalpks",
                    "query",
                    "session",
                    "transaction",
                    "unitofwork",
                    "unitofworkv2",
                    "versioning",
                )
            ),
        ),
        _SQL_OPTIONS,
        scope="block",
    ),
)
