"""Exceptions as values, and back: `record_error` and `rebuild_error`.

A recorded exception names a class, and cassettes are untrusted. So rebuilding takes a class from a module only where
the program has imported that module already, or where the module itself, by its full name, is one that the caller
lists or one of a few of the standard library. It takes nothing but exception classes.
It runs no constructor of a library: the built-in base of the class (such as `Exception` or `OSError`) makes the
object, and then the recorded arguments and attributes are set on it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterator
from enum import Enum
from types import ModuleType
from typing import Any, Final

from timetracer_otel.cassette.codec import pack, unpack
from timetracer_otel.cassette.scan import Unencodable
from timetracer_otel.exceptions import CassetteError
from timetracer_otel.types import RecordedError

__all__ = ["STDLIB_MODULES", "rebuild_error", "record_error"]

MAX_CAUSES: Final = 8
"""How many causes of a cause, and errors within errors, are recorded."""

STDLIB_MODULES: Final = frozenset(
    {
        "_socket",
        "_ssl",
        "asyncio.exceptions",
        "asyncio.queues",
        "binascii",
        "builtins",
        "concurrent.futures._base",
        "decimal",
        "http",
        "http.client",
        "http.cookiejar",
        "json.decoder",
        "_lzma",
        "select",
        "socket",
        "sqlite3",
        "ssl",
        "struct",
        "urllib.error",
        "zlib",
    }
)
"""Modules whose exceptions are rebuilt for every caller, and which are imported for it. Each is named in full: to
permit all that begins with ``asyncio`` would permit importing ``asyncio.__main__``, which is a program."""

_MAX_NESTED: Final = 64
_MAX_TEXT: Final = 10_000
_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
_MEMBERS: Final[tuple[tuple[type[BaseException], tuple[str, ...]], ...]] = (
    (OSError, ("errno", "strerror", "filename", "filename2")),
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
)
"""Attributes that built-in exceptions keep in C, neither in ``args`` nor in ``__dict__``."""


def record_error(
    exc: BaseException, extra: Collection[str] = (), substitute: Callable[[Any], Any] | None = None
) -> RecordedError:
    """An exception as a value: class, arguments, attributes, and its chain of ``__cause__``.

    Kept are the attributes that can be encoded (None included) and members of enumerations; others, such as a
    client's request object, are left out. An argument that cannot be encoded is kept as its ``repr``, and
    ``unfaithful`` says so: such an error cannot be rebuilt. Exceptions among arguments and attributes are recorded
    like the outer one. Never raises, whatever the exception's own methods do.

    Args:
        exc: The exception; it is not changed.
        extra: Names of more attributes to keep, which lie elsewhere than in its ``__dict__``
            (``pgcode`` of psycopg2).
        substitute: Gives a value to keep for an argument or attribute that cannot be encoded; None where there is
            none. Whoever rebuilds the error puts something into its place first.
    """
    return _Recorder(substitute).record(exc, extra)


def rebuild_error(error: RecordedError, modules: Collection[str]) -> BaseException:
    """The exception that was recorded: same class, arguments and attributes, with its causes.

    No constructor of the class runs. Attributes that cannot be set are skipped. A cause that cannot be rebuilt
    is replaced by the `CassetteError` that says why, so that nothing is taken for it.

    Args:
        error: What `record_error` gave.
        modules: Full names of the modules and packages whose exceptions may be rebuilt, besides `STDLIB_MODULES`
            (``{"httpx", "h2.exceptions"}``). Each is imported where it is not yet. Of what lies below a package, only
            modules that the program has imported are used, so that no file decides what is imported.

    Raises:
        CassetteError: The class is not permitted, is no exception or is not there, or the record is unfaithful.
    """
    return _rebuild(error, frozenset(modules), MAX_CAUSES)


_CLASS_AND_ARGUMENTS = 2
"""How much an exception without attributes is pickled as."""


class _Recorder:
    """Records one exception and the errors that it holds. A count of them ends a circle of errors."""

    def __init__(self, substitute: Callable[[Any], Any] | None = None) -> None:
        self._substitute = substitute
        self._count = 0
        self._open: set[int] = set()

    def record(self, exc: BaseException, extra: Collection[str] = ()) -> RecordedError:
        self._count += 1
        self._open.add(id(exc))
        try:
            kind = type(exc)
            faults: list[str] = []
            args = tuple(self._argument(index, item, faults) for index, item in enumerate(exc.args))
            error = RecordedError(
                cls=f"{kind.__module__}:{kind.__qualname__}",
                message=_text(exc),
                args=args,
                attributes=dict(self._attributes(exc, extra)),
                unfaithful="; ".join(faults) or None,
                enums=dict(_enums(exc)),
            )
            cause = exc.__cause__
            if cause is not None and self._may_go_on(cause):
                error.cause = self.record(cause)
            return error
        finally:
            self._open.discard(id(exc))

    def _may_go_on(self, exc: BaseException) -> bool:
        return id(exc) not in self._open and len(self._open) <= MAX_CAUSES and self._count < _MAX_NESTED

    def _argument(self, index: int, item: Any, faults: list[str]) -> Any:
        try:
            return self._value(item)
        except Unencodable as fault:
            faults.append(f"argument {index}: {fault}")
            return _repr(item)

    def _attributes(self, exc: BaseException, extra: Collection[str]) -> Iterator[tuple[str, Any]]:
        own = _own_attributes(exc)
        names: dict[Any, None] = dict.fromkeys(own)
        for base, members in _MEMBERS:
            if isinstance(exc, base):
                names.update(dict.fromkeys(members))
        names.update(dict.fromkeys(extra))
        for name in names:
            try:
                item = own[name] if name in own else getattr(exc, name)
                if type(name) is str and not (item is None and name not in own):
                    yield name, self._value(item)
            except Exception:  # noqa: S112 - left out, as documented: no encoding, or a property that raises
                continue

    def _value(self, item: Any) -> Any:
        if type(item) in _SCALARS:
            return item
        if isinstance(item, BaseException):
            if not self._may_go_on(item):
                raise Unencodable("an error within errors too deep, or within itself")
            return self.record(item)
        if type(item) in (list, tuple) and any(isinstance(part, BaseException) for part in item):
            return type(item)(map(self._value, item))
        try:
            return unpack(pack(item))  # A copy, since the app may change its own value later.
        except Unencodable:
            instead = self._substitute(item) if self._substitute is not None else None
            if instead is None:
                raise
            return instead


def _own_attributes(exc: BaseException) -> dict[Any, Any]:
    """What is in its ``__dict__``. To ask for that would make one where there is none, which some classes in C take
    for a sign. Example: psycopg2's errors are then pickled without ``pgcode``.
    """
    state = BaseException.__reduce__(exc)
    return state[2] if len(state) > _CLASS_AND_ARGUMENTS and type(state[2]) is dict else {}


def _enums(exc: BaseException) -> Iterator[tuple[str, str]]:
    for name, item in list(_own_attributes(exc).items()):
        kind = type(item)
        if type(name) is str and isinstance(item, Enum) and item.name in kind.__members__:
            yield name, f"{kind.__module__}:{kind.__qualname__}.{item.name}"


def _text(exc: BaseException) -> str:
    try:
        return str.__str__(str(exc))[:_MAX_TEXT]
    except Exception:  # another library's __str__
        return _repr(exc)


def _repr(item: Any) -> str:
    try:
        return str.__str__(repr(item))[:200]
    except Exception:  # another library's __repr__
        return f"<{type(item).__qualname__}>"


def _rebuild(error: RecordedError, modules: frozenset[str], room: int) -> BaseException:
    if error.unfaithful is not None:
        raise CassetteError(
            f"The error {error.cls} was not recorded faithfully ({error.unfaithful}). Record it again."
        )
    if room < 0:
        raise CassetteError(f"The error {error.cls} holds more than {MAX_CAUSES} errors within errors.")
    cls = _find_class(error.cls, modules)
    # Apps catch CancelledError, which is no Exception. It is compared by name, since importing asyncio takes long.
    cancelled = (cls.__module__, cls.__qualname__) == ("asyncio.exceptions", "CancelledError")
    if not (issubclass(cls, Exception) or (cancelled and issubclass(cls, BaseException))):
        raise CassetteError(f"The recorded error {error.cls} is not rebuilt: the class is no Exception.")
    args = tuple(_restored(item, modules, room) for item in error.args)
    exc = _make(cls, args)
    vars(BaseException)["args"].__set__(exc, args)
    _set_all(exc, dict(_state(error, modules, room)))
    if error.cause is not None:
        try:
            exc.__cause__ = _rebuild(error.cause, modules, room - 1)
        except CassetteError as fault:
            exc.__cause__ = fault
    return exc


def _restored(item: Any, modules: frozenset[str], room: int) -> Any:
    if type(item) is RecordedError:
        return _rebuild(item, modules, room - 1)
    if type(item) in (list, tuple) and any(type(part) is RecordedError for part in item):
        return type(item)(_restored(part, modules, room) for part in item)
    return item


def _find_class(path: str, modules: frozenset[str]) -> type:
    """The class of a path: the one place that takes a class by a name from a file, and the one that may import."""
    module_name, _, qualname = path.partition(":")
    parts = module_name.split(".")
    if not _is_permitted(module_name, modules):
        raise CassetteError(
            f"The recorded error {path} is not rebuilt: {parts[0]!r} is neither the client's own package nor one of "
            "the standard library's that are permitted."
        )
    if not all(part.isidentifier() and not part.startswith("__") for part in (*parts, *qualname.split("."))):
        raise CassetteError(f"The recorded error {path!r} does not name a class.")
    found: Any = _module(module_name, modules, path)
    for part in qualname.split("."):
        # Not by `getattr`: a module may import, or run anything else, for a name that it does not have (PEP 562).
        found = vars(found).get(part)
        if not isinstance(found, type):
            raise CassetteError(f"The recorded error {path} is not rebuilt: there is no such class here.")
    home = found.__module__
    if type(home) is not str or not _is_permitted(home, modules):
        raise CassetteError(f"The recorded error {path} is not rebuilt: the class belongs to {home}.")
    return found  # type: ignore[no-any-return]


def _is_permitted(module_name: str, modules: frozenset[str]) -> bool:
    """Whether a module is a listed one, or lies below one."""
    if module_name in STDLIB_MODULES or module_name in modules:
        return True
    parts = module_name.split(".")
    return any(".".join(parts[:count]) in modules for count in range(1, len(parts)))


def _module(name: str, modules: frozenset[str], path: str) -> ModuleType:
    imported = sys.modules.get(name)
    if isinstance(imported, ModuleType):
        return imported
    if name not in modules and name not in STDLIB_MODULES:
        raise CassetteError(
            f"The recorded error {path} is not rebuilt: this program has not imported {name}, and nothing is "
            "imported because a file names it. Import it, or name it in full where the plugin lists its modules of "
            "errors."
        )
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit, KeyboardInterrupt) as fault:  # what a module does when it is imported is its own
        raise CassetteError(f"The recorded error {path} is not rebuilt: {name} cannot be imported.") from fault


_HEAP_TYPE: Final = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: set on classes that are made by code, unset on those that are built in."""


def _make(cls: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    in_c = [base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE]
    # Classes that Cython made (asyncmy's) are no heap types either, and have no `__init__` of their own.
    built_in, initializing = in_c[0], next(base for base in in_c if "__init__" in vars(base))
    last: Exception | None = None
    for given in (args, ()):
        try:
            exc: BaseException = built_in.__new__(cls, *given)
            # OSError.__new__ may give a subclass that fits the errno (``OSError(2, text)`` is a FileNotFoundError).
            if type(exc) is cls:
                vars(initializing)["__init__"](exc, *given)
                return exc
        except Exception as fault:  # a type in C may raise anything for arguments from a file
            last = fault
    raise CassetteError(
        f"The recorded error {cls.__module__}:{cls.__qualname__} cannot be rebuilt from its arguments ({last})."
    ) from last


def _state(error: RecordedError, modules: frozenset[str], room: int) -> Iterator[tuple[str, Any]]:
    for name, item in error.attributes.items():
        try:
            yield name, _restored(item, modules, room)
        except CassetteError:
            continue
    for name, path in error.enums.items():
        class_path, _, member = path.rpartition(".")
        try:
            kind = _find_class(class_path, modules)
        except CassetteError:
            continue
        if issubclass(kind, Enum) and member in kind.__members__:
            yield name, kind.__members__[member]


def _set_all(exc: BaseException, state: dict[str, Any]) -> None:
    refused = {}
    for name, item in state.items():
        if name != "args" and (not name.startswith("__") or name == "__notes__"):
            try:
                setattr(exc, name, item)
            except Exception:
                refused[name] = item
    if refused:
        try:
            # Types in C may take attributes only from here, where pickle would restore them. Example: psycopg2's
            # errors have a read-only ``pgcode``.
            exc.__setstate__(refused)
        except Exception:
            return  # These attributes cannot be set, and are skipped as documented.
