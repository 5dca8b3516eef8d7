"""Connections that C code makes, of which an audit hook hears nothing: refused where Python asks for them.

Under ``block_network`` only. What is not in the table (curl, gRPC's core, other drivers that are written in C) is not
seen; a plugin of its own is the way for those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

from timetracer_otel.base.patching import Function, Patch, Seams

__all__ = ["c_connections"]


class _Entry(NamedTuple):
    """A function by which C code is asked for a connection.

    Attributes:
        name: ``function`` or ``Class.method`` in its module.
        address: Where a call of it would connect, from the module and the call's arguments; None where it would not.
    """

    name: str
    address: Callable[[ModuleType, tuple[Any, ...], Mapping[str, Any]], str | None]


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str) -> Any:
    return args[position] if position < len(args) else kwargs.get(name)


def _of_psycopg(module: ModuleType, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    return _of_libpq(module.conninfo.conninfo_to_dict(_argument(args, kwargs, 1, "conninfo") or ""))


def _of_psycopg2(module: ModuleType, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    return _of_libpq(module.extensions.parse_dsn(_argument(args, kwargs, 0, "dsn") or ""))


def _of_libpq(parameters: Mapping[str, Any]) -> str:
    # https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
    host = parameters.get("hostaddr") or parameters.get("host") or "the local PostgreSQL"
    return f"{host}:{parameters.get('port') or 5432}"


# Methods of a loop, with the loop as their first argument. A socket that is given is connected already.


def _of_stream(module: ModuleType, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    if kwargs.get("sock") is not None:
        return None
    return f"{_argument(args, kwargs, 2, 'host')}:{_argument(args, kwargs, 3, 'port')}"


def _of_unix_stream(module: ModuleType, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    return None if kwargs.get("sock") is not None else str(_argument(args, kwargs, 2, "path"))


def _of_datagrams(module: ModuleType, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    # Without a remote end it connects nowhere.
    remote = _argument(args, kwargs, 3, "remote_addr")
    return _host_and_port(remote) if remote else None


def _of_socket(module: ModuleType, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    return _host_and_port(_argument(args, kwargs, 2, "address"))


def _host_and_port(address: Any) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) and len(address) > 1 else str(address)


_TABLE: dict[str, tuple[_Entry, ...]] = {
    "psycopg": (_Entry("BaseConnection._connect_gen", _of_psycopg),),
    "psycopg2": (_Entry("_connect", _of_psycopg2),),
    "uvloop": (
        _Entry("Loop.create_connection", _of_stream),
        _Entry("Loop.create_unix_connection", _of_unix_stream),
        _Entry("Loop.create_datagram_endpoint", _of_datagrams),
        _Entry("Loop.sock_connect", _of_socket),
    ),
}
"""By module: what asks C code for connections (seen in psycopg 3.1 to 3.3, psycopg2 2.9, uvloop 0.19 to 0.23)."""


def c_connections(check: Callable[[str], None]) -> Seams:
    """What replaces those functions by ones that call ``check`` with the address first."""
    return Seams("block_network", tuple(_TABLE), partial(_patches, check))


def _patches(check: Callable[[str], None], module: ModuleType) -> list[Patch]:
    patches = []
    for entry in _TABLE[module.__name__]:
        owner, _, name = entry.name.rpartition(".")
        patches.append(
            Patch(getattr(module, owner) if owner else module, name, partial(_checked, check, module, entry))
        )
    return patches


def _checked(check: Callable[[str], None], module: ModuleType, entry: _Entry, original: Function) -> Function:
    def checked(*args: Any, **kwargs: Any) -> Any:
        address = entry.address(module, args, kwargs)
        if address is not None:
            check(address)
        return original(*args, **kwargs)

    return checked
