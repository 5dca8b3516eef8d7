"""Connections that C code makes. Python's audit hooks hear nothing of them, so we refuse them where Python asks.

The libraries declare these functions (`LibraryPlugin.connectors`): psycopg asks libpq, for instance. Those of
well-known clients without a plugin are declared as well (`UncapturedClients`). The one table that stands here is
about uvloop, which is an event loop and no client. Functions that nobody declares are not seen: a plugin for that
library is the remedy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from types import BuiltinFunctionType, ModuleType
from typing import Any

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.base.rebinding import Rebound, is_immutable, subclasses_of, with_methods
from timetracer_otel.base.tracebacks import leave_no_frame
from timetracer_otel.calls.guarded import contain
from timetracer_otel.calls.registry import Connector, Connectors
from timetracer_otel.exceptions import TimetracerError
from timetracer_otel.guard.declared_seams import DeclaredSeams

__all__ = ["CConnections", "asking"]

asking: ContextVar[str | None] = ContextVar("timetracer_otel_asking", default=None)
"""The library whose function is under way that was asked for a connection, and has been let out. The sockets that it
opens in Python are that connection: oracledb's, for instance."""


class CConnections(DeclaredSeams[Connectors]):
    """The declared functions, replaced by ones that call ``check`` first, with the address and the library.

    Not safe from several threads at once: the guard calls it under its lock.

    Args:
        check: Raises where no connection may be made, or used if it is open (the last argument). The library is None
            where the stack tells it: the module is one of the standard library, or an event loop.
        in_recordings: Whether the functions are those that are replaced in recordings as well. Such a function asks
            for a new connection, and has a place of its own. The others are called for each call over an open
            connection, or are methods of classes in C, which another class has to stand in for. A recording
            changes neither.
    """

    def __init__(self, check: Callable[[str, str | None, bool], None], *, in_recordings: bool) -> None:
        super().__init__()
        self._check = check
        self._in_recordings = in_recordings
        self._names: dict[str, str] = {}
        self._classes: dict[type[Any], tuple[type[Any], tuple[str | None, ...] | None]] = {}
        self.know(_OF_LOOPS)

    def know(self, connectors: Mapping[str, Connectors], names: Mapping[str, str] | None = None) -> None:
        """Add modules with such functions. A module that is known already stays as it is.

        Args:
            connectors: The functions, by module.
            names: By package: what the library is called, where that is another name.
        """
        self._names.update(names or {})
        self._declare(connectors)

    def _patches(self, declared: Connectors, module: ModuleType) -> list[Undoable]:
        patches: list[Undoable] = []
        package = module.__name__.partition(".")[0]
        library = (
            None
            if package in sys.stdlib_module_names or module.__name__ in _OF_LOOPS
            else self._names.get(package, package)
        )
        in_c: dict[type[Any], dict[str, Connector]] = {}
        for connector in declared(module):
            owner, _, name = connector.name.rpartition(".")
            holder: Any = getattr(module, owner) if owner else module
            if self._in_recordings is (connector.is_open or is_immutable(holder)):
                continue
            if is_immutable(holder):
                in_c.setdefault(holder, {})[name] = connector
                continue
            wrap = partial(self._checked, connector, library)
            found = getattr(holder, name)
            if isinstance(found, BuiltinFunctionType):
                patches.append(Rebound(found, wrap(found)))
            else:
                patches.append(Patch(holder, name, wrap))
        for original, connectors in in_c.items():
            methods = {name: partial(self._checked, one, library) for name, one in connectors.items()}
            made = self._class_for(original, methods, library)
            patches += subclasses_of(original, methods, but=made)
            patches.append(Rebound(original, made))
        return patches

    def _class_for(
        self, original: type[Any], methods: Mapping[str, Callable[[Function], Function]], library: str | None
    ) -> type[Any]:
        """The class that takes the place of one that is written in C: one for the life of the process.

        A class of its own for each replay would stay among the subclasses of the original until the collector finds
        it, and every replay goes through these.
        """
        wanted = library, *methods
        made, has = self._classes.get(original, (original, None))
        if has != wanted:
            made = with_methods(original, methods)
            self._classes[original] = made, wanted
        return made

    def _checked(self, connector: Connector, library: str | None, original: Function) -> Function:
        def checked(*args: Any, **kwargs: Any) -> Any:
            # A guard (see `calls.guarded`): a fault of ours is a miss in a replay, and nothing while recording.
            address = None
            try:
                address = connector.address(args, kwargs)
                if address is not None:
                    self._check(address, library, connector.is_open)
            except TimetracerError:
                raise
            except Exception as fault:
                contain(library or "guard", None, fault)
            token = asking.set(library if address is not None else asking.get())
            try:
                return original(*args, **kwargs)
            except BaseException as error:
                leave_no_frame(error)
                raise
            finally:
                asking.reset(token)

        return checked


def _argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], position: int, name: str) -> Any:
    return args[position] if position < len(args) else kwargs.get(name)


# The first argument of these methods is the loop. A socket that is given with ``sock`` is connected already.


def _of_stream(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    if kwargs.get("sock") is not None:
        return None
    return f"{_argument(args, kwargs, 2, 'host')}:{_argument(args, kwargs, 3, 'port')}"


def _of_unix_stream(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    return None if kwargs.get("sock") is not None else str(_argument(args, kwargs, 2, "path"))


def _of_datagrams(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    # Without a remote address, an endpoint for datagrams connects nowhere.
    remote = _argument(args, kwargs, 3, "remote_addr")
    return _host_and_port(remote) if remote else None


def _of_socket(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    return _host_and_port(_argument(args, kwargs, 2, "address"))


def _host_and_port(address: Any) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) and len(address) > 1 else str(address)


def _loop_connectors(_: ModuleType) -> tuple[Connector, ...]:
    return (
        Connector("Loop.create_connection", _of_stream),
        Connector("Loop.create_unix_connection", _of_unix_stream),
        Connector("Loop.create_datagram_endpoint", _of_datagrams),
        Connector("Loop.sock_connect", _of_socket),
    )


_OF_LOOPS: Mapping[str, Connectors] = {"uvloop": _loop_connectors}
"""Event loops whose connections are made by C code (uvloop 0.19 to 0.23)."""
