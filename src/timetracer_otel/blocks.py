"""`record` and `replay`: a session for as long as a block or a function runs.

What a session needs (the rooms ``session``, ``cassette`` and ``process``) is imported when the first block begins. A
test module that imports `record` for one test would otherwise make every other test run pay for it.
"""

# pyright: strict

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import Token
from dataclasses import fields, replace
from pathlib import Path
from types import AsyncGeneratorType, GeneratorType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, cast

from opentelemetry.context import Context

from timetracer_otel.base import faults
from timetracer_otel.base.plugin_names import known_names
from timetracer_otel.config import TraceConfig
from timetracer_otel.constants import CompressionType, RecordMode, TraceMode
from timetracer_otel.current import attach_session, detach_session
from timetracer_otel.exceptions import CassetteError, ConfigurationError, ReplayFailedError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from timetracer_otel.config import Settings
    from timetracer_otel.process.folder_surroundings import FolderSurroundings
    from timetracer_otel.process.surroundings import Surroundings
    from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
    from timetracer_otel.session.record_modes import ReplayOrRecording
    from timetracer_otel.types import Verdict

__all__ = ["SessionBlock", "check_verdict", "record", "replay"]

SessionT = TypeVar("SessionT", bound="BaseSession")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class SessionBlock(ABC, Generic[SessionT]):
    """Begins a session with a block (``with``, ``async with``), or with each call of a function, and ends it.

    The object may be used again after the block; each block has a session of its own. One object is for one task at
    a time. As a decorator it makes a new object for each call.
    """

    def __init__(self, path: str | os.PathLike[str] | None, config: TraceConfig) -> None:
        self._path = os.fspath(path) if path is not None else None
        self._config = config
        self._open: list[tuple[SessionT, str | None, Surroundings]] = []
        self._tokens: list[Token[Context]] = []

    @abstractmethod
    def _begin(self) -> tuple[SessionT, str | None]:
        """The new session, and the absolute path of the file to save it to: the block may change the folder."""

    @abstractmethod
    def _end(self, session: SessionT, path: str | None, error: BaseException | None) -> None: ...

    def begin(self) -> SessionT:
        """Begin a session without making it current."""
        for line in self._config.warnings(known_names()):
            faults.warn_once(line, line)
        session, path = self._begin()
        self._open.append((session, path, _needed().Surroundings(session, self._config.block_network)))
        return session

    def end(self, error: BaseException | None) -> None:
        """End the session that was begun last, by an error or not."""
        session, path, surroundings = self._open.pop()
        surroundings.end()
        self._end(session, path, error)

    def __enter__(self) -> SessionT:
        session = self.begin()
        self._tokens.append(attach_session(session))
        return session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        detach_session(self._tokens.pop())
        self.end(error)

    async def __aenter__(self) -> SessionT:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: FunctionT) -> FunctionT:
        """Decorate a function, sync or async: each call is a session of its own.

        Raises:
            TypeError: The function is a generator: its body runs later, each time somebody asks for a value. The
                call raises where only the result shows that code will run later: where a plain function returns a
                coroutine, a task, a generator, or the result of a function under ``contextlib.contextmanager``.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(
                f"{function.__name__} is a generator function: use `with {type(self).__name__}(...)` inside it."
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_async_session(*args: Any, **kwargs: Any) -> Any:
                async with type(self)(self._path, config=self._config):
                    return await function(*args, **kwargs)

            return cast("FunctionT", in_async_session)

        @functools.wraps(function)
        def in_session(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self._path, config=self._config):
                result = function(*args, **kwargs)
                if isinstance(result, _LAZY) or inspect.isawaitable(result):
                    raise _runs_later(type(self).__name__, function.__name__, result)
                return result

        return cast("FunctionT", in_session)


_LAZY = (
    *(GeneratorType, AsyncGeneratorType),
    # Functions under contextlib's decorators return objects of these classes.
    contextlib._GeneratorContextManager,  # pyright: ignore[reportPrivateUsage] - they have no public name
    contextlib._AsyncGeneratorContextManager,  # pyright: ignore[reportPrivateUsage]
)


def _runs_later(scope: str, name: str, result: Any) -> TypeError:
    """The error for a decorated function whose result would run after the session, so that its calls would go out."""
    # Python warns of a coroutine that is dropped and was never awaited, so it is closed. A task would run on.
    for stop in ("close", "cancel"):
        if inspect.isawaitable(result) and hasattr(result, stop):
            getattr(result, stop)()
    what = getattr(getattr(result, "gen", result), "__name__", name)
    return TypeError(
        f"{name} returned {type(result).__name__} {what}, which would run when the session has ended: put "
        f"`@{scope}(...)` on the function that {what} is, beneath other decorators, or use "
        f"`with {scope}(...)` around what runs it."
    )


class record(SessionBlock["TraceSession"]):  # noqa: N801 - used like a function
    """Record the calls made inside a block or a function into one cassette.

    The cassette is written when the block ends. Where an exception ends the block, the cassette notes that.

    Args:
        path: The file to write; an existing file is replaced. Without a path, a new file in ``cassette_dir``.
        config: The settings. Without it they are read from the environment.
        settings: Single fields of `TraceConfig` that win over both (see `timetracer_otel.config.Settings`).

    Raises:
        ConfigurationError: A setting has a value that cannot be used.
        CassetteError: On entering: nothing can be written at the path.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        config: TraceConfig | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(path, _configured(TraceMode.RECORD, config, settings))

    def _begin(self) -> tuple[TraceSession, str | None]:
        needed = _needed()
        if self._path is not None:
            needed.check_writable(self._path, self._config.compression)
            return needed.TraceSession(self._config), _absolute(self._path)
        folder = self._config.spool_dir
        needed.check_writable(os.path.join(folder, "x"), self._config.compression)
        return needed.TraceSession(replace(self._config, cassette_dir=_absolute(folder))), None

    def _end(self, session: TraceSession, path: str | None, error: BaseException | None) -> None:
        _finish(session, path, session.config, error)


class replay(SessionBlock["ReplayOrRecording"]):  # noqa: N801 - used like a function
    """Answer the calls made inside a block or a function from a cassette, or from a folder of cassettes.

    With a folder, each request that an app of this process gets while the block runs (by a test client, or by a
    server in a thread) is answered from the cassette recorded for it. Calls outside any request are answered from
    what the recorded process made outside of them. Such a block is for the whole process: there is one at a time.

    The setting ``record_mode`` says what happens with calls that the cassette does not hold. The session is a
    `ReplaySession`. Where the record mode means to record everything (``all``; or ``once`` and ``new_episodes``,
    where there is no file yet), it is a `TraceSession`. Both have `verdict`, ``is_replaying`` and ``events``. For the
    other attributes of a replay, check with ``isinstance`` first.

    The end of a block raises where a call of it had no answer, as the app may have swallowed the error;
    ``fail_on_miss=False`` turns that off. With ``fail_on_unused=True`` the end also raises where a recorded call was
    not made. Where the block itself raised, its exception goes on. `ReplaySession.verdict` has the whole account.

    Args:
        path: The cassette, or the folder. Without a path, the one that the settings name.
        config: The settings. Without it they are read from the environment.
        settings: Single fields of `TraceConfig` that win over both (see `timetracer_otel.config.Settings`):
            ``live_plugins=["db"]``, ``record_mode="once"``.

    Raises:
        ConfigurationError: A setting has a value that cannot be used, or no cassette is named.
        CassetteError: On entering: the cassette is missing or broken. At the end: it cannot be written.
        ReplayFailedError: At the end of the block, as said above.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        config: TraceConfig | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        super().__init__(path, _configured(TraceMode.REPLAY, config, settings))
        self._folders: list[FolderSurroundings] = []

    def __enter__(self) -> ReplayOrRecording:
        path = self._path or self._config.cassette_path
        if path is None or not os.path.isdir(path):
            return super().__enter__()
        from timetracer_otel.process.folder_surroundings import FolderSurroundings

        surroundings = FolderSurroundings(replace(self._config, cassette_path=path))
        self._folders.append(surroundings)
        return surroundings.session

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._folders:
            super().__exit__(kind, error, traceback)
            return
        surroundings = self._folders.pop()
        surroundings.end()
        if error is None:
            check_verdict(surroundings.session)

    def _begin(self) -> tuple[ReplayOrRecording, str | None]:
        path = self._path or self._config.cassette_path
        return _needed().begin_replay(path, self._config), None if path is None else _absolute(path)

    def _end(self, session: ReplayOrRecording, path: str | None, error: BaseException | None) -> None:
        _finish(session, path, self._config, error)
        if error is None and isinstance(session, _needed().ReplaySession):
            check_verdict(session)


class _Needed(NamedTuple):
    """What blocks need of the rooms that are imported when the first block begins."""

    Surroundings: type[Surroundings]
    TraceSession: type[TraceSession]
    ReplaySession: type[ReplaySession]
    begin_replay: Callable[[str | None, TraceConfig], ReplayOrRecording]
    save_session: Callable[[ReplayOrRecording, str | None, TraceConfig], None]
    check_writable: Callable[[str, CompressionType], None]


@functools.cache
def _needed() -> _Needed:
    # Not by an import in each function: that takes 5,000 instructions each time.
    from timetracer_otel.cassette import check_writable
    from timetracer_otel.process.surroundings import Surroundings
    from timetracer_otel.session import ReplaySession, TraceSession
    from timetracer_otel.session.record_modes import begin_replay, save_session

    return _Needed(Surroundings, TraceSession, ReplaySession, begin_replay, save_session, check_writable)


def _absolute(path: str) -> str:
    return path if os.path.isabs(path) else str(Path(path).absolute())


def check_verdict(session: ReplaySession, verdict: Verdict | None = None) -> None:
    """Raise where a replay did something that its settings forbid.

    Args:
        session: The replay.
        verdict: That of a part of it; None for its own.

    Raises:
        ReplayFailedError: A call had no answer, a connection was refused, or an event stayed unused that must not.
    """
    verdict = session.verdict() if verdict is None else verdict
    if verdict.ok:
        return
    forgives = session.config is not None and not session.config.fail_on_miss
    if forgives and not verdict.blocked and not (verdict.fail_on_unused and verdict.unused):
        return
    from timetracer_otel.report import verdict_text

    raise ReplayFailedError(verdict_text(verdict), verdict)


def _finish(session: ReplayOrRecording, path: str | None, config: TraceConfig, error: BaseException | None) -> None:
    """End a session, write what it recorded, and raise the first connection that a recording refused."""
    needed = _needed()
    if isinstance(session, needed.TraceSession) and error is not None:
        session.mark_error(f"{type(error).__module__}.{type(error).__qualname__}", str(error))
        if config.record_mode is RecordMode.REWRITE and path is not None and os.path.exists(path):
            # What is there was recorded by a run that went well.
            session.finalize()
            return
    try:
        needed.save_session(session, path, config)
    except CassetteError as failure:
        if error is None:
            raise
        # The app's own error must reach the caller, so ours is only logged.
        faults.logger.error("timetracer-otel: %s", failure)
    if isinstance(session, needed.TraceSession) and session.rerecorded is not None:
        from timetracer_otel.process.telling import tell_rerecorded

        tell_rerecorded(session)
    if error is None and isinstance(session, needed.TraceSession) and session.blocked:
        raise session.blocked[0]


_FIELDS = frozenset(entry.name for entry in fields(TraceConfig))


def _configured(mode: TraceMode, config: TraceConfig | None, settings: Settings) -> TraceConfig:
    given: dict[str, Any] = dict(settings)
    if "mode" in given:
        _take_mode(mode, given)
    for name in given:
        if name not in _FIELDS:
            raise ConfigurationError(f"{name}: no such setting. Known: {', '.join(sorted(_FIELDS - {'mode'}))}.")
    given["mode"] = mode
    return TraceConfig.from_env(**given) if config is None else replace(config, **given)


def _take_mode(mode: TraceMode, given: dict[str, Any]) -> None:
    """Take ``mode=`` out of the settings of ``record(...)`` or ``replay(...)``, whose name is the mode.

    A record mode that is given as ``mode`` counts as ``record_mode``, with a warning.

    Raises:
        ConfigurationError: It is another mode than that of the function.
    """
    value = given.pop("mode")
    text = value.lower() if isinstance(value, str) else value
    if text == mode.value:
        return
    if text not in [member.value for member in RecordMode]:
        raise ConfigurationError(
            f"mode: {value!r} is not allowed in {mode.value}(...), whose name says the mode. "
            f"What is done about calls that the cassette does not hold is said by record_mode=."
        )
    warnings.warn(
        f"{mode.value}(mode=...) is spelt record_mode=... now: mode is off, record or replay.",
        DeprecationWarning,
        stacklevel=4,  # past _configured and __init__, to the line that calls us
    )
    given.setdefault("record_mode", value)
