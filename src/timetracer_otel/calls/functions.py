"""`function_plugin`: a plugin for any library, made from the names of its functions and from how a result is kept.

`flow` does everything else: sync and async calls, recording, replay, record modes, spans, matching, errors.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import ModuleType
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind

from timetracer_otel.base.otel_context import has_real_provider
from timetracer_otel.base.patching import Function, Patch
from timetracer_otel.calls.flow import Recording, Site, flow
from timetracer_otel.calls.guarded import AppStep, Flow, Step, guarded, guarded_async
from timetracer_otel.calls.library import LibraryPlugin
from timetracer_otel.calls.nesting import CallAbove
from timetracer_otel.calls.registry import register
from timetracer_otel.calls.relied_upon import missing_names
from timetracer_otel.cassette import rebuild_error
from timetracer_otel.constants import EventType
from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.redact.forms import CallForm
from timetracer_otel.session import BaseSession, ReplaySession, TraceSession
from timetracer_otel.types import Call, DependencyEvent, EventResult, RecordedError

__all__ = ["function_plugin"]

Describe = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]


def function_plugin(
    name: str,
    targets: Sequence[str],
    *,
    describe: Describe | None = None,
    pack: Callable[[Any], Any] = lambda result: result,
    unpack: Callable[[Any], Any] = lambda value: value,
    group: str = "custom",
    event_type: EventType = EventType.CUSTOM,
    errors: Collection[str] = (),
    packages: Collection[str] = (),
    span: bool = True,
    form: CallForm | None = None,
) -> LibraryPlugin:
    """Make and register a plugin that records and replays calls of functions and methods, sync or async.

    Sessions that begin from now on take part; ``plugin.enable()`` and ``plugin.disable()`` switch it by hand. To ship
    one in a package, name the object that this returns in the entry point group ``timetracer_otel_plugin``.

    Args:
        name: As in the mock and live lists.
        targets: What to replace, as ``module:function`` or ``module:Class.method``; all of one library.
        describe: Gives what a call is matched by, from its positional and keyword arguments (for a method without
            the instance): plain values. All arguments where it is left out.
        pack: Gives the plain values (see docs/cassette-format.md) that a result is kept as.
        unpack: Makes a result of them again.
        group: The group in the mock and live lists.
        event_type: Kind of the events.
        errors: Full names of modules whose exceptions may be rebuilt, besides the library's own package and the
            standard ones. A replay imports these; of what lies below a package it uses what is imported already.
        packages: Top-level packages whose connections are this plugin's, besides those of ``targets``: what counts
            under ``block_network`` where a real call leaves its connections to a thread of the library's own.
        span: Whether each call gets a client span where a tracer provider is set. Switch it off for a library
            that OpenTelemetry instruments already.
        form: Where secrets are in what ``describe`` and ``pack`` give, and what of it is compared. That of the group
            where it is left out: in the group ``db``, of statements that are described as ``{"statement": …}``; plain
            values in the others.

    Raises:
        ConfigurationError: A target is not of this form.
    """
    by_module: dict[str, list[str]] = {}
    for target in targets:
        module, colon, attribute = target.partition(":")
        if not (module and colon and attribute):
            raise ConfigurationError(
                f"targets: {target!r} is not of the form 'module:function' or 'module:Class.method'."
            )
        by_module.setdefault(module, []).append(attribute)
    if not by_module:
        raise ConfigurationError("targets: name at least one function, as 'module:function'.")
    facts = _Facts(
        name,
        event_type,
        describe or _all_arguments,
        pack,
        unpack,
        frozenset((*errors, *(module.partition(".")[0] for module in by_module))),
        span,
    )
    plugin = LibraryPlugin(
        name=name,
        group=group,
        modules=tuple(by_module),
        packages=(*packages, *(module.partition(".")[0] for module in by_module)),
        form=form,
        patches=lambda module: [_patch(facts, module, attribute) for attribute in by_module[module.__name__]],
        check=lambda module: missing_names(f"{module.__name__}:{name}" for name in by_module[module.__name__]),
        entry_points={module: [(f"{module}:{name}",) for name in names] for module, names in by_module.items()},
    )
    register(plugin)
    return plugin


class _Facts:
    """The arguments that a plugin's author gave to `function_plugin`."""

    __slots__ = ("call_above", "describe", "error_modules", "event_type", "name", "pack", "span", "unpack")

    def __init__(
        self,
        name: str,
        event_type: EventType,
        describe: Describe,
        pack: Callable[[Any], Any],
        unpack: Callable[[Any], Any],
        error_modules: frozenset[str],
        span: bool,
    ) -> None:
        self.name = name
        self.event_type = event_type
        self.describe = describe
        self.pack = pack
        self.unpack = unpack
        self.error_modules = error_modules
        self.span = span
        self.call_above: CallAbove[bool] = CallAbove(name)


class _FunctionCall(Site):
    """One call of a function of such a plugin."""

    def __init__(self, facts: _Facts, method: str, live: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.lib = facts.name
        self._facts = facts
        self._method = method
        self._arguments = (args, kwargs)
        self._call: Call | None = None
        self._reply: Any = None
        self.live: Any = live
        self.lend = partial(facts.call_above.lend, True)

    def observe(self, session: TraceSession) -> None:
        self._call = self.call()

    def call(self) -> Call:
        if self._call is not None:
            return self._call
        described = _kept(self._facts.describe(*self._arguments))
        return Call(self._facts.name, self._facts.event_type, self._method, args=described)

    def returned(self, value: Any, recording: Recording) -> Any:
        self._reply = _kept(self._facts.pack(value))
        recording.close()
        return value

    def result(self, recording: Recording) -> EventResult:
        return EventResult(status=0, reply={"value": self._reply})

    def again(self) -> bool:
        return True

    def rebuild(self, event: DependencyEvent, session: ReplaySession) -> Any:
        return self._facts.unpack(event.result.reply["value"])

    def rebuild_error(self, error: RecordedError) -> BaseException:
        return rebuild_error(error, self._facts.error_modules)


class _AsyncFunctionCall(_FunctionCall):
    def pause(self, seconds: float) -> Any:
        return asyncio.sleep(seconds)


def _patch(facts: _Facts, module: ModuleType, attribute: str) -> Patch:
    *path, function = attribute.split(".")
    owner: Any = module
    for part in path:
        owner = getattr(owner, part)
    # The instance or class that a method is called on is left out of the arguments.
    is_bound = inspect.isclass(owner) and not isinstance(owner.__dict__.get(function), staticmethod)
    return Patch(owner, function, partial(_replacement, facts, attribute, 1 if is_bound else 0))


def _replacement(facts: _Facts, method: str, skip: int, original: Function) -> Function:
    replacement = _calling(facts, method, skip, original)
    # Some frameworks inspect the parameters of functions: FastAPI's ``Depends``, click.
    with suppress(ValueError, TypeError):  # a builtin may not tell
        replacement.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return replacement


def _calling(facts: _Facts, method: str, skip: int, original: Function) -> Function:
    is_async = inspect.iscoroutinefunction(original)
    call = _AsyncFunctionCall if is_async else _FunctionCall

    def begin(session: BaseSession, *args: Any, **kwargs: Any) -> Flow | None:
        if facts.call_above.get():
            return None
        live = AppStep(original, *args, **kwargs)
        return _in_span(facts, method, call(facts, method, live, args[skip:], kwargs), session)

    return (guarded_async if is_async else guarded)(facts.name, original, begin)


def _in_span(facts: _Facts, method: str, call: _FunctionCall, session: BaseSession) -> Flow:
    with _span(facts, method):
        return (yield from flow(call, session))


def _kept(value: Any) -> Any:
    """A copy that the app cannot change. A value that cannot be copied cannot be encoded either; the event says
    so.
    """
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


@contextmanager
def _span(facts: _Facts, method: str) -> Generator[None, None, None]:
    if not (facts.span and has_real_provider()):
        yield
        return
    tracer = trace.get_tracer(f"timetracer_otel.plugins.{facts.name}")
    with tracer.start_as_current_span(f"{facts.name} {method}", kind=SpanKind.CLIENT):
        yield


def _all_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return {"args": list(args), "kwargs": dict(kwargs)}
