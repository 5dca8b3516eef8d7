"""`MatchRules`: which parts of a call are compared, by the settings ``match_on`` and ``ignore``.

The recorded signatures stay as they are. By these rules, new keys are made for both sides: of the recorded call, as
it is stored, and of the call that is made now, redacted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from timetracer_otel.base.ignore_rules import IgnoreRule, glob, parse_rule
from timetracer_otel.base.plugin_names import mocks
from timetracer_otel.base.redaction_rules import json_path
from timetracer_otel.cassette import Unencodable, pack
from timetracer_otel.config import TraceConfig
from timetracer_otel.match.asked import Asked, asked_by
from timetracer_otel.match.body_content import plain_body
from timetracer_otel.match.canonical import canonical
from timetracer_otel.match.trace_context import OF_THE_TRACE, untraced
from timetracer_otel.redact.forms import form_of
from timetracer_otel.types import CallView, Matcher, header_pairs

__all__ = ["EVERYTHING", "Ignored", "MatchRules", "rules_of", "scope_fits", "without"]

_GONE = "[IGNORED]"
_BOUNDARY = re.compile(r"(\bboundary=).*", re.IGNORECASE)
_NOT_IN_ALL = OF_THE_TRACE | {"content-length"}
"""Headers that the part ``headers`` leaves out, unless one is named (``headers:<name>``). ``content-length`` is the
length of the body with its secrets."""


def rules_of(config: TraceConfig | None) -> MatchRules | None:
    """The rules of a configuration; None where they are the default ones."""
    if config is None or (not config.ignore and config.match_on == _MATCH_ON):
        return None
    return MatchRules(config.match_on, config.ignore)


class Ignored(NamedTuple):
    """The fields of one call that are not compared."""

    query: frozenset[str] = frozenset()
    headers: frozenset[str] = frozenset()
    """Names in lower case."""
    body: tuple[tuple[str, ...], ...] = ()
    """The steps of JSON paths."""

    @classmethod
    def of(cls, rules: Iterable[IgnoreRule]) -> Ignored:
        """The fields that rules name, whatever their scopes."""
        fields = [(rule.kind, rule.what) for rule in rules]
        return cls(
            frozenset(what for kind, what in fields if kind == "query"),
            frozenset(what.lower() for kind, what in fields if kind == "header"),
            tuple(json_path(what) for kind, what in fields if kind == "body"),
        )

    def content(self, value: Any) -> Any:
        """Arguments, or a JSON body, without trace context and the ignored items."""
        return without(untraced(value), self.body)


class MatchRules:
    """The rules of one configuration. Immutable, so safe from any thread.

    Args:
        match_on: Names of parts, and functions that say whether a recorded call answers one that is made now.
        ignore: Rules as `timetracer_otel.base.ignore_rules` has them. Those about bound values of statements are
            left to the form of the calls.
    """

    def __init__(self, match_on: Sequence[str | Matcher], ignore: Sequence[str] = ()) -> None:
        self.matchers: tuple[Matcher, ...] = tuple(part for part in match_on if callable(part))
        parts = {part for part in match_on if isinstance(part, str)}
        self.method: bool = "method" in parts
        self.url: bool = "url" in parts
        self.query: bool = "query" in parts
        self.body: bool = "body" in parts
        self._all_headers = "headers" in parts
        self._headers = sorted(part[8:].strip().lower() for part in parts if part.lower().startswith("headers:"))
        self._rules = [rule for text in ignore if (rule := parse_rule(text)) is not None]
        self._everywhere = Ignored.of(rule for rule in self._rules if not rule.scope)
        self._scoped = any(rule.scope for rule in self._rules)

    def refused_by(self, recorded: CallView, now: CallView) -> str | None:
        """The name of the first custom matcher that refuses the recorded call; None where all accept it."""
        refusing = next((matcher for matcher in self.matchers if not matcher(recorded, now)), None)
        return None if refusing is None else getattr(refusing, "__name__", repr(refusing))

    def ignored_in(self, lib: str, method: str, url: str | None, args: Any = None) -> Ignored:
        """What is not compared of a call of this library, method, target and arguments."""
        if not self._scoped:
            return self._everywhere
        return Ignored.of(
            rule for rule in self._rules if not rule.scope or scope_fits(rule.scope, lib, method, url, args)
        )

    def given(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a hand-written plugin's signature that count."""
        counts = {"method": self.method, "url": self.url, "query": self.query, "body_hash": self.body}
        kept = {name: value for name, value in fields.items() if counts.get(name, True)}
        ignored = self.ignored_in(str(fields.get("lib", "")), str(fields.get("method", "")), fields.get("url"))
        if ignored.query and isinstance(kept.get("query"), dict):
            kept["query"] = {name: value for name, value in kept["query"].items() if name not in ignored.query}
        return kept

    def header_key(self, headers: Mapping[str, str], ignored: Ignored) -> tuple[tuple[str, str | None], ...]:
        """The headers that count: names in lower case, with their values (None for a missing header)."""
        lowered = {name.lower(): value for name, value in headers.items()}
        names: Iterable[str] = self._headers
        if self._all_headers:
            names = sorted({*self._headers, *(lowered.keys() - _NOT_IN_ALL)})
        content_type = lowered.get("content-type")
        if content_type is not None:
            # The boundary is random; `plain_content` replaces it in the body in the same way.
            lowered["content-type"] = _BOUNDARY.sub(r"\1boundary", content_type)
        return tuple((name, lowered.get(name)) for name in names if name not in ignored.headers)

    def asked(self, headers: Mapping[str, str], ignored: Ignored) -> Asked:
        """What a call asks for by its headers. It counts where the URL does."""
        return asked_by(headers, ignored.headers) if self.url else ()

    def query_of(self, query: Mapping[str, Any], ignored: Ignored) -> dict[str, Any]:
        """The parameters of the query that count."""
        return {name: value for name, value in query.items() if self.query and name not in ignored.query}

    def body_key(self, view: CallView, body_hash: str | None, ignored: Ignored) -> str | None:
        """The hash of the body or the arguments without the ignored items; ``body_hash`` where none is ignored."""
        if not self.body:
            return None
        if not ignored.body:
            return body_hash
        if view.args is not None:
            return _hash_of(ignored.content(view.args), _packed) or body_hash
        if view.body is None:
            return body_hash
        try:
            content = json.loads(plain_body(view.body, header_pairs(view.headers)))
        except (ValueError, RecursionError):
            return body_hash
        return _hash_of(ignored.content(content), _json) or body_hash


def scope_fits(scope: str, lib: str, method: str, url: str | None, args: Any = None) -> bool:
    """Whether a call stands in the scope of a rule.

    Args:
        scope: ``redis``, ``redis:GET``, ``redis:GET cache:*``, ``POST /v1/*``, ``POST``, ``/v1/*`` or a URL.
        lib: The call's library.
        method: Its method.
        url: Its target without query.
        args: Its arguments, where it is no HTTP.
    """
    first, _, rest = scope.partition(" ")
    name, colon, wanted = first.partition(":")
    if colon and not wanted.startswith("//"):
        return mocks(lib, [name], []) and _method_fits(f"{wanted} {rest}".strip(), lib, method, url, args)
    if "/" in first or "*" in first:
        return args is None and _target_fits(scope, url)
    if rest or first.isupper():
        # The scope of an HTTP request. The same words may be a command of another library.
        return args is None and first.upper() == method.upper() and (not rest or _target_fits(rest.strip(), url))
    return mocks(lib, [first], [])


def _method_fits(wanted: str, lib: str, method: str, url: str | None, args: Any) -> bool:
    """Whether ``GET``, ``CONFIG GET`` or ``GET cache:*`` is the method, and the pattern behind it fits."""
    upper = method.upper()
    if not wanted or wanted == "*" or wanted.upper() == upper:
        return True
    if not wanted.upper().startswith(f"{upper} "):
        return False
    pattern = wanted[len(upper) :].strip()
    if args is None:
        return _target_fits(pattern, url)
    subject = form_of(lib).subject(args)
    return subject is not None and glob(pattern).fullmatch(subject) is not None


def _target_fits(pattern: str, url: str | None) -> bool:
    if url is None:
        return False
    if "://" not in pattern:
        parts = urlsplit(url)
        url = parts.path if pattern.startswith(("/", "*")) else parts.netloc + parts.path
    return glob(pattern).fullmatch(url) is not None


_MATCH_ON = TraceConfig().match_on
EVERYTHING = MatchRules(_MATCH_ON)
"""The default rules."""


def _hash_of(value: Any, encode: Callable[[Any], bytes]) -> str | None:
    try:
        return hashlib.sha256(encode(value)).hexdigest()
    except (Unencodable, ValueError, RecursionError):
        return None


def _packed(value: Any) -> bytes:
    return pack(canonical(value))


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def without(value: Any, paths: Iterable[tuple[str, ...]]) -> Any:
    """A copy without the items at the paths. In a list, a text takes the place of the item, so that the others
    stay.
    """
    for path in paths:
        value = _cut(value, path)
    return value


def _cut(value: Any, path: tuple[str, ...]) -> Any:
    """The same for one path."""
    if not path:
        return _GONE
    step, rest = path[0], path[1:]
    if isinstance(value, dict):
        hit = [key for key in value if step == "*" or str(key) == step]
        if not rest:
            return {key: item for key, item in value.items() if key not in hit}
        return {key: _cut(item, rest) if key in hit else item for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [
            _cut(item, rest) if step == "*" or step == str(position) else item for position, item in enumerate(value)
        ]
        return type(value)(items) if type(value) in (list, tuple) else items
    return value
