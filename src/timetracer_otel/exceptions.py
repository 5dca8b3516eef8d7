"""Every error that this library raises on purpose. Imports nothing of ours.

TimetracerError
├── ConfigurationError            a setting or an argument is wrong
├── CassetteError                 a cassette file cannot be used
│   ├── CassetteNotFoundError     it is not there
│   ├── CassetteSchemaError       its format or version is not ours
│   └── CassetteTooOldError       it is older than the setting ``max_age`` allows
├── ReplayMismatchError           a replay cannot answer a call
├── ReplayFailedError             a replay ended, and something was wrong with it
├── NetworkBlockedError           a call past the plugins that nobody allowed
└── PluginError
    └── PluginNotFoundError       nobody knows a plugin of that name, or its library is missing
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

__all__ = [
    "CassetteError",
    "CassetteNotFoundError",
    "CassetteSchemaError",
    "CassetteTooOldError",
    "ConfigurationError",
    "NetworkBlockedError",
    "PluginError",
    "PluginNotFoundError",
    "ReplayFailedError",
    "ReplayMismatchError",
    "TimetracerError",
]


def _rebuild(cls: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class TimetracerError(Exception):
    """Base of every error that this library raises on purpose.

    Errors pickle with all their attributes. Test runners need that: pytest-xdist sends them between processes.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, dict(self.__dict__)))


class ConfigurationError(TimetracerError):
    """A setting or an argument has a value that cannot be used; the text names it and what is allowed."""


class CassetteError(TimetracerError):
    """A cassette file cannot be read or written.

    Attributes:
        path: The file, where one is known.
        offset: Byte offset in the uncompressed stream at which it broke, where one is known.
    """

    def __init__(self, message: str, *, path: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset


class CassetteNotFoundError(CassetteError, FileNotFoundError):
    """There is no file at the path of a cassette; also a `FileNotFoundError`, as which timetracer 1.6 raises it."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"Cassette not found: {path}. Record it first, or correct TIMETRACER_CASSETTE (or the path argument).",
            path=path,
        )


class CassetteSchemaError(CassetteError):
    """The file is a cassette of a format or version that this release cannot read."""

    def __init__(self, path: str, expected_version: str, actual_version: str | None) -> None:
        super().__init__(
            f"Cassette schema mismatch in {path}: expected {expected_version}, got {actual_version}. "
            "Read it with a newer timetracer-otel, or record it again.",
            path=path,
        )
        self.expected_version = expected_version
        self.actual_version = actual_version


class CassetteTooOldError(CassetteError):
    """A cassette, or one of a folder, is older than the setting ``max_age`` allows."""


class ReplayMismatchError(TimetracerError):
    """A replay cannot answer a call from its cassette.

    It is no subclass of any client library's error: otherwise an ``except httpx.HTTPError`` of the app would
    catch it and take it for a failure of the server.

    Attributes:
        cassette_path: The cassette that was asked.
        endpoint: The recorded request, as ``METHOD path``.
        event_index: ``eid`` of the recorded event that was nearest or could not be used.
        expected: Fields of that event that differ, by name.
        actual: The same fields of the call that was made.
        hint: What to do about it.
        candidates: The nearest recorded events, best first, as lines of text; or, where a request has no recording,
            the nearest recorded requests.
        rules: The rules of the setting ``ignore`` that would leave out all that differs from the nearest event;
            empty where no rule is advised.
        advice: The setting with these rules, to be copied as it stands; empty where no rule is advised.
    """

    def __init__(
        self,
        message: str,
        *,
        cassette_path: str | None = None,
        endpoint: str | None = None,
        event_index: int | None = None,
        expected: Mapping[str, Any] | None = None,
        actual: Mapping[str, Any] | None = None,
        hint: str | None = None,
        candidates: Sequence[str] = (),
        candidates_are: str = "calls",
        rules: Sequence[str] = (),
        advice: str = "",
    ) -> None:
        self.message = message
        self.cassette_path = cassette_path
        self.endpoint = endpoint
        self.event_index = event_index
        self.expected: dict[str, Any] = dict(expected or {})
        self.actual: dict[str, Any] = dict(actual or {})
        self.hint = hint
        self.candidates: tuple[str, ...] = tuple(candidates)
        self.rules: tuple[str, ...] = tuple(rules)
        self.advice = advice
        self._candidates_are = candidates_are
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        lines = [self.message]
        if self.candidates:
            lines.append(f"  nearest recorded {self._candidates_are}:")
            lines += [f"    {line}" for candidate in self.candidates for line in candidate.splitlines()]
        elif self.expected or self.actual:
            if self.event_index is not None:
                lines.append(f"  nearest recorded call: #{self.event_index}")
            for name in dict.fromkeys([*self.expected, *self.actual]):
                lines.append(f"    {name}: recorded {self.expected.get(name)!r}, now {self.actual.get(name)!r}")
        if self.hint:
            lines.append(f"  what to do: {self.hint}")
        if self.advice:
            lines += ["  to leave out of the comparison what changes from run to run:", f"    {self.advice}"]
        if self.cassette_path:
            lines.append(f"  cassette: {self.cassette_path}")
        if self.endpoint:
            lines.append(f"  recorded request: {self.endpoint}")
        return lines


class _Verdict(Protocol):
    """The account of a replay.

    `timetracer_otel.types.Verdict` is one. It is not imported here, since it needs the errors of this module.
    """

    @property
    def ok(self) -> bool: ...
    @property
    def misses(self) -> tuple[ReplayMismatchError, ...]: ...
    @property
    def repeats(self) -> int: ...
    @property
    def recorded(self) -> int: ...
    @property
    def live(self) -> Mapping[str, int]: ...
    @property
    def hits(self) -> Sequence[Any]: ...
    @property
    def unused(self) -> Sequence[Any]: ...
    @property
    def blocked(self) -> tuple[NetworkBlockedError, ...]: ...


class ReplayFailedError(TimetracerError):
    """A replay ended, and a call of it had no answer. The app may have swallowed the error that said so.

    Also raised where a recorded event was not asked for and ``fail_on_unused`` is set, and where a connection was
    refused that no plugin makes.

    Attributes:
        verdict: The account of the replay, a `timetracer_otel.types.Verdict`.
    """

    def __init__(self, message: str, verdict: _Verdict) -> None:
        super().__init__(message)
        self.verdict = verdict


class NetworkBlockedError(TimetracerError):
    """A call that no plugin captures, in a replay or while ``block_network`` is set.

    It is no ``OSError``: a client would take that for a fault of the network, and try again.

    Attributes:
        library: Who asked for it: a package, or a module of the standard library.
        address: What was to be connected to, as ``host:port`` or the path of a socket.
        made_by: The code that asked for the connection: module, file, line and function.
        called_from: The nearest line of code that is not an installed package, where there is one.
        hint: What to do.
        in_cassette: What the cassette has of such calls; None where there is no cassette.
        open_already: Whether the connection was open before, so that the call was refused, not the connection.
    """

    def __init__(
        self,
        address: str,
        made_by: str,
        called_from: str | None,
        hint: str,
        library: str,
        *,
        in_cassette: str | None = None,
        open_already: bool = False,
    ) -> None:
        what = "a call over an open connection" if open_already else "a connection"
        lines = [f"Blocked: {what} of {library} to {address}, which no plugin captures", f"  made by: {made_by}"]
        if called_from is not None:
            lines.append(f"  called from: {called_from}")
        if in_cassette is not None:
            lines.append(f"  in the cassette: {in_cassette}")
        super().__init__("\n".join([*lines, f"  what to do: {hint}"]))
        self.address = address
        self.made_by = made_by
        self.called_from = called_from
        self.hint = hint
        self.library = library
        self.in_cassette = in_cassette
        self.open_already = open_already


class PluginError(TimetracerError):
    """A plugin cannot do what was asked of it."""


class PluginNotFoundError(PluginError):
    """Nobody knows a plugin of that name, or the library it is for is not installed."""

    def __init__(self, plugin_name: str) -> None:
        super().__init__(
            f"Plugin {plugin_name!r} not found. To install it: "
            f'pip install {plugin_name} "timetracer-otel[{plugin_name}]"'
        )
        self.plugin_name = plugin_name
