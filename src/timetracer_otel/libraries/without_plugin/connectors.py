"""The functions by which Python asks clients that have no plugin for a connection, or for a call over an open one."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from timetracer_otel.calls.registry import Connector, Connectors

__all__ = ["CONNECTORS"]


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, *names: str) -> Any:
    if position < len(args):
        return args[position]
    return next((kwargs[name] for name in names if kwargs.get(name) is not None), None)


def _with_port(host: Any, port: Any) -> str:
    text = _text(host)
    if text.startswith("/"):
        return text
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _pycurl(_: ModuleType) -> list[Connector]:
    def of_handle(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        return _of_curl(args[0])

    def of_added(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        return _of_curl(args[1])

    return [
        Connector("Curl.perform", of_handle),
        Connector("Curl.perform_rb", of_handle),
        Connector("Curl.perform_rs", of_handle),
        # Handles of several transfers at once are given to such an object, and performed by it.
        Connector("CurlMulti.add_handle", of_added),
    ]


def _of_curl(handle: Any, effective_url: Any = None) -> str:
    """Where a handle of libcurl connects; the handle tells its URL once it is known."""
    try:
        url = _text(handle.getinfo(handle.EFFECTIVE_URL if effective_url is None else effective_url) or "")
    except Exception:
        url = ""
    return _of_url(url) or "a host that its handle names"


def _curl_cffi(module: ModuleType) -> list[Connector]:
    def of_handle(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        return _of_curl(args[0], module.CurlInfo.EFFECTIVE_URL)

    # A WebSocket is opened by `perform`. From then on it is written and read by functions of its own.
    return [
        Connector("Curl.perform", of_handle),
        Connector("Curl.ws_send", of_handle, is_open=True),
        Connector("Curl.ws_recv", of_handle, is_open=True),
    ]


def _curl_cffi_aio(module: ModuleType) -> list[Connector]:
    def of_added(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        handle = _argument(args, kwargs, 1, "curl")
        # The module of handles has the numbers of what they tell.
        return _of_curl(handle, sys.modules[type(handle).__module__].CurlInfo.EFFECTIVE_URL)

    # An asynchronous session gives its handles to such an object, which performs them.
    return [Connector("AsyncCurl.add_handle", of_added)]


def _of_url(url: str) -> str | None:
    parts = urlsplit(url if "://" in url else f"//{url}")
    if not parts.hostname:
        return None
    return _with_port(parts.hostname, parts.port or {"http": 80, "ftp": 21}.get(parts.scheme, 443))


def _confluent_kafka(_: ModuleType) -> list[Connector]:
    # librdkafka connects in threads of its own as soon as the object is made. Producers and consumers have a plugin.
    def address(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        settings = args[1] if len(args) > 1 and isinstance(args[1], Mapping) else {}
        found = settings.get("bootstrap.servers") or settings.get("metadata.broker.list")
        found = found or kwargs.get("bootstrap.servers")
        return _text(found) if found else "the brokers that its settings name"

    return [Connector(f"{name}.__init__", address) for name in ("_AdminClientImpl",)]


def _awscrt_s3(_: ModuleType) -> list[Connector]:
    # boto3 transfers by it where ``preferred_transfer_client`` is "crt". It connects in threads of its own.
    def address(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        headers = getattr(kwargs.get("request"), "headers", None)
        host = headers.get("host") if headers is not None else None
        return (_of_url(_text(host)) if host else None) or "a host that its request names"

    return [Connector("S3Client.make_request", address)]


def _pyodbc(_: ModuleType) -> list[Connector]:
    return [Connector("connect", lambda args, kwargs: _of_odbc(_argument(args, kwargs, 0, "connstring"), kwargs))]


def _of_odbc(text: Any, kwargs: Mapping[str, Any]) -> str:
    found = {
        key.strip().lower(): value.strip()
        for key, _, value in (part.partition("=") for part in (text or "").split(";"))
    }
    found.update({key.lower(): str(value) for key, value in kwargs.items()})
    server = found.get("server") or found.get("servername") or found.get("host")
    if found.get("socket"):
        return found["socket"]
    if server:
        host, _, port = server.removeprefix("tcp:").partition(",")
        return _with_port(host, port or found.get("port") or 1433)
    return f"the data source {found['dsn']}" if found.get("dsn") else "the database of its connection string"


def _oracledb(module: ModuleType) -> list[Connector]:
    # In thick mode Oracle's own library connects. Both modes come through here, also with a pool's connections.
    name = "ConnectionPool.__init__" if module.__name__.endswith("pool") else "Connection.__init__"
    return [Connector(name, _of_oracle)]


def _oracledb_cursor(module: ModuleType) -> list[Connector]:
    def of_open(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        dsn = getattr(getattr(args[0], "connection", None), "dsn", None)
        return _of_dsn(dsn) if isinstance(dsn, str) and dsn else "its server"

    return [
        Connector(f"{name}.{method}", of_open, is_open=True)
        for name in ("Cursor", "AsyncCursor")
        for method in ("execute", "executemany", "callproc", "callfunc")
        if hasattr(getattr(module, name, None), method)
    ]


def _of_oracle(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    params = kwargs.get("params")
    host = kwargs.get("host") or getattr(params, "host", None)
    if isinstance(host, (list, tuple)):
        host = host[0] if host else None
    if host:
        port = kwargs.get("port") or getattr(params, "port", None) or 1521
        return _with_port(host, port[0] if isinstance(port, (list, tuple)) else port)
    # The pool that a connection comes from knows its data source.
    dsn = _argument(args, kwargs, 1, "dsn") or getattr(kwargs.get("pool"), "dsn", None)
    if isinstance(dsn, str) and dsn:
        return _of_dsn(dsn)
    return "the database of its settings"


def _of_dsn(dsn: str) -> str:
    """``host:port/service``, ``tcps://host/service``, or a description that begins with a bracket."""
    described = re.search(r"HOST\s*=\s*([^)\s]+)", dsn, re.IGNORECASE)
    if described is not None:
        port = re.search(r"PORT\s*=\s*(\d+)", dsn, re.IGNORECASE)
        return _with_port(described[1], port[1] if port is not None else 1521)
    host, _, port_text = dsn.rpartition("@")[2].rpartition("//")[2].partition("/")[0].partition(":")
    return _with_port(host, port_text or 1521)


CONNECTORS: Mapping[str, Connectors] = {
    "pycurl": _pycurl,
    "curl_cffi.curl": _curl_cffi,
    "curl_cffi.aio": _curl_cffi_aio,
    "confluent_kafka.cimpl": _confluent_kafka,
    "awscrt.s3": _awscrt_s3,
    "pyodbc": _pyodbc,
    "oracledb.connection": _oracledb,
    "oracledb.pool": _oracledb,
    "oracledb.cursor": _oracledb_cursor,
}
"""By module. psycopg and psycopg2 are declared by the plugin of SQLAlchemy, which stands on them."""
