"""All plugins: found by entry point or registered in code, ours and other people's alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from timetracer_otel.base import faults
from timetracer_otel.base.plugin_names import installed
from timetracer_otel.redact import forms

__all__ = [
    "Activatable",
    "Compared",
    "Connecting",
    "ConnectingInC",
    "Connector",
    "Connectors",
    "LeftOut",
    "Maker",
    "UncapturedClients",
    "Verifier",
    "load_plugins",
    "register",
]


class Activatable(Protocol):
    """What every plugin must offer: sessions put its seams in, and take them out."""

    @property
    def name(self) -> str:
        """The plugin's name, as in the mock and live lists."""
        ...

    def activate(self) -> None:
        """Install the seams, now or when the library is imported; one `deactivate` undoes one `activate`."""

    def deactivate(self) -> None:
        """Undo one `activate`."""


@runtime_checkable
class LeftOut(Protocol):
    """A plugin with instrumentors that ``opentelemetry-instrument`` leaves out although they would work."""

    def left_out(self) -> Collection[str]:
        """The names of these instrumentors, as their entry points have them."""
        ...

    def instrument_left_out(self) -> None:
        """Switch these instrumentors on, where the app has a tracer provider."""


class Connecting(Protocol):
    """A plugin that says whose connections are its own."""

    @property
    def packages(self) -> Collection[str]:
        """Top-level packages. A connection that code of one of them makes belongs to the plugin."""
        ...


class Connector(NamedTuple):
    """A function by which Python asks C code for a connection, or for a call over one that is open.

    Python's audit hooks hear nothing of these. In a replay, and under ``block_network``, the function is replaced by
    one that refuses. Example: psycopg's ``BaseConnection._connect_gen`` asks libpq.
    """

    name: str
    """``function`` or ``Class.method`` in its module."""
    address: Callable[[tuple[Any, ...], Mapping[str, Any]], str | None]
    """Where a call with these arguments would connect (``host:port``); None where it connects nowhere.

    A method gets its object as the first argument."""
    is_open: bool = False
    """Whether the connection is there already, so that the function uses it."""


Connectors: TypeAlias = "Callable[[ModuleType], Sequence[Connector]]"
"""Gives the connectors of a module, once the module is imported."""


class ConnectingInC(Protocol):
    """A plugin that says which functions of its library, or of its drivers, ask C code for connections."""

    @property
    def connectors(self) -> Mapping[str, Connectors]:
        """By the import name of the module that has the functions."""
        ...


class Verifier(NamedTuple):
    """A function that says whether a secret is genuine: a signature, or the hash of a password."""

    name: str
    """In its module; that of a method has its class before it (``Signer.unsign``)."""
    given: Callable[[tuple[Any, ...], Mapping[str, Any]], Any]
    """What it is asked about, among its arguments: a text, bytes, what a `Maker` made, or a tuple of such."""
    fails_by: str = ""
    """The name of the error, or of a base class of it, that it raises where the secret is not genuine. It returns
    False otherwise.
    """


class Compared(NamedTuple):
    """What a function compares: it is asked whether two texts are the same. Two pseudonyms are of two secrets."""

    one: Any
    other: Any


class Maker(NamedTuple):
    """A function that makes something of a secret: an object of a key, a digest. It passes for a pseudonym, too."""

    name: str
    """As that of a `Verifier`. Of ``__init__``, what is made is the object itself."""
    given: Callable[[tuple[Any, ...], Mapping[str, Any]], Any]
    """What it makes it of, as that of a `Verifier`."""


@dataclass(frozen=True)
class UncapturedClients:
    """What a replay must know of clients that have no plugin, in order to refuse their calls, or to count them."""

    connectors: Mapping[str, Connectors] = field(default_factory=dict)
    """By module: the functions by which Python asks for a connection, or for a call over one that is open."""
    names: Mapping[str, str] = field(default_factory=dict)
    """By package: what OpenTelemetry's instrumentation of a library is called, where that is another name."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """By library or package: the group of the mock and live lists that it belongs to. Who names a group there means
    these clients, too."""
    keep_connections: Collection[str] = ()
    """Libraries with connections of their own, as OpenTelemetry's instrumentations of them are called. The span of
    such a call begins before anything is sent."""
    seen_at_each_call: Collection[str] = ()
    """Libraries each of whose calls goes through one of the `connectors`, and so is refused by its address even where
    its span has none."""
    within_the_process: Collection[str] = ()
    """Libraries that read and write files, and connect to nobody. Their spans are counted, and never refused."""
    connect_for_others: Collection[str] = ()
    """Libraries that connect for others, in tasks of their own. The stack does not tell for whom, so a recording does
    not name them."""
    verifiers: Mapping[str, tuple[Verifier | Maker, ...]] = field(default_factory=dict)
    """By module: the functions that say whether a secret is genuine, and those that make something of one. No
    pseudonym is genuine."""
    transports: tuple[str, ...] = ()
    """Modules by which telemetry is sent, as far as that does not suppress instrumentation (OpenTelemetry's own
    exporters do, while they send). Only transports: packages of tracing wrap the app's calls, too, and stand on the
    stack of these."""


_loaded: dict[str, Activatable] | None = None
_are_loaded = False
_registered: dict[str, Activatable] = {}
_all: tuple[Activatable, ...] | None = None
_lock = threading.Lock()


def load_plugins() -> tuple[Activatable, ...]:
    """Every plugin that is installed or registered: the same object, until another one is registered.

    One that fails to load is logged and left out.

    So are plugins of libraries that ``OTEL_SDK_DISABLED`` or ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`` switch off:
    these variables are about telemetry, and a replay without the plugins would make real calls.
    """
    global _all, _are_loaded, _loaded
    if _all is not None:
        return _all
    if _loaded is None:
        _loaded = {}
        for entry_point in installed().values():
            try:
                _loaded[entry_point.name] = entry_point.load()
            except Exception as error:
                faults.contain(f"plugin {entry_point.name}", error)
        _are_loaded = True
    with _lock:
        found = tuple({**_loaded, **_registered}.values())
        # Who asks while plugins are loaded gets those that are there by then.
        if _are_loaded:
            _all = found
        return found


def register(plugin: Activatable) -> None:
    """Add a plugin in code; it takes part in sessions that begin from now on."""
    global _all
    with _lock:
        _registered[plugin.name] = plugin
        _all = None


forms.find_by(load_plugins)
