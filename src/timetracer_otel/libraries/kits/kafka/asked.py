"""What apps ask of a cluster besides sending: which methods of a library, and their values as plain ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from timetracer_otel.base.patching import Function, Patch, Undoable
from timetracer_otel.calls.flow import flow
from timetracer_otel.calls.guarded import AppStep, Flow, Noted
from timetracer_otel.libraries.kits.kafka.call import AskedSite, same, url_of
from timetracer_otel.session import BaseSession

__all__ = [
    "CONNECT",
    "Asked",
    "Asking",
    "by_partition",
    "connect_args",
    "of_offsets",
    "of_partition",
    "of_partitions",
    "packed_set",
    "unpacked_set",
]

CONNECT = "CONNECT"


class Asked(NamedTuple):
    """One method."""

    name: str
    """The method of the library."""
    method: str
    """Of the event."""
    args: Callable[..., dict[str, Any]] = lambda *_, **__: {}
    """Makes plain values of its arguments."""
    pack: Callable[[Any], Any] = same
    """Makes plain values of what it returns."""
    unpack: Callable[[Any], Any] = same
    """The same the other way round."""


class Asking(NamedTuple):
    """How a library asks."""

    lib: str
    """The plugin."""
    guard: Callable[..., Function]
    """The guard of its methods: those of one library are all plain, or all coroutine functions."""
    pause: Callable[[float], Any]
    servers_of: Callable[[Any], Any]
    """Gives the brokers that an app names for a client."""
    error_modules: frozenset[str]
    site_class: type[AskedSite] = AskedSite
    patch: Callable[..., Undoable] = Patch

    def patches(self, owner: Any, asked: Iterable[Asked]) -> list[Undoable]:
        """The patches of those of the methods that this release of the library has."""
        return [
            self.patch(owner, each.name, partial(self._wrap, each)) for each in asked if hasattr(owner, each.name)
        ]

    def site(self, asked: Asked, client: Any, live: Any, plain: dict[str, Any]) -> AskedSite:
        """One call."""
        url = url_of(self.servers_of(client))
        site = self.site_class(self.lib, url, asked.method, plain, live, self.pause, asked.pack, asked.unpack)
        site.error_modules = self.error_modules
        return site

    def _wrap(self, asked: Asked, original: Function) -> Function:
        def begin(session: BaseSession, client: Any, *args: Any, **kwargs: Any) -> Flow | Noted:
            plain = connect_args(self.servers_of(client)) if asked.method == CONNECT else asked.args(*args, **kwargs)
            return flow(self.site(asked, client, AppStep(original, client, *args, **kwargs), plain), session)

        return self.guard(self.lib, original, begin)


def connect_args(servers: Any) -> dict[str, Any]:
    """The brokers, where there are several."""
    several = servers.split(",") if isinstance(servers, str) else list(servers or ())
    return {"brokers": several} if len(several) > 1 else {}


def by_partition(found: Mapping[Any, Any] | None) -> Any:
    """A mapping of partitions as plain values."""
    if not isinstance(found, Mapping):
        return found
    return [
        [each.topic, each.partition, list(value) if isinstance(value, tuple) else value]
        for each, value in found.items()
    ]


def of_offsets(offsets: Any = None, group_metadata: Any = None, **named: Any) -> dict[str, Any]:
    """The arguments of a method that commits offsets: offsets by partition, and maybe a group."""
    group = named.get("group_id", group_metadata)
    found = {"offsets": by_partition(offsets), "group": getattr(group, "group_id", group)}
    return {name: value for name, value in found.items() if value is not None}


def of_partition(partition: Any, *_: Any, **__: Any) -> dict[str, Any]:
    """The arguments of a method that asks for one partition."""
    return of_partitions([partition])


def of_partitions(partitions: Any, *_: Any, **__: Any) -> dict[str, Any]:
    """The arguments of a method that asks for several."""
    return {"partitions": [[each.topic, each.partition] for each in partitions]}


def packed_set(found: Any) -> Any:
    """A set of topics or partitions, or None."""
    return None if found is None else sorted(found)


def unpacked_set(found: Any) -> Any:
    """The same the other way round."""
    return None if found is None else set(found)
