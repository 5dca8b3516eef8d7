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

__all__ = ["CLIENTS"]

CLIENTS: Final = UncapturedClients(
    connectors=CONNECTORS,
    names={"MySQLdb": "mysqlclient", "cimpl": "confluent_kafka"},
    keep_connections=frozenset(
        {
            *("psycopg", "psycopg2", "asyncpg", "aiopg", "pymysql", "mysqlclient", "mysql", "aiomysql", "asyncmy"),
            *("pymssql", "pyodbc", "oracledb", "pymongo", "cassandra", "pymemcache", "clickhouse"),
            *("grpc", "kafka", "aiokafka", "confluent_kafka", "pika", "aio_pika", "urllib3", "urllib"),
        }
    ),
    within_the_process=frozenset({"sqlite3"}),
    transports=(
        *("opentelemetry.exporter", "opentelemetry.sdk", "sentry_sdk.transport", "sentry_sdk.worker"),
        *("ddtrace.internal.writer", "ddtrace.internal.http", "ddtrace.internal.dogstatsd"),
        *("ddtrace.vendor.dogstatsd", "datadog.dogstatsd", "logfire._internal.exporters", "newrelic.core"),
        *("elasticapm.transport", "statsd.client"),
    ),
)
