"""The clients and drivers whose own tests are run: which of their tests, and what these need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

__all__ = ["APART", "CLIENTS", "DRIVERS", "Client"]


@dataclass(frozen=True)
class Client:
    """A client's own tests.

    Attributes:
        name: What the run is called.
        project: The project on PyPI. Its tests are those of the version that is installed.
        tests: The files and folders of its tests, in its source.
        source: Where the tests come from: from the project's source distribution on PyPI, from the Python that runs
            (its ``test`` package), or from a folder that ``--source`` names, where no distribution has them.
        options: What pytest is told.
        scope: How a test gets its recording: by the ``timetracer`` marker, or by a block around the test with its
            fixtures.
        server: The server that is started for it. It is stopped before the replay.
        warm_up: What its tests ask the server once in a run, in whichever of them is the first: the module, the
            function, and the variable that has its argument. It is called before the first test, and has a cassette
            of its own.
        variables: What its tests read from the environment. ``{host}`` and ``{database}`` are those of the server.
        matched_without: What a replay leaves out where it compares: ports, where the tests' own servers have another
            one in each run; every port, where queries and bodies have them, too; or URLs, where the names of files
            do.
        last: Parts of the names of tests that run behind all others, since they change what these use.
        waits_for_server: The function by which its tests wait for a server of their own to end, as
            ``module:Class.name``. In a replay nobody asks that server, so its end is waited for a moment only.
    """

    name: str
    project: str
    tests: tuple[str, ...]
    options: tuple[str, ...] = ()
    scope: Literal["marker", "block"] = "marker"
    source: Literal["sdist", "python", "given"] = "sdist"
    server: Literal["", "redis", "postgres"] = ""
    warm_up: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    matched_without: Literal["", "ports", "every port", "urls"] = ""
    last: tuple[str, ...] = ()
    waits_for_server: str = ""


_SQL_OPTIONS = ("--timeout", "120")

CLIENTS = (
    Client("httpx", "httpx", ("tests",), ("--timeout", "60"), scope="block"),
    Client("requests", "requests", ("tests",), ("--timeout", "60"), scope="block", matched_without="ports"),
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
        matched_without="ports",
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
        server="redis",
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

_SQLITE3 = Client(
    "sqlite3",
    "cpython",
    ("test_sqlite3",),
    _SQL_OPTIONS,
    scope="block",
    source="python",
    # Files are named after the process.
    matched_without="urls",
)
DRIVERS = (
    # Nearly all its databases are in memory, and so are the process's own.
    _SQLITE3,
    replace(_SQLITE3, name="sqlite3-memory", variables={"TIMETRACER_MEMORY_DATABASES": "true"}),
    Client(
        "psycopg",
        "psycopg",
        ("tests",),
        (
            # Its conftest keeps a note in pytest's cache.
            *("-p", "cacheprovider", "--cache-clear"),
            # Types are mypy's. The tests of `pq` call libpq, beneath psycopg's own connections.
            *("--ignore", "tests/test_typing.py", "--ignore", "tests/pq"),
            *("-m", "not slow", "--timeout", "60"),
        ),
        scope="block",
        source="given",
        server="postgres",
        warm_up=("tests.fix_db", "warm_up_database", "PSYCOPG_TEST_DSN"),
        variables={
            "PSYCOPG_TEST_DSN": "host={host} dbname={database} user=postgres",
            # Some of its tests wait for sockets of their own. The server has no port.
            "TIMETRACER_LIVE_HOSTS": "127.0.0.1",
        },
    ),
    Client(
        "psycopg2",
        "psycopg2-binary",
        ("tests",),
        _SQL_OPTIONS,
        scope="block",
        server="postgres",
        variables={
            "PSYCOPG2_TESTDB": "{database}",
            "PSYCOPG2_TESTDB_HOST": "{host}",
            "PSYCOPG2_TESTDB_USER": "postgres",
        },
    ),
    Client(
        "asyncpg",
        "asyncpg",
        ("tests",),
        ("--ignore", "tests/test__sourcecode.py", "--ignore", "tests/test__environment.py", "--timeout", "60"),
        scope="block",
        server="postgres",
        variables={"PGHOST": "{host}", "PGUSER": "postgres", "PGDATABASE": "{database}"},
    ),
)

APART = (
    Client(
        "urllib3",
        "urllib3",
        ("test",),
        ("--timeout", "10"),
        scope="block",
        # Many of them connect by themselves, beneath all pools; so does what asks which versions of TLS there are.
        variables={"TIMETRACER_UNCAPTURED": "live"},
        matched_without="every port",
        # They load `ssl` anew, so that its errors are of other classes.
        last=("test_no_ssl.py", "test_ssl.py"),
        waits_for_server="dummyserver.testcase:SocketDummyServerTestCase.quit_server_thread",
    ),
    Client(
        "http.client",
        "cpython",
        (
            # Those of `xmlrpc.client` wait without an end for what their own server hears.
            *("test_httplib.py", "test_urllib.py", "test_urllib2.py", "test_urllib2_localnet.py"),
            "test_urllib_response.py",
        ),
        ("--timeout", "10"),
        scope="block",
        source="python",
        # Many of them speak to sockets by themselves.
        variables={"TIMETRACER_UNCAPTURED": "live"},
        matched_without="every port",
    ),
)
"""Clients whose tests want an environment of their own."""
