"""Lines about clients that have no plugin: each asks a server, or nobody where it needs none to be refused.

``UPSTREAM`` is a server's URL, and so is ``OTHER_SERVER``: another port of the same host. ``POSTGRES`` is a
database's URL for SQLAlchemy, ``REDIS_PORT`` a port on this machine. The last lines are about clients with a plugin.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import smtplib
import socket
import threading
import urllib.request
from contextlib import closing
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import oracledb
import psycopg
import psycopg2  # type: ignore[import-untyped]
import pycurl  # type: ignore[import-untyped]
import redis
import requests
import sqlalchemy as sa
import tornado.httpclient
import urllib3
from confluent_kafka.admin import AdminClient  # type: ignore[import-untyped]
from curl_cffi import requests as curl_requests

from tests.lines._line import Lines

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9")
OTHER_SERVER = os.environ.get("OTHER_SERVER", "http://127.0.0.1:9")
POSTGRES = sa.make_url(os.environ.get("POSTGRES", "postgresql://nowhere"))
ADDRESS = UPSTREAM.removeprefix("http://")
NOBODY = "127.0.0.2:9"
LINES = Lines()


@LINES.add
def by_a_stream_of_asyncio() -> Any:
    async def ask() -> Any:
        host, _, port = ADDRESS.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /users/4 HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer.rpartition(b"\r\n")[2]

    return asyncio.run(ask())


@LINES.add
def by_a_socket_in_a_thread_of_an_own_class() -> Any:
    class Worker(threading.Thread):
        found: Any = None

        def run(self) -> None:
            host, _, port = ADDRESS.partition(":")
            try:
                with socket.create_connection((host, int(port))) as connection:
                    connection.sendall(b"GET /users/5 HTTP/1.0\r\n\r\n")
                    answer = b""
                    while part := connection.recv(4096):
                        answer += part
                    self.found = answer.rpartition(b"\r\n")[2]
            except Exception as error:
                self.found = error

    worker = Worker()
    worker.start()
    worker.join()
    return worker.found


@LINES.add
def by_pycurl() -> Any:
    found: list[bytes] = []
    handle = pycurl.Curl()
    handle.setopt(handle.URL, f"{UPSTREAM}/users/6")
    handle.setopt(handle.WRITEFUNCTION, found.append)
    handle.perform()
    handle.close()
    return b"".join(found)


@LINES.add
def by_curl_cffi() -> Any:
    with curl_requests.Session() as session:
        return session.get(f"{UPSTREAM}/users/7").content


def _where() -> dict[str, Any]:
    where = {"user": POSTGRES.username, "dbname": POSTGRES.database, "port": POSTGRES.port or 5432}
    return {"host": POSTGRES.query.get("host", POSTGRES.host), **where}


@LINES.add
def by_psycopg2() -> Any:
    with closing(psycopg2.connect(**_where())) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 8")
        return cursor.fetchall()


@LINES.add
def by_psycopg() -> Any:
    with psycopg.connect(**_where()) as connection:
        return connection.execute("SELECT 9").fetchall()


@LINES.add
def by_smtplib() -> Any:
    return smtplib.SMTP("127.0.0.2", 9, timeout=5)


@LINES.add
def by_grpc() -> Any:
    try:
        with grpc.insecure_channel(NOBODY) as channel:
            return channel.unary_unary("/shop.Stock/Reserve")(b"", timeout=5)
    except grpc.RpcError as error:
        return [type(error).__name__, error.code()]


@LINES.add
def by_tornado() -> Any:
    async def ask() -> Any:
        answer = await tornado.httpclient.AsyncHTTPClient().fetch(f"{UPSTREAM}/users/20")
        return answer.body

    return asyncio.run(ask())


@LINES.add
def by_confluent_kafka() -> Any:
    return type(AdminClient({"bootstrap.servers": NOBODY, "log_level": 0})).__name__


@LINES.add
def by_oracledb() -> Any:
    try:
        return oracledb.connect(user="app", password="s3cret", dsn=f"{NOBODY}/shop", tcp_connect_timeout=1)
    except oracledb.Error as error:
        return type(error).__name__


@LINES.add
def by_a_socket_to_the_other_port() -> Any:
    host, _, port = OTHER_SERVER.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"GET /users/15 HTTP/1.0\r\n\r\n")
        return answer.read().rpartition(b"\r\n")[2]


@LINES.add
def by_httpx_to_the_other_port() -> Any:
    return httpx.get(f"{OTHER_SERVER}/users/16").json()


@LINES.add
def by_requests_to_the_other_port() -> Any:
    return requests.get(f"{OTHER_SERVER}/users/19", timeout=30).json()


@LINES.add
def by_httpx() -> Any:
    return httpx.get(f"{UPSTREAM}/users/10").json()


@LINES.add
def by_requests() -> Any:
    return requests.get(f"{UPSTREAM}/users/17", timeout=30).json()


@LINES.add
def by_urllib() -> Any:
    with urllib.request.urlopen(f"{UPSTREAM}/users/1") as answer:
        return answer.read()


@LINES.add
def by_http_client() -> Any:
    with closing(http.client.HTTPConnection(ADDRESS)) as connection:
        connection.request("GET", "/users/2")
        return connection.getresponse().read()


@LINES.add
def by_urllib3() -> Any:
    with urllib3.PoolManager() as pool:
        return pool.request("GET", f"{UPSTREAM}/users/3", retries=False).data


@LINES.add
def by_redis() -> Any:
    with redis.Redis(port=int(os.environ.get("REDIS_PORT", "1"))) as client:
        return [client.set("world", "closed"), client.get("world")]


@LINES.add
def by_sqlalchemy() -> Any:
    engine = sa.create_engine(POSTGRES.set(drivername="postgresql+psycopg"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return connection.scalar(sa.text("SELECT 18"))
