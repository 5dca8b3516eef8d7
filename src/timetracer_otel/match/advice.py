"""What an error advises: the ``ignore`` rules for values that change from run to run, in the words of the user.

A rule must not widen what may answer beyond the call that it is about. So it has a scope: the method and path of a
request, the command and key of another call. No rule is advised for a value that says what the call asks for, unless
it has the form of a value that is made anew in each run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from timetracer_otel.base.ignore_rules import BOUND
from timetracer_otel.match.differences import MISSING, Difference
from timetracer_otel.match.fresh import fresh_alike, generalised
from timetracer_otel.redact.forms import form_of
from timetracer_otel.types import DependencyEvent, EventSignature

__all__ = ["Wording", "rules_for"]

_RULES = (
    ("query:", re.compile(r"query\.(.+)")),
    ("header:", re.compile(r"headers\.(.+)")),
    ("body:$", re.compile(r"(?:body|args)((?:\.[^\s.\[\]']+|\[\d+\])+)")),
)
"""How the setting ``ignore`` names a field of a difference."""
_MOST_PLAIN = 2
"""Where more values without a fresh form differ, it is another call."""
_ASKING = frozenset({"GET", "HEAD", "OPTIONS"})
"""HTTP methods whose query says what the request asks for (RFC 9110, section 9.2.1)."""
_LONGEST_SUBJECT = 100


class Wording(NamedTuple):
    """How a user says settings: as arguments in Python, or by variables of the environment."""

    by_environment: bool = False
    ignored: tuple[str, ...] = ()
    """The rules that are set already. The advice repeats them, since a setting is replaced as a whole."""

    def ignoring(self, rules: Iterable[str]) -> str:
        """The setting ``ignore`` with these rules besides those that are set: to be copied as it stands."""
        listed = list(dict.fromkeys((*self.ignored, *rules)))
        if self.by_environment:
            # A comma separates rules there.
            return "TIMETRACER_IGNORE=" + shlex.quote(",".join(rule.replace(",", "*") for rule in listed))
        quoted = (f'"{rule}"' if '"' not in rule and "\\" not in rule else repr(rule) for rule in listed)
        return f"ignore=[{', '.join(quoted)}]"

    def said(self, hint: str) -> str:
        """A hint that names ``live_plugins``, in the user's words."""
        return hint.replace("live_plugins", self.live)

    @property
    def repeating(self) -> str:
        """The setting that gives the last answer again."""
        return "TIMETRACER_ALLOW_REPEATS=true" if self.by_environment else "allow_repeats=True"

    @property
    def clock(self) -> str:
        """The setting that gives the app the time of the recording."""
        return "TIMETRACER_CLOCK=recorded" if self.by_environment else 'clock="recorded"'

    @property
    def live(self) -> str:
        """The setting that names libraries which call for real."""
        return "TIMETRACER_LIVE_PLUGINS" if self.by_environment else "live_plugins"


def rules_for(
    found: Sequence[Difference],
    signature: EventSignature,
    args: object,
    is_form: bool,
    others: Callable[[], Iterable[tuple[DependencyEvent, Sequence[str]]]],
) -> tuple[str, ...]:
    """The ``ignore`` rules that would leave out all differences; empty where there are none to advise.

    Args:
        found: The differences between a recorded call and the one that was made.
        signature: Of the call that was made.
        args: Its redacted arguments, where it is no HTTP.
        is_form: Whether its body is an URL-encoded form, for whose fields there is no rule.
        others: Gives other recorded calls, each with the fields in which it differs from that recorded call.
    """
    plain = [each for each in found if not fresh_alike(each.recorded, each.actual)]
    if len(plain) > _MOST_PLAIN or any(MISSING in (each.recorded, each.actual) for each in plain):
        return ()
    if any(_identifies(each.field, signature, args) for each in plain):
        return ()
    fields = {each.field for each in found}
    named = [_rule(each.field, signature, args, is_form) for each in found]
    rules = tuple(dict.fromkeys(rule for rule in named if rule is not None))
    if None in named or not rules:
        return ()
    other_calls = list(others()) if plain or args is None else []
    if plain and any(differing and fields.issuperset(differing) for _, differing in other_calls):
        # The value tells recorded calls apart: without it, one would get the answer of the other.
        return ()
    host = _elsewhere(signature, (event.signature for event, _ in other_calls)) if args is None else False
    scope = _scope(signature, args, with_host=host)
    return tuple(rule if rule.startswith(BOUND) else f"{scope} {rule}" for rule in rules)


def _identifies(field: str, signature: EventSignature, args: object) -> bool:
    if args is None:
        return signature.method in _ASKING and field.startswith("query.")
    return form_of(signature.lib).identifies(field, args)


def _rule(field: str, signature: EventSignature, args: object, is_form: bool) -> str | None:
    own = form_of(signature.lib).rule_for(field, args) if args is not None else None
    if own is not None:
        return own
    for kind, form in _RULES:
        named = form.fullmatch(field)
        if named is not None:
            return None if kind == "body:$" and is_form else kind + named[1]
    return None


def _scope(signature: EventSignature, args: object, *, with_host: bool) -> str:
    if args is None and signature.url and "://" in signature.url:
        parts = urlsplit(signature.url)
        return f"{signature.method} {parts.netloc if with_host else ''}{parts.path or '/'}:"
    subject = form_of(signature.lib).subject(args) if args is not None else None
    scope = f"{signature.lib}:{signature.method}"
    pattern = generalised(subject) if subject is not None else ""
    if pattern.strip("*") and len(pattern) <= _LONGEST_SUBJECT and pattern.isprintable():
        scope = f"{scope} {pattern}"
    return scope


def _elsewhere(signature: EventSignature, others: Iterable[EventSignature]) -> bool:
    """Whether another host has a request of this method and path."""
    here = urlsplit(signature.url or "")
    return any(
        there.netloc != here.netloc and there.path == here.path
        for other in others
        if other.method == signature.method
        for there in (urlsplit(other.url or ""),)
    )
