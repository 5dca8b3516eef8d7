"""Well-known clients that have no plugin: what a replay must know of them in order to refuse or count their calls.

Audit hooks see the sockets of Python code when they connect. Clients that connect in C code are refused at the
functions by which Python asks for a connection (`connectors`). A connection that was open before the replay began
connects no more: such a client is refused at the function that every call goes through, or when its span begins.

A library that has a plugin is not listed here: its plugin says such things (`LibraryPlugin.connectors`).
"""

from __future__ import annotations

from typing import Final

from timetracer_otel.calls.registry import UncapturedClients
from timetracer_otel.libraries.without_plugin.connectors import CONNECTORS
from timetracer_otel.libraries.without_plugin.verifiers import VERIFIERS

__all__ = ["CLIENTS"]

_DATABASES = (
    *(
        "psycopg",
        "psycopg2",
        "psycopg_pool",
        "asyncpg",
        "aiopg",
        "pg8000",
        "pymysql",
        "mysqlclient",
        "MySQLdb",
        "mysql",
    ),
    *("aiomysql", "asyncmy", "pymssql", "pyodbc", "oracledb", "cx_Oracle", "pymongo", "motor", "cassandra"),
    *("clickhouse_connect", "clickhouse_driver"),
)

CLIENTS: Final = UncapturedClients(
    connectors=CONNECTORS,
    names={"MySQLdb": "mysqlclient", "cimpl": "confluent_kafka"},
    groups={
        **dict.fromkeys(_DATABASES, "db"),
        **dict.fromkeys(("pymongo", "motor"), "nosql"),
        **dict.fromkeys(
            ("urllib3", "urllib", "http", "pycurl", "curl_cffi", "httplib2", "niquests", "awscrt"), "http"
        ),
        **dict.fromkeys(("valkey", "coredis", "glide"), "redis"),
    },
    keep_connections=frozenset(
        {
            *_DATABASES,
            *("pymemcache", "grpc", "kafka", "aiokafka", "confluent_kafka", "pika", "aio_pika", "urllib3", "urllib"),
        }
    ),
    # tornado opens a connection for each request.
    seen_at_each_call=frozenset({"grpc", "oracledb", "psycopg", "tornado"}),
    connect_for_others=frozenset({"anyio", "aiohappyeyeballs", "trio", "gevent", "eventlet"}),
    verifiers=VERIFIERS,
    within_the_process=frozenset({"sqlite3"}),
    transports=(
        *("opentelemetry.exporter", "opentelemetry.sdk", "sentry_sdk.transport", "sentry_sdk.worker"),
        *("ddtrace.internal.writer", "ddtrace.internal.http", "ddtrace.internal.dogstatsd"),
        *("ddtrace.vendor.dogstatsd", "datadog.dogstatsd", "logfire._internal.exporters", "newrelic.core"),
        *("elasticapm.transport", "statsd.client"),
    ),
)
