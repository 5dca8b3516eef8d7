"""``block_network``, by the marker, `timetracer_config` or the ini option: connections that no plugin makes for a
session are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import pytest

from timetracer_otel.base.hosts import ALLOWED, Hosts
from timetracer_otel.blocks import SessionBlock
from timetracer_otel.config import TraceConfig
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.session import TraceSession

__all__ = ["ALLOWED_HOSTS_INI", "BLOCK_INI", "MARKER", "Blocking", "blocked"]

MARKER = "block_network"
BLOCK_INI = "timetracer_block_network"
ALLOWED_HOSTS_INI = "timetracer_allowed_hosts"
_HINT = (
    "mark the test `timetracer` to record its calls and to replay them, name the host in allowed_hosts of "
    "`block_network`, or let the test out of it: @pytest.mark.block_network(False)."
)


class Blocking(NamedTuple):
    """What a test may connect to."""

    settings: Mapping[str, Any] = {}
    """Of a session of the test, above all others: ``block_network``, where anybody says it."""
    allowed_hosts: Hosts | None = None

    @classmethod
    def of(cls, item: pytest.Item, settings: Mapping[str, Any]) -> Blocking:
        """What the nearest marker says, or else the settings, or else the ini option. The hosts of the marker and of
        the ini option are allowed.

        Args:
            item: The test.
            settings: Of its session, or what `timetracer_config` gives where it has none.

        Raises:
            ConfigurationError: The marker has another argument, or hosts that are none.
        """
        marker = item.get_closest_marker(MARKER)
        is_on = settings.get(MARKER, item.config.getini(BLOCK_INI))
        hosts = list(item.config.getini(ALLOWED_HOSTS_INI))
        if marker is not None:
            is_on, more = _arguments(*marker.args, **marker.kwargs)
            hosts += more
        if not is_on:
            return cls({MARKER: False} if marker is not None or MARKER in settings else {})
        try:
            return cls({MARKER: True}, Hosts(hosts) if hosts else None)
        except ValueError:
            raise ConfigurationError(f"{MARKER}: {hosts!r} is not allowed. Allowed: {ALLOWED}.") from None

    @property
    def is_on(self) -> bool:
        """Whether connections are refused."""
        return bool(self.settings.get(MARKER))


def _arguments(*positional: Any, **named: Any) -> tuple[bool, Sequence[str]]:
    enabled = named.pop("enabled", positional[0] if positional else True)
    hosts = named.pop("allowed_hosts", ())
    hosts = [hosts] if isinstance(hosts, str) else hosts
    fine = isinstance(enabled, bool) and isinstance(hosts, Sequence) and all(isinstance(each, str) for each in hosts)
    if not fine or named or len(positional) > 1:
        raise ConfigurationError(
            f"{MARKER}: allowed are enabled (True or False) and allowed_hosts (a list of patterns)."
        )
    return enabled, hosts


class _NoSession(TraceSession):
    """Stands for the session of a test that has none: calls of plugins are as any others."""

    block_hint = _HINT
    refuses_plugins = True

    def wants(self, plugin_name: str) -> bool:
        """False, of any plugin."""
        return False


class _Block(SessionBlock[TraceSession]):
    """What is needed while connections are refused, without a recording."""

    def _begin(self) -> tuple[TraceSession, str | None]:
        return _NoSession(self._config), None

    def _end(self, session: TraceSession, path: str | None, error: BaseException | None) -> None:
        session.finalize()
        if error is None and session.blocked:
            raise session.blocked[0]


def blocked() -> AbstractContextManager[TraceSession]:
    """Refuse every connection in a block. Its session records nothing."""
    return _Block(None, TraceConfig(block_network=True))
