"""What a library declares of its calls: where secrets are in them, and what of them is compared.

The kernel knows no library. It asks `form_of` for the form of a call by the name of the call's library, and gets what
that library declared when its plugin was made, what its group has in common, or plain values.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from timetracer_otel.base import plugin_names
from timetracer_otel.redact.redactor import Redactor
from timetracer_otel.types import EventResult

__all__ = ["PLAIN", "CallForm", "OwnSetting", "declare", "declare_group", "error_text", "find_by", "form_of"]


class OwnSetting(NamedTuple):
    """A setting by which values of a library's calls are left out of the comparison, in the place of ``ignore``."""

    name: str
    fields: tuple[str, ...]
    """Beginnings of the names of differences that it can leave out (``args.parameters``)."""


class CallForm:
    """The form of calls whose arguments and results are plain values, with secrets under secret names.

    A library whose calls are otherwise declares a form of its own, which overrides what is different. Each method
    takes whatever a call of that library has as its arguments. Forms have no state: they are safe from any thread.
    """

    def arguments(self, args: Any, redactor: Redactor) -> Any:
        """A call's arguments as they are kept: redacted, in a copy where anything was replaced."""
        return redactor.value(args)

    def redact_result(self, result: EventResult, args: Any, redactor: Redactor) -> None:
        """Redact what came of a call, besides what stands under a secret name.

        Args:
            result: Changed in place.
            args: The call's arguments as they were given, not redacted: results quote them.
            redactor: The rules.
        """

    def error_text(self, text: str) -> str:
        """The text of an error, or a traceback, without what this library's errors quote that may be secret.

        It is asked of texts whose library nobody knows (the traceback of a request, the description of a span), and
        so must know its own errors by their wording.
        """
        return text

    def compared(self, args: Any) -> Any:
        """Redacted arguments as they are compared: without what is made anew in each run. The same object where
        that is all of them.
        """
        return args

    def without_ignored(self, args: Any, rules: Sequence[str]) -> Any:
        """Redacted arguments without the values that a replay does not compare. The same object where that is all
        of them.

        Args:
            args: Of a recorded call, or of one that is made now.
            rules: The setting ``ignore_sql_params``.
        """
        return args

    def shown(self, args: Any) -> Sequence[tuple[str, Any]]:
        """What of redacted arguments the text of a miss shows, by name; the first is the text that `likeness` is
        measured by. Empty where there is nothing to show but the call's method and target.
        """
        return ()

    def likeness(self, args: Any) -> str | None:
        """The text by which one call is like another, to find the nearest recorded one; None where there is none."""
        return None

    def own_setting(self, args: Any) -> OwnSetting | None:
        """The setting that a miss names for values that change from run to run; None where that is ``ignore``."""
        return None


PLAIN = CallForm()

_of_library: dict[str, CallForm | None] = {}
"""None where a library is known and declares no form."""
_of_group: dict[str, CallForm] = {}
_find: Callable[[], object] | None = None
_finding = False
_lock = threading.RLock()


def declare(library: str, form: CallForm | None) -> None:
    """Say how the calls of a library are redacted and compared; None: as its group's. The last word counts."""
    _of_library[library] = form


def declare_group(group: str, form: CallForm) -> None:
    """Say how the calls of a group's libraries are redacted and compared that declare no form of their own."""
    _of_group[group] = form


def find_by(load: Callable[[], object]) -> None:
    """Set what is called, once, when a form is asked for that nobody declared: it loads the plugins there are.

    Example: a `ReplaySession` that a test makes by hand compares calls of SQLAlchemy before anything has loaded the
    plugin for it.
    """
    global _find
    _find = load


def form_of(library: str) -> CallForm:
    """The form of a library's calls."""
    form = _of_library.get(library) or _found(library)
    return form if form is not None else PLAIN


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
    """The text of an error of whatever library, or a traceback, without what the declared libraries say is secret."""
    _load()
    for form in list(_of_library.values()):
        if form is not None:
            text = form.error_text(text)
    return text


def _load() -> None:
    global _find, _finding
    if _find is None:
        return
    # Other threads wait: what they ask for may be declared in this moment. What is loaded may ask, too.
    with _lock:
        if _find is not None and not _finding:
            _finding = True
            try:
                _find()
            finally:
                _find, _finding = None, False
