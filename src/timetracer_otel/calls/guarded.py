"""The guard of a seam: while an app is recorded, no fault of ours gets out of a replaced function (law 6).

A replacement is made by `guarded`, by `guarded_async` where the original is a coroutine function, or by
`guarded_generator` where it gives a generator. All that is ours
runs inside: finding the session, making the `Site`, deciding, noting. What the library does runs as a step of the
class `AppStep`, so the guard knows its outcome before any code of ours sees it. Where a fault of ours strikes

- while recording, after the app's step has ended: the app gets its outcome, the returned value or the exception;
- while recording, before that: the call is made bare, with the original function;
- in a replay: the app gets a `ReplayMismatchError` that says "a fault of ours", unless its step has raised. A bare
  call would go out for real.

What an object of the app's raises while we look at it (`whose_error.outside`) is no fault: a recording leaves it to
the library to meet the same, and a replay gives it to the app.

So the library's call is never made twice. An exception that is no `Exception` (the cancellation of a task, an
interrupt) always passes.

What this module is made of is all that stands between an app and a fault, so it does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import GeneratorType
from typing import Any, Final, NoReturn, TypeAlias

from timetracer_otel.base import faults
from timetracer_otel.base.otel_context import current_context
from timetracer_otel.base.patching import Function
from timetracer_otel.base.plugin_names import known_names
from timetracer_otel.calls import hooks
from timetracer_otel.calls.noting import looked
from timetracer_otel.calls.whose_error import is_from_outside, judges, raise_for_app
from timetracer_otel.current import SESSION_KEY, get_current_session
from timetracer_otel.exceptions import ReplayMismatchError, TimetracerError
from timetracer_otel.session import BaseSession, ReplaySession
from timetracer_otel.threads import carrying, holding

__all__ = [
    "ASK",
    "AppStep",
    "Begin",
    "Done",
    "Flow",
    "GiveUp",
    "Quick",
    "Noted",
    "OurStep",
    "Step",
    "ValueOf",
    "adding",
    "answered",
    "answered_async",
    "guarded",
    "guarded_async",
    "guarded_generator",
    "lending",
    "lending_async",
    "only",
    "raising",
    "refusal",
]

Step = Callable[[], Any]
Flow = Generator[Step, Any, Any]
Begin = Callable[..., "Flow | AppStep | Noted | None"]
"""Decides about one call, from the current session and the arguments. It runs under the guard, and gives

- None where there is nothing for us to do: the guard makes the call;
- a `Noted` where the call is made as it is, and its outcome is only to be noted;
- an `AppStep` where the call is made in another way, and nothing is to be noted;
- a `Done` where a replay has the answer already;
- the steps of all else, as a generator. They make the library's call by an `AppStep` only."""
ASK: Final = NotImplemented
"""Given by a `Quick` where the session is to be looked for, and ``begin`` to be asked."""
Quick: TypeAlias = Callable[[Any], Any]
"""Decides about one call, from the first argument and without the session. It gives None or a `Noted`, as ``begin``
does, or `ASK`. It costs less than that, and is for functions that are called much more often than there is something
to decide."""
ValueOf = Callable[[Any], Any]
"""The answer of a replay, from the first argument; None where the function is to be called."""
GiveUp = Callable[..., Any]
"""Gets the fault, and the positional arguments of the call."""


class AppStep(partial[Any]):
    """A step whose outcome belongs to the app: the library's own function with its arguments.

    Nothing of ours may stand in it. What must be changed in the app's objects for the time of a call is a site's
    `lend`.
    """

    __slots__ = ()


class Done(Generator[Step, Any, Any]):
    """The steps of a call that needs none: there is a value already. It costs less than a generator, and a guard
    takes the value from it at once.
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __iter__(self) -> Done:
        return self

    def __next__(self) -> NoReturn:
        raise StopIteration(self.value)

    def send(self, value: Any) -> NoReturn:
        """End, with the value."""
        raise StopIteration(self.value)

    def throw(self, *error: Any) -> NoReturn:
        """Raise the error, as a generator does that has no step to raise it in."""
        raise error[0]


class Noted:
    """Notes the outcome of one call. The guard makes the call itself, with the arguments that it was given, and then
    calls one of the two methods. So a recorded call costs neither a generator nor a step.
    """

    __slots__ = ()

    def came(self, value: Any) -> Any:
        """Note what the call returned, and return the value for the app."""
        raise NotImplementedError

    def raised(self, error: BaseException) -> None:
        """Note what the call raised."""
        raise NotImplementedError


class OurStep(partial[Any]):
    """A step that is ours, such as a wait, or a call over a connection of ours: what it raises in a replay is a fault
    of ours, unless `outside` raised it.
    """

    __slots__ = ()


def only(step: Step) -> Flow:
    """The steps of a call that is made by this one step."""
    return (yield step)


def raising(error: BaseException) -> AppStep:
    """The step that gives the app a recorded exception."""
    return AppStep(raise_for_app, error)


_LOOK_EACH = 100
_without_session = count(1)
"""Counts the calls without a session. Each hundredth looks whether all sessions are gone, so that the seams can rest
(see `base.patching.Seams.rest`): nobody need say that a session has gone."""


def guarded(
    lib: str,
    original: Function,
    begin: Begin,
    *,
    outside: bool = False,
    quick: Quick | None = None,
    give_up: GiveUp | None = None,
    session_of: Callable[[], BaseSession | None] | None = None,
) -> Function:
    """The replacement of a function.

    Args:
        lib: The plugin's name.
        original: The function that is replaced.
        begin: Makes the steps of a call.
        outside: Whether ``begin`` is asked without a session, too.
        quick: Asked first, where there is one.
        give_up: Told of a fault, with the call's arguments. From then on, what is noted of the object that the call
            is about, in more calls than this one, is not to be relied upon. In a replay, nobody may be left waiting.
        session_of: Gives the session; None for the current one.
    """

    def guarded_call(*args: Any, **kwargs: Any) -> Any:
        session: Any = None
        try:
            steps: Any = ASK if quick is None else quick(args[0])
            if steps is ASK:
                if session_of is None:
                    # As `get_current_session` does it, without a function call.
                    session = current_context().get(SESSION_KEY)
                    if session is None or session.after is not None:
                        # Where the next line fails, no session was found.
                        session = None
                        session = get_current_session()
                else:
                    session = session_of()
                if session is None and not next(_without_session) % _LOOK_EACH:
                    looked("threads", holding.look)
                steps = begin(session, *args, **kwargs) if outside or session is not None else None
        except Exception as fault:
            steps = None
            contain(lib, session, fault, give_up, args)
        if steps is None:
            return original(*args, **kwargs)
        if isinstance(steps, Noted):
            try:
                value = original(*args, **kwargs)
            except BaseException as error:
                try:
                    steps.raised(error)
                except Exception as fault:
                    contain(lib, session, fault, give_up, args, None, error)
                raise
            try:
                return steps.came(value)
            except Exception as fault:
                contain(lib, session, fault, give_up, args, (value,))
            return value
        if type(steps) is Done:
            return steps.value
        if type(steps) is AppStep:
            return steps()
        outcome = failed = step = None
        try:
            try:
                step = next(steps)
                while True:
                    try:
                        value = step()
                    except BaseException as error:
                        outcome, failed = None, error
                        step = steps.throw(error)
                    else:
                        failed = None
                        if type(step) is AppStep:
                            outcome = (value,)
                        step = steps.send(value)
            except StopIteration as stop:
                return stop.value
            except Exception as fault:
                if fault is failed and type(step) is not OurStep:
                    raise
                contain(lib, session, fault, give_up, args, outcome, failed)
            if failed is not None:
                raise failed
        finally:
            # The exception refers to this frame.
            failed = None
        return original(*args, **kwargs) if outcome is None else outcome[0]

    return guarded_call


def guarded_async(
    lib: str,
    original: Function,
    begin: Begin,
    *,
    outside: bool = False,
    quick: Quick | None = None,
    give_up: GiveUp | None = None,
    session_of: Callable[[], BaseSession | None] | None = None,
) -> Function:
    """The same for a coroutine function: steps are awaited."""

    async def guarded_await(*args: Any, **kwargs: Any) -> Any:
        session: Any = None
        try:
            steps: Any = ASK if quick is None else quick(args[0])
            if steps is ASK:
                if session_of is None:
                    # As `get_current_session` does it, without a function call.
                    session = current_context().get(SESSION_KEY)
                    if session is None or session.after is not None:
                        # Where the next line fails, no session was found.
                        session = None
                        session = get_current_session()
                else:
                    session = session_of()
                if session is None and not next(_without_session) % _LOOK_EACH:
                    looked("threads", holding.look)
                steps = begin(session, *args, **kwargs) if outside or session is not None else None
        except Exception as fault:
            steps = None
            contain(lib, session, fault, give_up, args)
        if steps is None:
            return await original(*args, **kwargs)
        if isinstance(steps, Noted):
            try:
                value = await original(*args, **kwargs)
            except BaseException as error:
                try:
                    steps.raised(error)
                except Exception as fault:
                    contain(lib, session, fault, give_up, args, None, error)
                raise
            try:
                return steps.came(value)
            except Exception as fault:
                contain(lib, session, fault, give_up, args, (value,))
            return value
        if type(steps) is Done:
            return steps.value
        if type(steps) is AppStep:
            return await steps()
        outcome = failed = step = None
        try:
            try:
                step = next(steps)
                while True:
                    try:
                        value = await step()
                    except BaseException as error:
                        outcome, failed = None, error
                        step = steps.throw(error)
                    else:
                        failed = None
                        if type(step) is AppStep:
                            outcome = (value,)
                        step = steps.send(value)
            except StopIteration as stop:
                return stop.value
            except Exception as fault:
                if fault is failed and type(step) is not OurStep:
                    raise
                contain(lib, session, fault, give_up, args, outcome, failed)
            if failed is not None:
                raise failed
        finally:
            # The exception refers to this frame.
            failed = None
        return await original(*args, **kwargs) if outcome is None else outcome[0]

    return guarded_await


def guarded_generator(
    lib: str,
    original: Function,
    begin: Begin,
    *,
    outside: bool = False,
    quick: Quick | None = None,
    give_up: GiveUp | None = None,
    session_of: Callable[[], BaseSession | None] | None = None,
) -> Function:
    """The same for a function that gives a generator, as libraries write what they do over a socket, whichever way
    they wait for it: blocking and asyncio are one seam. A step that gives a generator is run by ``yield from``.
    """

    def guarded_generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        session: Any = None
        try:
            steps: Any = ASK if quick is None else quick(args[0])
            if steps is ASK:
                if session_of is None:
                    # As `get_current_session` does it, without a function call.
                    session = current_context().get(SESSION_KEY)
                    if session is None or session.after is not None:
                        # Where the next line fails, no session was found.
                        session = None
                        session = get_current_session()
                else:
                    session = session_of()
                if session is None and not next(_without_session) % _LOOK_EACH:
                    looked("threads", holding.look)
                steps = begin(session, *args, **kwargs) if outside or session is not None else None
        except Exception as fault:
            steps = None
            contain(lib, session, fault, give_up, args)
        if steps is None:
            return (yield from original(*args, **kwargs))
        if isinstance(steps, Noted):
            try:
                value = yield from original(*args, **kwargs)
            except BaseException as error:
                try:
                    steps.raised(error)
                except Exception as fault:
                    contain(lib, session, fault, give_up, args, None, error)
                raise
            try:
                return steps.came(value)
            except Exception as fault:
                contain(lib, session, fault, give_up, args, (value,))
            return value
        if type(steps) is Done:
            return steps.value
        if type(steps) is AppStep:
            return (yield from _run_in_generator(steps))
        outcome = failed = step = None
        try:
            try:
                step = next(steps)
                while True:
                    try:
                        value = yield from _run_in_generator(step)
                    except BaseException as error:
                        outcome, failed = None, error
                        step = steps.throw(error)
                    else:
                        failed = None
                        if type(step) is AppStep:
                            outcome = (value,)
                        step = steps.send(value)
            except StopIteration as stop:
                return stop.value
            except Exception as fault:
                if fault is failed and type(step) is not OurStep:
                    raise
                contain(lib, session, fault, give_up, args, outcome, failed)
            if failed is not None:
                raise failed
        finally:
            # The exception refers to this frame.
            failed = None
        return (yield from original(*args, **kwargs)) if outcome is None else outcome[0]

    return guarded_generate


def _run_in_generator(step: Step) -> Generator[Any, Any, Any]:
    value = step()
    return (yield from value) if isinstance(value, GeneratorType) else value


def answered(lib: str, original: Function, value_of: ValueOf) -> Function:
    """The replacement of a function that a replay answers at once, with no step and nothing to note.

    It costs less than `guarded`: no generator is made.

    Args:
        lib: The plugin's name.
        original: The function that is replaced.
        value_of: Gives the answer, with or without a session.
    """

    def answered_call(*args: Any, **kwargs: Any) -> Any:
        try:
            value = value_of(args[0])
        except Exception as fault:
            value = None
            contain(lib, get_current_session(), fault)
        return original(*args, **kwargs) if value is None else value

    return answered_call


def answered_async(lib: str, original: Function, value_of: ValueOf) -> Function:
    """The same for a coroutine function."""

    async def answered_await(*args: Any, **kwargs: Any) -> Any:
        try:
            value = value_of(args[0])
        except Exception as fault:
            value = None
            contain(lib, get_current_session(), fault)
        return await original(*args, **kwargs) if value is None else value

    return answered_await


def adding(lib: str, original: Function, name: str, value_of: Callable[[Any, Any], Any]) -> Function:
    """The replacement of a function that is called as it is, but for one keyword argument.

    It costs less than `guarded`: it asks for no session, and makes no step.

    Args:
        lib: The plugin's name.
        original: The function that is replaced.
        name: Of the argument.
        value_of: Gives its value, from the call's first argument and from the value that the argument has; None where
            it has none.
    """

    def adding_call(*args: Any, **kwargs: Any) -> Any:
        try:
            kwargs[name] = value_of(args[0], kwargs.get(name))
        except Exception as fault:
            contain(lib, None, fault)
        return original(*args, **kwargs)

    return adding_call


def lending(lib: str, original: Function, above: Any, what: Any) -> Function:
    """The replacement of a function that is always called, and that is known to be called while that lasts.

    It costs less than `guarded`, where there is nothing to note and nothing to answer.

    Args:
        lib: The plugin's name.
        original: The function that is replaced.
        above: Knows what is called, a `CallAbove`. It gets a tuple: ``what``, and the positional arguments.
        what: What the function is.
    """
    get, put = above.get, above.set

    def lending_call(*args: Any, **kwargs: Any) -> Any:
        before = get()
        put((what, args))
        try:
            return original(*args, **kwargs)
        finally:
            put(before)

    return lending_call


def lending_async(lib: str, original: Function, above: Any, what: Any) -> Function:
    """The same for a coroutine function."""
    get, put = above.get, above.set

    async def lending_await(*args: Any, **kwargs: Any) -> Any:
        before = get()
        put((what, args))
        try:
            return await original(*args, **kwargs)
        finally:
            put(before)

    return lending_await


def contain(
    lib: str,
    session: BaseSession | None,
    fault: Exception,
    give_up: GiveUp | None = None,
    args: tuple[Any, ...] = (),
    outcome: tuple[Any] | None = None,
    failed: BaseException | None = None,
) -> None:
    """Contain what came out of our part of a call.

    Args:
        lib: The plugin.
        session: The session of the call; None where it was not found.
        fault: The exception.
        give_up: Told of it, with ``args``.
        args: The call's positional arguments.
        outcome: What the app's step has returned; None where it has not.
        failed: What the last step has raised; None where it has not. In a step of ours, that is the fault itself.

    Raises:
        ReplayMismatchError: The call is one of a replay, and no exception of the app's step tells how it ended.
    """
    if type(failed) is StopIteration and fault.__cause__ is failed:
        # The app's step has ended a loop. Python makes this of it where it passes through a generator (PEP 479).
        return
    if session is None and hooks.guard is not None:
        # It was not asked for, or not found, and a recording may go on beside a replay.
        with suppress(Exception):
            session = get_current_session()
    is_for_app, replays = False, hooks.guard is not None
    try:
        replays = _replays(session) and (session is not None or outcome is None)
        is_for_app = replays and (isinstance(fault, TimetracerError) or is_from_outside(fault))
    except Exception as another:
        faults.contain(f"{lib}.contain", another)
    if is_for_app:
        raise fault
    faults.contain(f"{lib}.seam", fault)
    if give_up is not None:
        try:
            give_up(fault, *args)
        except Exception as another:
            faults.contain(f"{lib}.give_up", another)
    if replays and (failed is None or failed is fault):
        raise refusal(lib, session, fault) from fault


def _replays(session: BaseSession | None) -> bool:
    """Whether a call is one of a replay, as far as that is known where its session (None) was not found."""
    return isinstance(session, ReplaySession) or (session is None and hooks.guard is not None)


def refusal(lib: str, session: BaseSession | None, fault: Exception) -> ReplayMismatchError:
    """The miss that says "a fault of ours", and where."""
    reason = f"a fault of ours in {_place(fault)}: {fault!r}"
    hint = "report it, with the traceback in the log."
    try:
        if lib in known_names():
            hint += f" Or name {lib} in live_plugins to call for real."
        if isinstance(session, ReplaySession):
            return session.refuse_unseen(f"a call of {lib} met {reason}", hint)
    except Exception as another:
        faults.contain(f"{lib}.refusal", another)
    return ReplayMismatchError(f"Not replayed: a call of {lib} met {reason}", hint=hint)


def _place(fault: BaseException) -> str:
    """The function that raised: ``call.py:_Hop.__init__``."""
    trace, place = fault.__traceback__, "an unknown place"
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{Path(code.co_filename).name}:{getattr(code, 'co_qualname', code.co_name)}"
        trace = trace.tb_next
    return place


def _refused_thread(where: str, fault: Exception) -> Exception | None:
    """The miss for a thread or a context that cannot get its session; None outside a replay."""
    try:
        session = get_current_session()
    except Exception:
        session = None
    return refusal(where.partition(".")[0], session, fault) if _replays(session) else None


carrying.refused = _refused_thread

judges(*(make("", only, lambda *_: None) for make in (guarded, guarded_async, guarded_generator)))
