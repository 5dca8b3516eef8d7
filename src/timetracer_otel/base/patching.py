"""Replacing a library's functions by ours, and restoring them.

The replacement goes innermost: beneath every `wrapt` wrapper around the function. OpenTelemetry's instrumentors wrap
with `wrapt`, so our replacement runs inside their span, whether they or we patched first.

Imports nothing of ours but `faults`.
"""

from __future__ import annotations

import functools
import inspect
import platform
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import wrapt

from timetracer_otel.base import faults

__all__ = [
    "Function",
    "LatePatch",
    "Patch",
    "SeamFailure",
    "Seams",
    "Shared",
    "Staying",
    "Undoable",
    "is_replacement",
]

Function = Callable[..., Any]

# The base class of wrapt's proxies: BaseObjectProxy since wrapt 2, ObjectProxy in wrapt 1.
_PROXY: Any = getattr(wrapt, "BaseObjectProxy", wrapt.ObjectProxy)


_signatures: WeakKeyDictionary[Any, inspect.Signature | None] = WeakKeyDictionary()
_signatures_of_c: dict[Any, inspect.Signature | None] = {}
"""Those of methods of classes in C, which nothing can refer to weakly. They stay as long as their class."""
_MARK = "_timetracer_patch"
"""The attribute of a replacement that holds three things: the replacement, its patch, and the function it replaced.

The replacement itself is among them because `functools.wraps` copies attributes: a wrapper that somebody made around
the replacement has the mark, too, and differs from the function in it."""


MOST_RESTS = 100
"""How often the patches of a library are taken out for a time without a session (see `Seams.rest`)."""

_ABSENT: Any = object()
_PYTHON = "Python"
"""What a module of the standard library comes with."""


class Undoable(Protocol):
    """A change that can be made and undone; both are harmless when repeated.

    It may have a method ``rest``, which `Seams.rest` calls in the place of ``undo``, and an attribute ``may_rest``.
    Where that is False, the patches of its library stay in.
    """

    def apply(self) -> None:
        """Make the change."""

    def undo(self) -> None:
        """Undo the change."""


class Staying:
    """A change that `Seams.rest` leaves as it is: it notes something outside sessions, too.

    Args:
        change: The change.
    """

    def __init__(self, change: Undoable) -> None:
        self._change = change

    def apply(self) -> None:
        """Make the change; harmless when repeated."""
        self._change.apply()

    def undo(self) -> None:
        """Undo the change; harmless when repeated."""
        self._change.undo()

    def rest(self) -> None:
        """Leave it as it is."""


class Shared:
    """A change that several plugins make, each by an object of its own: it is undone when none needs it any more.

    Args:
        change: The change, the same for all of them.
        users: Those who made it by now, the same for all of them.
    """

    def __init__(self, change: Undoable, users: set[Shared]) -> None:
        self._change = change
        self._users = users

    def apply(self) -> None:
        """Make the change; harmless when repeated."""
        self._users.add(self)
        self._change.apply()

    def undo(self) -> None:
        """Undo the change if nobody else needs it; harmless when repeated."""
        self._users.discard(self)
        if not self._users:
            self._change.undo()


class Patch:
    """One replaced function. The same object applies and undoes it. Not safe to apply from two threads at once.

    Args:
        owner: The class or module that has the function. A class may have inherited it.
        name: Its attribute.
        wrap: Makes the replacement from the original.
    """

    def __init__(self, owner: Any, name: str, wrap: Callable[[Function], Function]) -> None:
        self.owner = owner
        self.name = name
        self._wrap = wrap
        self._is_inherited = name not in vars(owner)
        self._original: Function | None = None
        self._replacement: Function | None = None
        self._last: tuple[Function, Function] | None = None
        """The function that was replaced last, and its replacement: it is applied again where nothing changed."""

    @property
    def applied(self) -> bool:
        """Whether the patch is applied."""
        return self._replacement is not None

    def apply(self) -> None:
        """Put the replacement in; harmless when repeated."""
        if self._replacement is not None:
            return
        holder, original = self._current()
        replacement = self._replacement_of(original)
        self._put(holder, replacement)
        self._original, self._replacement = original, replacement

    def _replacement_of(self, original: Function) -> Function:
        """The replacement of a function, which is the one of before where that was of the same function."""
        if self._last is None or self._last[0] is not original:
            self._last = original, self._make(original)
        return self._last[1]

    def undo(self) -> None:
        """Restore the original, however many `wrapt` wrappers are around the replacement by now; harmless when
        repeated.

        The replacement cannot be removed where somebody wrapped it in a plain function, nor where somebody took it
        out and will put it back later (as pytest's ``monkeypatch`` does). It then passes every call through, as no
        session is current. A patch that is applied later takes its place.
        """
        if self._replacement is None:
            return
        holder, found = self._innermost(self._replacement)
        if found is self._replacement and holder is None and self._is_inherited:
            delattr(self.owner, self.name)
        elif found is self._replacement and self._original is not None:
            self._put(holder, self._original)
        self._original = self._replacement = None

    def rest(self) -> None:
        """Undo the patch until it is applied again.

        Where the replacement cannot be taken out, the patch stays as it is: if it were applied again, around the
        wrapper of somebody else, the replacement would be there twice.
        """
        if self._replacement is not None and self._innermost(self._replacement)[1] is self._replacement:
            self.undo()

    def _current(self) -> tuple[Any, Function]:
        """The innermost proxy (None without any), and the function beneath it, which may be somebody's mock."""
        holder, found = self._innermost(None)
        return holder, _without_leftovers(found)

    def _make(self, original: Any) -> Any:
        kind = type(original) if isinstance(original, (staticmethod, classmethod)) else None
        function: Any = original.__func__ if kind else original
        replacement: Any = self._wrap(function)
        # As `functools.wraps` does, but without `__wrapped__`. With that, code that unwraps functions
        # (`inspect.unwrap`) would step past our replacement to the original.
        for name in functools.WRAPPER_ASSIGNMENTS:
            value = getattr(function, name, _ABSENT)
            if value is not _ABSENT:
                setattr(replacement, name, value)
        own = vars(replacement)
        own.update(getattr(function, "__dict__", ()))
        own.pop("__wrapped__", None)
        own[_MARK] = replacement, self, original
        # The signature, which others ask for: ARQ takes the parameters of `Worker` for the names of settings, and
        # `unittest.mock` compares the calls of an autospec by it.
        signature = _signature(function)
        if signature is not None:
            own["__signature__"] = signature
        return kind(replacement) if kind else replacement

    def _innermost(self, last: Function | None) -> tuple[Any, Function]:
        """The same as `_current`, leftovers included; a proxy that is ``last`` counts as a function."""
        holder: Any = None
        current: Any = vars(self.owner).get(self.name) or getattr(self.owner, self.name)
        while isinstance(current, _PROXY) and current is not last:
            holder, current = current, current.__wrapped__
        return holder, current

    def _put(self, holder: Any, function: Function) -> None:
        if holder is None:
            setattr(self.owner, self.name, function)
        else:
            holder.__wrapped__ = function


def _signature(function: Any) -> inspect.Signature | None:
    """The signature of a function that is replaced; None where it has none.

    It is kept: a function is replaced in each session, and `inspect` takes long.
    """
    for known in (_signatures, _signatures_of_c):
        try:
            return known[function]
        except (KeyError, TypeError):
            pass
    found: inspect.Signature | None = None
    # From Python 3.14 on, annotations are evaluated for it, which may raise anything.
    with suppress(Exception):
        found = inspect.signature(function)
    try:
        _signatures[function] = found
    except TypeError:
        with suppress(TypeError):
            _signatures_of_c[function] = found
    return found


def is_replacement(found: Any) -> bool:
    """Whether a function is the replacement of some patch."""
    return _mark_of(found) is not None


def _mark_of(found: Any) -> tuple[Any, Any, Any] | None:
    function = found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
    # Read from `__dict__`: `getattr` on a `unittest.mock.Mock` makes up any attribute that is asked for.
    mark: tuple[Any, Any, Any] | None = getattr(function, "__dict__", {}).get(_MARK)
    return mark if mark is not None and mark[0] is function else None


def _without_leftovers(found: Any) -> Any:
    """The function beneath replacements whose patch was undone and that somebody put back since."""
    while True:
        mark = _mark_of(found)
        if mark is None:
            return found
        _, patch, original = mark
        if patch._replacement is found:
            return found
        found = original


class LatePatch(Patch):
    """A patch that `apply` only allows, and that `put_in` makes when it is first needed. Safe from any thread."""

    def __init__(self, owner: Any, name: str, wrap: Callable[[Function], Function]) -> None:
        super().__init__(owner, name, wrap)
        self.waits = False
        """Whether `apply` was called, and `put_in` was not."""
        self._lock = threading.Lock()

    def apply(self) -> None:
        """Allow `put_in`."""
        with self._lock:
            self.waits = not self.applied

    def put_in(self) -> None:
        """Put the replacement in, unless the patch was undone; harmless when repeated."""
        with self._lock:
            if self.waits:
                self.waits = False
                super().apply()

    def undo(self) -> None:
        """Undo `apply` and `put_in`; harmless when repeated."""
        with self._lock:
            self.waits = False
            super().undo()


@dataclass(frozen=True, slots=True)
class SeamFailure:
    """Why the patches of one module of a library could not be applied."""

    library: str
    """Whose patches they are, as in the mock and live lists."""
    module: str
    """The module that they belong to."""
    versions: tuple[tuple[str, str], ...]
    """The installed packages that the module belongs to, each with its version."""
    missing: tuple[str, ...]
    """Names that the patches rely upon and that are not there; empty where something else went wrong."""
    error: str
    """What was raised; empty where names are missing."""
    next_step: str
    """What a user can do about it."""

    @property
    def reason(self) -> str:
        """The facts in one sentence."""
        found = (
            ", ".join(f"{name} {version}" for name, version in self.versions) or f"{self.module} (no version known)"
        )
        what = f"{', '.join(self.missing)} not found" if self.missing else f"patching raised {self.error}"
        return f"calls of {self.library} cannot be seen with {found}: {what}"


class Seams:
    """The patches of some modules. They are applied from `install` to `remove`, also in modules imported in between.

    The patches of one module are applied all together or not at all: where one fails, those before it are undone,
    last first. Safe from any thread.

    Args:
        name: What they are for, as the log calls it.
        modules: Import names.
        patches: Makes the patches of one such module.
        check: Gives the names that the patches of a module rely upon and that are not there. Asked before any patch
            is made.
        instead: Makes other patches for a module whose patches failed: the ones that refuse calls in a replay.
        said: What the log says, besides the reason, about the consequences of a failure.
        knows: By package: the releases that the patches were tried with, such as ``3.12 to 3.14``.
        needed: Whether a module that is imported gets its patches although nobody called `install`. Asked in the
            thread that imports it, so it must wait for nobody.
    """

    def __init__(
        self,
        name: str,
        modules: Sequence[str],
        patches: Callable[[ModuleType], Sequence[Undoable]],
        *,
        check: Callable[[ModuleType], Iterable[str]] | None = None,
        instead: Callable[[ModuleType, SeamFailure], Sequence[Undoable]] | None = None,
        said: str = "Nothing was changed; the app goes on.",
        knows: Mapping[str, str] | None = None,
        needed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self.modules = modules
        self._patches = patches
        self._check = check
        self._instead = instead
        self._said = said
        self._knows = knows or {}
        self._needed = needed
        self._lock = threading.RLock()
        self._wanted = False
        self._hooked = False
        self._installed: dict[str, Sequence[Undoable]] = {}
        self._failed: dict[str, SeamFailure] = {}
        self._rests = False
        self._rests_left = MOST_RESTS

    @property
    def failures(self) -> tuple[SeamFailure, ...]:
        """The modules whose patches are wanted and failed, with the reasons."""
        with self._lock:
            return tuple(self._failed.values())

    def install(self) -> None:
        """Apply the patches, now or when their module is imported; harmless when repeated.

        A module that lacked a name is checked again: a later import may have given it the name.
        """
        with self._lock:
            self._wanted = True
            self.install_needed()

    def install_needed(self) -> None:
        """Apply the patches in the modules that are imported now; ``needed`` says whether in others later."""
        with self._lock:
            for name in self.modules:
                module = sys.modules.get(name)
                if module is not None:
                    self._install_in(module)
            self.listen()

    def listen(self) -> None:
        """Hear of the modules that will be imported; harmless when repeated."""
        with self._lock:
            if not self._hooked:
                self._hooked = True
                for name in self.modules:
                    if name not in sys.modules:
                        wrapt.register_post_import_hook(self._imported, name)

    def leave_needed(self) -> None:
        """Undo `install`, and leave the patches in where they are."""
        with self._lock:
            self._wanted = False

    def remove(self) -> None:
        """Undo the patches; harmless when repeated."""
        with self._lock:
            self._wanted = False
            self._failed.clear()
            while self._installed:
                self._undo(self._installed.popitem()[1])

    def rest(self) -> None:
        """Take the patches out until `wake`, except those that are `Staying`; harmless when repeated.

        Modules that are imported in between are patched by `wake` only. Calls of the library then cost nothing.
        Classes and functions that change keep Python from its faster instructions for them, and newer Pythons give
        them up for a class that has changed a thousand times. So the patches stay in from the time on that this was
        called `MOST_RESTS` times.
        """
        with self._lock:
            if not self._rests and self._rests_left > 0 and all(map(_may_rest, self._patches_in())):
                self._rests_left -= 1
                self._rests = True
                for name in self._installed:
                    self._take_out(name)

    def wake(self) -> None:
        """Undo `rest`; harmless when repeated."""
        with self._lock:
            if not self._rests:
                return
            self._rests = False
            for name, patches in list(self._installed.items()):
                if name not in self._failed:
                    module = sys.modules.get(name) or ModuleType(name)
                    failure, error = self._apply(patches, module)
                    if failure is not None:
                        self._undo(patches)
                        self._fail(module, failure, error)

    def _patches_in(self) -> Iterator[Undoable]:
        for patches in self._installed.values():
            yield from patches

    def _take_out(self, name: str) -> None:
        # What stands in the place of patches that failed is there to refuse.
        for patch in reversed(self._installed[name]) if name not in self._failed else ():
            try:
                getattr(patch, "rest", patch.undo)()
            except Exception as error:
                faults.contain(f"{self.name}.rest", error)

    def _imported(self, module: ModuleType) -> None:
        # The app's `import` calls this: what was raised here would be raised there.
        with self._lock:
            try:
                if self._wanted or self._needed():
                    self._install_in(module)
            except Exception as error:
                self._refuse(module, error)

    def _refuse(self, module: ModuleType, error: Exception) -> None:
        """Have the calls of a module refused in replays, where a fault of ours kept its patches out."""
        if module.__name__ in self._installed:
            # What is in stays in: nobody would undo it if it were forgotten here.
            faults.contain(f"{self.name}.install", error)
            return
        try:
            self._fail(module, self._failure(module, (), error), error)
        except Exception as another:
            faults.contain(f"{self.name}.refuse", another)

    def _install_in(self, module: ModuleType) -> None:
        # The module's own name, not the one that it was imported by: `alias_httpx` of httpx2 gives a module a second
        # name.
        name = module.__name__
        before = self._failed.get(name)
        # Patches that failed although no name was missing would fail again. To try would undo what refuses calls
        # in their place, for a moment in which calls would go out.
        if name in self._installed and (before is None or not before.missing or self._missing_in(module)):
            return
        self._failed.pop(name, None)
        self._undo(self._installed.pop(name, ()))
        failure, error = self._put_in(module)
        if failure is not None:
            self._fail(module, failure, error)
        elif self._rests:
            self._take_out(name)

    def _fail(self, module: ModuleType, failure: SeamFailure, error: Exception | None) -> None:
        name = module.__name__
        self._failed[name] = failure
        self._installed[name] = self._put_instead(module, failure)
        faults.contain(
            f"{self.name}.install",
            error or AttributeError(failure.reason),
            warning=f"{failure.reason}. {self._said} What to do: {failure.next_step}",
        )

    def _put_in(self, module: ModuleType) -> tuple[SeamFailure | None, Exception | None]:
        try:
            missing = self._missing_in(module)
            if missing:
                return self._failure(module, missing, None), None
            patches = self._patches(module)
        except Exception as error:
            return self._failure(module, (), error), error
        failed = self._apply(patches, module)
        if failed == (None, None):
            self._installed[module.__name__] = patches
        return failed

    def _apply(self, patches: Sequence[Undoable], module: ModuleType) -> tuple[SeamFailure | None, Exception | None]:
        for count, patch in enumerate(patches, 1):
            try:
                patch.apply()
            except Exception as error:
                # The patch that failed may have done half of its work: it is undone, too.
                self._undo(patches[:count])
                return self._failure(module, (), error), error
        return None, None

    def _missing_in(self, module: ModuleType) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._check(module))) if self._check is not None else ()

    def _put_instead(self, module: ModuleType, failure: SeamFailure) -> Sequence[Undoable]:
        placed: list[Undoable] = []
        try:
            for patch in self._instead(module, failure) if self._instead is not None else ():
                patch.apply()
                placed.append(patch)
        except Exception as error:
            faults.contain(f"{self.name}.refuse", error)
        return placed

    def _undo(self, patches: Sequence[Undoable]) -> None:
        for patch in reversed(patches):
            try:
                patch.undo()
            except Exception as error:
                faults.contain(f"{self.name}.remove", error)

    def _failure(self, module: ModuleType, missing: tuple[str, ...], error: Exception | None) -> SeamFailure:
        modules = (name.partition(":")[0].partition(".")[0] for name in (module.__name__, *missing))
        packages = dict.fromkeys(_PYTHON if name in sys.stdlib_module_names else name for name in modules)
        tried = [f"{package} {self._knows[package]}" for package in packages if package in self._knows]
        known = f" ({', '.join(tried)})" if tried else ""
        return SeamFailure(
            self.name,
            module.__name__,
            tuple((package, version) for package in packages if (version := _version(package)) is not None),
            missing,
            "" if error is None else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            f"install a release of {' or '.join(packages)} that this timetracer-otel supports{known}, or a newer "
            "timetracer-otel.",
        )


def _may_rest(patch: Undoable) -> bool:
    return getattr(patch, "may_rest", True)


def _version(package: str) -> str | None:
    """The version of the distribution that a package comes from; None where it is not known."""
    if package == _PYTHON:
        return platform.python_version()
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    # Most distributions have the name of their package. Only for the others all distributions are searched, which is
    # slow.
    with suppress(Exception):  # the metadata of any installed distribution may be broken
        for name in metadata.packages_distributions().get(package, ()):
            return metadata.version(name)
    return None
