"""The plugins, under the names that the public contract promises: each captures and replays the calls of one library.

`enable_x` and `disable_x` switch the plugin of x on and off for the whole process. `function_plugin` makes a plugin
for a library that has none here. A library is imported only by its own plugin, and only when that plugin is enabled.
"""

from timetracer_otel.calls import hooks
from timetracer_otel.calls.functions import function_plugin
from timetracer_otel.guard import network_guard
from timetracer_otel.libraries.aio_pika import disable_aio_pika, enable_aio_pika
from timetracer_otel.libraries.aiohttp import disable_aiohttp, enable_aiohttp
from timetracer_otel.libraries.aiokafka import disable_aiokafka, enable_aiokafka
from timetracer_otel.libraries.aiomysql import disable_aiomysql, enable_aiomysql
from timetracer_otel.libraries.aiosqlite import disable_aiosqlite, enable_aiosqlite
from timetracer_otel.libraries.asyncmy import disable_asyncmy, enable_asyncmy
from timetracer_otel.libraries.asyncpg import disable_asyncpg, enable_asyncpg
from timetracer_otel.libraries.botocore import disable_botocore, enable_botocore
from timetracer_otel.libraries.confluent_kafka import disable_confluent_kafka, enable_confluent_kafka
from timetracer_otel.libraries.django_orm import disable_django_orm, enable_django_orm
from timetracer_otel.libraries.grpc import disable_grpc, enable_grpc
from timetracer_otel.libraries.httpx import disable_httpx, enable_httpx
from timetracer_otel.libraries.kafka_python import disable_kafka_python, enable_kafka_python
from timetracer_otel.libraries.mysqlclient import disable_mysqlclient, enable_mysqlclient
from timetracer_otel.libraries.mysqlconnector import disable_mysqlconnector, enable_mysqlconnector
from timetracer_otel.libraries.pika import disable_pika, enable_pika
from timetracer_otel.libraries.psycopg import disable_psycopg, enable_psycopg
from timetracer_otel.libraries.psycopg2 import disable_psycopg2, enable_psycopg2
from timetracer_otel.libraries.pymongo import disable_motor, disable_pymongo, enable_motor, enable_pymongo
from timetracer_otel.libraries.pymysql import disable_pymysql, enable_pymysql
from timetracer_otel.libraries.redis import disable_redis, enable_redis
from timetracer_otel.libraries.requests import disable_requests, enable_requests
from timetracer_otel.libraries.sqlalchemy import disable_sqlalchemy, enable_sqlalchemy
from timetracer_otel.libraries.sqlite3 import disable_sqlite3, enable_sqlite3
from timetracer_otel.libraries.urllib import disable_urllib, enable_urllib
from timetracer_otel.libraries.urllib3 import disable_urllib3, enable_urllib3
from timetracer_otel.libraries.websocket_client import disable_websocket_client, enable_websocket_client
from timetracer_otel.libraries.websockets import disable_websockets, enable_websockets

__all__ = [
    "disable_aio_pika",
    "disable_aiohttp",
    "disable_aiosqlite",
    "disable_aiomysql",
    "disable_asyncmy",
    "disable_asyncpg",
    "disable_botocore",
    "disable_django_orm",
    "disable_grpc",
    "disable_httpx",
    "disable_motor",
    "disable_mysqlclient",
    "disable_mysqlconnector",
    "disable_aiokafka",
    "disable_confluent_kafka",
    "disable_kafka_python",
    "disable_pika",
    "disable_psycopg",
    "disable_psycopg2",
    "disable_pymysql",
    "disable_pymongo",
    "disable_redis",
    "disable_requests",
    "disable_sqlalchemy",
    "disable_sqlite3",
    "disable_urllib",
    "disable_urllib3",
    "disable_websocket_client",
    "disable_websockets",
    "enable_aio_pika",
    "enable_aiohttp",
    "enable_aiosqlite",
    "enable_aiomysql",
    "enable_asyncmy",
    "enable_asyncpg",
    "enable_botocore",
    "enable_django_orm",
    "enable_grpc",
    "enable_httpx",
    "enable_motor",
    "enable_mysqlclient",
    "enable_mysqlconnector",
    "enable_aiokafka",
    "enable_confluent_kafka",
    "enable_kafka_python",
    "enable_pika",
    "enable_psycopg",
    "enable_psycopg2",
    "enable_pymysql",
    "enable_pymongo",
    "enable_redis",
    "enable_requests",
    "enable_sqlalchemy",
    "enable_sqlite3",
    "enable_urllib",
    "enable_urllib3",
    "enable_websocket_client",
    "enable_websockets",
    "function_plugin",
]


def _watch_spans() -> None:
    """Attach the span processor when a plugin is enabled by hand, before any session."""
    from timetracer_otel.process.runtime import runtime

    runtime().watch_spans()


hooks.watch_spans = _watch_spans
# A plugin that is enabled by hand and cannot install its seams: replays that come later refuse its library's calls.
hooks.closed_replays = network_guard.ClosedReplays
