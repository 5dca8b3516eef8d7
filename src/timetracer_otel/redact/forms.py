"""The form of a library's calls, which the library declares: where secrets are in them, and what of them is compared.

The kernel knows no library. It asks `form_of` by the name of a call's library. The answer is the form that the
library declared when its plugin was made, or else the form of its group, or else `PLAIN`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from timetracer_otel.base import faults, plugin_names
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import DependencyEvent, EventResult

__all__ = ["PLAIN", "CallForm", "declare", "declare_group", "error_text", "find_by", "form_of", "is_open"]


class CallForm:
    """The form of calls whose arguments and results are plain values, with secrets under secret names.

    A library whose calls are otherwise declares a form of its own, which overrides what is different. Each method
    takes whatever a call of that library has as its arguments. Forms have no state: they are safe from any thread.
    """

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        """A call's arguments, redacted. A copy, where anything was replaced."""
        return redactor.value(args)

    def redact_result(self, result: EventResult, args: Any, redactor: Redactor) -> None:
        """Redact the result of a call, beyond the values under secret names, which are redacted anyway.

        Args:
            result: Changed in place.
            args: The call's arguments, not redacted. Results may quote secrets that are in them.
            redactor: The rules.
        """

    def is_open(self, args: Any, result: EventResult, redactor: Redactor) -> bool:
        """Whether only the values under secret names, and the documents among the values, can be secret in a call.

        Where nothing is secret in those either, neither `arguments` nor `redact_result` is called. A form that
        overrides one of these says here what it would replace. Without that, it is asked for each call.

        Args:
            args: The call's arguments, not redacted.
            result: Its result, which is no error; not redacted.
            redactor: The rules. None of them is about places.
        """
        return True

    def error_text(self, text: str) -> str:
        """The text of an error, or a traceback, without the secrets that this library's errors may quote.

        It is also given texts of unknown origin: the traceback of a request, the description of a span. It must
        therefore recognise its own library's errors by their wording.
        """
        return text

    def compared(self, args: Any) -> Any:
        """Redacted arguments without values that are made anew in each run. The same object where there are none."""
        return args

    def in_any_order(self, args: Any) -> Any:
        """Compared arguments with the parts in one order whose order means nothing. The same object where all orders
        mean something.
        """
        return args

    def without_ignored(self, args: Any, rules: Sequence[str]) -> Any:
        """Redacted arguments without the values that rules leave out. The same object where they leave out none.

        Args:
            args: Of a recorded call, or of one that is made now.
            rules: The setting ``ignore_sql_params``, and the rules of ``ignore`` that begin with ``sql:``.
        """
        return args

    def shown(self, args: Any) -> Sequence[tuple[str, Any]]:
        """The parts of redacted arguments that the text of a miss shows, by name.

        The first one is the text that `likeness` compares. Empty where the call's method and target say everything.
        """
        return ()

    def displayed(self, args: Any, reply: Any) -> tuple[Any, Any]:
        """Redacted arguments, and what else than a body was answered, as the tools show them: the same objects where
        they can be read as they are.
        """
        return args, reply

    def likeness(self, args: Any) -> str | None:
        """The text that is compared to find the nearest recorded call; None where there is none."""
        return None

    def subject(self, args: Any) -> str | None:
        """The text that the pattern of a scope is compared with (``redis:GET cache:*``); None where there is none."""
        return None

    def identifies(self, field: str, args: Any) -> bool:
        """Whether a field of the arguments says what the call asks for, and not what it brings along.

        To leave out such a field would give the answer about one thing to a call about another.

        Args:
            field: Its name in a difference: ``args[1]``, ``args.parameters.id_1``.
            args: The redacted arguments.
        """
        return False

    def held_by_server(self, event: DependencyEvent) -> Iterator[str]:
        """The texts of a recorded call that its answer shows the server to have known before.

        Such a text is nothing that the app has just made up. Here: the path of an HTTP request that only asks, and
        that was answered.
        """
        signature, status = event.signature, event.result.status
        if signature.method in _ASKING and signature.url is not None and status is not None and status < _ERRORS:
            yield signature.url

    def rule_for(self, field: str, args: Any) -> str | None:
        """The rule of the setting ``ignore`` by which calls like this one leave out a field; None for the usual form
        of a rule.
        """
        return None


_ASKING = frozenset({"GET", "HEAD"})
_ERRORS = 400
"""The first status that says that a request was not answered (RFC 9110 section 15)."""

PLAIN = CallForm()

_of_library: dict[str, CallForm | None] = {}
"""None for a library that declares no form of its own."""
_of_group: dict[str, CallForm] = {}


def _load_installed() -> None:
    """Load the plugins that are installed: each declares the form of its calls."""
    for entry_point in plugin_names.installed().values():
        try:
            entry_point.load()
        except Exception as error:
            faults.contain(f"plugin {entry_point.name}", error)


_find: Callable[[], object] | None = _load_installed
_finding = False
_lock = threading.RLock()


def declare(library: str, form: CallForm | None) -> None:
    """Set the form of a library's calls; None stands for its group's form. The last declaration counts."""
    _of_library[library] = form


def declare_group(group: str, form: CallForm) -> None:
    """Set the form of the libraries of a group that declare no form of their own."""
    _of_group[group] = form


def find_by(load: Callable[[], object]) -> None:
    """Set the function that loads all plugins, also those that are no entry points. It is called once, when an
    undeclared form is asked for.

    Example: a `ReplaySession` that a test makes by hand compares calls of SQLAlchemy before anything has loaded the
    plugin for it. Where nobody has set a function by then, the entry points are loaded.
    """
    global _find
    _find = load


def form_of(library: str) -> CallForm:
    """The form of a library's calls."""
    form = _of_library.get(library) or _found(library)
    return form if form is not None else PLAIN


def is_open(library: str, args: Any, result: EventResult, redactor: Redactor) -> bool:
    """What the form of a library says: see `CallForm.is_open`. False where the form does not say it."""
    form = form_of(library)
    kind: Any = type(form)
    return _tells(kind) and form.is_open(args, result, redactor)


@lru_cache(maxsize=256)
def _tells(kind: Any) -> bool:
    """Whether a class says of itself which calls are open, and does not inherit it from one that redacts less."""
    for one in kind.__mro__:
        if "is_open" in vars(one):
            return True
        if not vars(one).keys().isdisjoint(_REDACTING):
            return False
    return False


_REDACTING = ("arguments", "redact_result")


def _found(library: str) -> CallForm | None:
    if library not in _of_library:
        _load()
    form = _of_library.get(library)
    if form is not None:
        return form
    group = plugin_names.group_of(library)
    if group not in _of_group:
        _load()
    return _of_group.get(group)


def error_text(text: str) -> str:
    """The text of an error of any library, or a traceback, redacted by the forms of all declared libraries."""
    _load()
    for form in list(_of_library.values()):
        if form is not None:
            text = form.error_text(text)
    return text


def _load() -> None:
    global _find, _finding
    if _find is None:
        return
    # Other threads wait here: the form that they ask for may be declared at this moment. The thread that loads may
    # come here again, as a plugin may ask for a form while it is loaded.
    with _lock:
        if _find is not None and not _finding:
            _finding = True
            try:
                _find()
            finally:
                _find, _finding = None, False
