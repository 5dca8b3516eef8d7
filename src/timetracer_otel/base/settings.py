"""The one table of settings: the name of each in the environment, its allowed values, and its meaning.

`timetracer_otel.config` reads the environment by this table. The documentation of the settings is made from it.
"""

# pyright: strict

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from timetracer_otel.base.hosts import ALLOWED as _HOSTS_TEXT
from timetracer_otel.base.hosts import Hosts
from timetracer_otel.base.ignore_rules import parse_rule
from timetracer_otel.base.recording_policy import BUDGET_TEXT, POLICY_TEXT, budgets_of, policy_of
from timetracer_otel.base.redaction_rules import parse_redaction_rule
from timetracer_otel.base.urls import is_url
from timetracer_otel.constants import CapturePolicy, CompressionType, RecordMode, TraceMode, Uncaptured
from timetracer_otel.exceptions import ConfigurationError

__all__ = [
    "CONCERNS",
    "ENV_PREFIX",
    "OTEL_ENV_PREFIX",
    "SETTINGS",
    "VARIABLE_KINDS",
    "KeptBounds",
    "Setting",
    "check",
    "kept_bounds",
    "names",
    "parse",
    "value_of",
    "variable_kinds",
    "wrong",
]

ENV_PREFIX = "TIMETRACER_"
OTEL_ENV_PREFIX = "OTEL_PYTHON_TIMETRACER_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table: a field of `TraceConfig`, its name in the environment, and its meaning."""

    field: str
    name: str
    """Name in the environment, without prefix."""
    parse: Callable[[str], Any]
    """Text to value; raises ValueError where the text is none of ``allowed``."""
    allowed: str
    meaning: str
    unit: str = ""

    @property
    def env(self) -> str:
        """The variable's name as the documentation gives it."""
        return ENV_PREFIX + self.name

    @property
    def option(self) -> str:
        """The name as an option: of the exporter in a configuration file, and of the instrumentor in code."""
        return self.name.lower()

    @property
    def is_list(self) -> bool:
        """Whether its value is a list."""
        return self.parse in (names, _rules, _variables)


def _choice(kind: type[Enum]) -> tuple[Callable[[str], Any], str]:
    return (lambda text: kind(text.lower())), ", ".join(str(member.value) for member in kind)


def _flag(text: str) -> bool:
    lowered = text.lower()
    if lowered in {"true", "1", "yes", "on"}:
        return True
    if lowered in {"false", "0", "no", "off"}:
        return False
    raise ValueError(text)


def names(text: str) -> list[str]:
    """The items of a list that is separated by commas, without empty ones."""
    return [item.strip() for item in text.split(",") if item.strip()]


@dataclass(frozen=True, slots=True)
class KeptBounds:
    """The setting ``keep``: how old, how many and how large the cassettes of a folder may be. None: no bound."""

    age_s: float | None = None
    number: int | None = None
    size_bytes: int | None = None

    def __bool__(self) -> bool:
        return self != _NO_BOUNDS


_NO_BOUNDS = KeptBounds()
_BOUND = re.compile(r"(\d+)\s*(m|h|d|kb|mb|gb|tb)?", re.IGNORECASE)
_AGES_S = {"m": 60, "h": 3600, "d": 86_400}
_ACTIONS = ("warn", "fail", "record")
_SIZES = {"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}


def kept_bounds(text: str) -> KeptBounds:
    """The bounds that a text names: ``7d, 1000, 2GB``.

    Raises:
        ValueError: The text is of another form, or names a bound of one kind twice.
    """
    found: dict[str, int] = {}
    for item in names(text):
        match = _BOUND.fullmatch(item)
        if match is None:
            raise ValueError(text)
        number, unit = int(match[1]), (match[2] or "").lower()
        kind = "age_s" if unit in _AGES_S else "size_bytes" if unit in _SIZES else "number"
        if kind in found:
            raise ValueError(text)
        found[kind] = number * _AGES_S.get(unit, _SIZES.get(unit, 1))
    return KeptBounds(**found)


def _keep(text: str) -> str:
    kept_bounds(text)
    return text


@dataclass(frozen=True, slots=True)
class MaxAge:
    """How old a recording may be that a replay answers from, and what is done about an older one."""

    age_s: int
    action: str
    """``warn``, ``fail`` or ``record``."""


def max_age_of(text: str) -> MaxAge | None:
    """What a text says: ``30d``, ``12h:fail``, ``30d:record``; None for the empty text, by which any age will do.

    Raises:
        ValueError: The text is of another form.
    """
    if not text.strip():
        return None
    age, _, action = (part.strip().lower() for part in text.partition(":"))
    match = _BOUND.fullmatch(age)
    if match is None or (match[2] or "") not in _AGES_S or (action or "warn") not in _ACTIONS:
        raise ValueError(text)
    return MaxAge(int(match[1]) * _AGES_S[match[2]], action or "warn")


def _max_age(text: str) -> str:
    max_age_of(text)
    return text


def _policy(text: str) -> str:
    policy_of(text)
    return text


def _budget(text: str) -> str:
    budgets_of(text)
    return text


def _url(text: str) -> str:
    if text and not is_url(text):
        raise ValueError(text)
    return text


def _rules(text: str) -> list[str]:
    return [item.strip() for item in text.split(";") if item.strip()]


def _redact(text: str) -> str:
    if text.lower() in {"default", "strict", "off"}:
        return text.lower()
    raise ValueError(text)


def _clock(text: str) -> str:
    if text.lower() in {"real", "recorded"}:
        return text.lower()
    raise ValueError(text)


def _level(text: str) -> str:
    if text.lower() in _LEVELS:
        return text.lower()
    raise ValueError(text)


VARIABLE_KINDS = ("secret", "uuid", "ulid", "random", "snowflake", "time")
"""The kinds of values that a replay may bind."""
_VARIABLES_TEXT = f"on, off, or kinds separated by commas: {', '.join(VARIABLE_KINDS)}"


def variable_kinds(value: Sequence[str]) -> tuple[str, ...]:
    """The kinds that a value of the setting ``variables`` stands for.

    Raises:
        ValueError: It is none of those allowed.
    """
    given = [item.lower() for item in value]
    if given == ["on"]:
        return VARIABLE_KINDS
    if given in (["off"], []):
        return ()
    if not set(given) <= set(VARIABLE_KINDS):
        raise ValueError(", ".join(value))
    return tuple(kind for kind in VARIABLE_KINDS if kind in given)


def _variables(text: str) -> list[str]:
    listed = names(text)
    variable_kinds(listed)
    return listed


_REDACTED_TEXT = (
    "rules separated by semicolons, each a name, `body:` with a JSON path, `sql:table.column`, a library and "
    "a pattern of its keys, or `pattern:` with a regular expression"
)
_PARTS = ("method", "url", "query", "body", "headers")
_PARTS_TEXT = "method, url, query, body, headers, headers:<name>, separated by commas"
_IGNORED_TEXT = (
    "query:<name>, header:<name>, body:<JSON path from $>, each alone or behind a scope "
    "(POST /v1/*: body:$.ts), and sql:<table>.<bound value>, separated by commas"
)
_LEVELS = ("debug", "info", "warning", "error", "critical")
_MODE, _MODES = _choice(TraceMode)
_POLICY, _POLICIES = _choice(CapturePolicy)
_COMPRESSION, _COMPRESSIONS = _choice(CompressionType)
_RECORD_MODE, _RECORD_MODES = _choice(RecordMode)
_UNCAPTURED, _UNCAPTURED_VALUES = _choice(Uncaptured)
_YES_NO = "true, false"
_MAX_AGE_TEXT = "an age (m, h, d), and behind a colon warn, fail or record: 30d, 12h:fail"
_KEEP_TEXT = "an age (m, h, d), a number, a size (KB, MB, GB, TB), separated by commas: 7d,1000,2GB"
_LIST = "names separated by commas"

SETTINGS: tuple[Setting, ...] = (
    Setting("mode", "MODE", _MODE, _MODES, "What to do with the calls that are seen."),
    Setting(
        "service_name",
        "SERVICE",
        str,
        "any text",
        "Name of the service in the cassette; falls back to service.name of the tracer provider's resource, then to "
        "OTEL_SERVICE_NAME, then to service.name in OTEL_RESOURCE_ATTRIBUTES.",
    ),
    Setting(
        "env",
        "ENV",
        str,
        "any text",
        "Name of the environment; falls back to deployment.environment.name of the tracer provider's resource, then "
        "to that in OTEL_RESOURCE_ATTRIBUTES.",
    ),
    Setting(
        "cassette_dir",
        "DIR",
        str,
        "a folder, or a URL of object storage",
        "Where recordings are stored; made when it is needed. Of a URL: what is recorded goes to ./cassettes first, "
        "and is shipped from there.",
    ),
    Setting(
        "ship",
        "SHIP",
        _url,
        "a URL of object storage: s3://bucket/recordings",
        "Where the finished cassettes of the folder go, by a process beside the one that records (needs the extra "
        "`store`). Empty: they stay in the folder.",
    ),
    Setting("ship_s", "SHIP_S", float, "more than 0", "How often finished cassettes are shipped.", "s"),
    Setting(
        "cassette_path",
        "CASSETTE",
        str,
        "a file or a folder",
        "The cassette that a replay answers from; of a folder, the one recorded for each request that comes in.",
    ),
    Setting("capture", "CAPTURE", names, _LIST, "Groups or libraries to record; empty: every one that is enabled."),
    Setting("sample_rate", "SAMPLE_RATE", float, "0.0 to 1.0", "Share of requests that is recorded."),
    Setting(
        "errors_only", "ERRORS_ONLY", _flag, _YES_NO, "Keep the cassettes of requests that failed, and no other."
    ),
    Setting(
        "policy",
        "POLICY",
        _policy,
        POLICY_TEXT,
        "Which recordings of requests are kept: of failed ones, of those that took longer, and a share of the rest. "
        "Empty: all of them.",
    ),
    Setting(
        "budget",
        "BUDGET",
        _budget,
        BUDGET_TEXT,
        "How many recordings of each route a process keeps in that time, spread over it. Failed requests, slow ones "
        "and the rest have a budget each. Empty: no limit.",
    ),
    Setting(
        "exclude_paths",
        "EXCLUDE_PATHS",
        names,
        "paths separated by commas",
        "Request paths that are not recorded, with all below them.",
    ),
    Setting(
        "max_body_kb",
        "MAX_BODY_KB",
        int,
        "0 or more",
        "Longest body that is kept; the event of a longer one cannot be replayed, and says so.",
        "KiB",
    ),
    Setting(
        "max_session_kb",
        "MAX_SESSION_KB",
        int,
        "0 or more",
        "What all bodies, replies and rows of one recording may take; beyond, none is kept and no further call is "
        "recorded, both counted.",
        "KiB",
    ),
    Setting(
        "max_events",
        "MAX_EVENTS",
        int,
        "1 or more",
        "Calls that one recording keeps; further ones are made without us, and counted.",
    ),
    Setting(
        "max_sessions",
        "MAX_SESSIONS",
        int,
        "1 or more",
        "Requests at once that are being recorded or wait for being written; further ones are not recorded, and "
        "counted.",
    ),
    Setting(
        "late_s",
        "LATE_S",
        float,
        "0 or more",
        "How long the cassette of a request that has ended waits for calls that are still under way.",
        "s",
    ),
    Setting(
        "journal_s",
        "JOURNAL_S",
        float,
        "0 or more",
        "What a killed process loses of requests under way, at most: those that run longer have their calls on disk, "
        "in a .part file that is brought up to date this often. 0: no such files.",
        "s",
    ),
    Setting(
        "keep",
        "KEEP",
        _keep,
        _KEEP_TEXT,
        "What a process that records lets its folder keep; beyond, the oldest cassettes are deleted. Empty: "
        "everything.",
    ),
    Setting("store_request_body", "STORE_REQ_BODY", _POLICY, _POLICIES, "When request bodies are kept."),
    Setting("store_response_body", "STORE_RES_BODY", _POLICY, _POLICIES, "When response bodies are kept."),
    Setting(
        "random_state",
        "RANDOM_STATE",
        _flag,
        _YES_NO,
        "true: the state that Python's `random` had when the recording began stands in its header (2.5 KB).",
    ),
    Setting(
        "log_records",
        "LOG_RECORDS",
        int,
        "0 or more",
        "The most log records of the app that a recording of a request, a job or a block keeps; further ones "
        "are counted. 0: none.",
    ),
    Setting(
        "memory_databases",
        "MEMORY_DATABASES",
        _flag,
        _YES_NO,
        "true: a database in memory that an app opens by a driver itself is recorded, and answered in a replay. "
        "Otherwise it is the process's own, as a dictionary is, and its statements run in a replay, too.",
    ),
    Setting(
        "strict_replay",
        "STRICT_REPLAY",
        _flag,
        _YES_NO,
        "false: where no recorded body equals the request's, a JSON body with equal content counts as well.",
    ),
    Setting(
        "mock_plugins",
        "MOCK_PLUGINS",
        names,
        _LIST,
        "Groups (http, db, nosql, redis, rpc, ws, messaging) or libraries that a replay answers; empty: all.",
    ),
    Setting(
        "live_plugins",
        "LIVE_PLUGINS",
        names,
        _LIST,
        "Groups or libraries that make real calls during a replay; wins over the former. Also libraries without a "
        "plugin, by their package.",
    ),
    Setting(
        "live_hosts",
        "LIVE_HOSTS",
        names,
        _HOSTS_TEXT,
        "Where real calls may go during a replay, of libraries with and without a plugin: `localhost`, "
        "`*.internal:5432`, `10.0.0.0/8`, `/var/run/docker.sock`.",
    ),
    Setting(
        "uncaptured",
        "UNCAPTURED",
        _UNCAPTURED,
        _UNCAPTURED_VALUES,
        "What is done about calls that no plugin captures. In a replay: refuse (the default), or live. In a "
        "recording: warn (the default) says at the end which libraries it has no answers of, record says nothing.",
    ),
    Setting("log_level", "LOG_LEVEL", _level, ", ".join(_LEVELS), "Level of the logger timetracer_otel."),
    Setting("compression", "COMPRESSION", _COMPRESSION, _COMPRESSIONS, "How cassette files are compressed."),
    Setting(
        "redact",
        "REDACT",
        _redact,
        "default, strict, off",
        "Whether secrets are replaced before anything is stored or matched; strict: e-mail addresses, card numbers, "
        "IBANs and telephone numbers as well.",
    ),
    Setting(
        "redact_extra",
        "REDACT_EXTRA",
        names,
        _LIST,
        "Names of headers, query parameters and fields that are secret besides the default ones.",
    ),
    Setting(
        "redact_rules",
        "REDACT_RULES",
        _rules,
        _REDACTED_TEXT,
        "What else is secret: by name, by place (`body:$.user.ssn`, `sql:users.email`) or by form "
        "(`pattern:EMP-[0-9]{6}`).",
    ),
    Setting(
        "ignore_sql_params",
        "IGNORE_SQL_PARAMS",
        _rules,
        "rules separated by semicolons, each `names` or `statement pattern: names`",
        "Bound values that change from run to run and that a replay does not compare, by name or position from 1; "
        "`*` in a pattern stands for anything.",
    ),
    Setting(
        "record_mode",
        "RECORD_MODE",
        _RECORD_MODE,
        _RECORD_MODES,
        "What a replay does with calls that the cassette does not hold. none: error; once: record where the "
        "file is missing; new_episodes: make them and add them; all: record anew; "
        "rewrite: the same, but the file stays as it is where the run fails.",
    ),
    Setting(
        "max_age",
        "MAX_AGE",
        _max_age,
        _MAX_AGE_TEXT,
        "How old a cassette may be. An older one is told of (warn, the default), is an error (fail), or is recorded "
        "anew (record; a CI only warns).",
    ),
    Setting(
        "match_on",
        "MATCH_ON",
        names,
        _PARTS_TEXT,
        "What a call must have in common with a recorded one, besides the library.",
    ),
    Setting(
        "ignore",
        "IGNORE",
        names,
        _IGNORED_TEXT,
        "Fields that change from run to run and that a replay does not compare, of all calls or of those in the "
        "scope before it (`POST /v1/*: body:$.ts`, `custom:book body:$[1]`); `*` in a JSON path stands for any key "
        "or index.",
    ),
    Setting(
        "variables",
        "VARIABLES",
        _variables,
        _VARIABLES_TEXT,
        "Kinds of values that an app makes anew in each run, and that a replay may bind to the recorded ones: on "
        "(the default) for all, off for none, or some.",
    ),
    Setting(
        "allow_repeats",
        "ALLOW_REPEATS",
        _flag,
        _YES_NO,
        "true: a call that was answered as often as it was recorded gets the last answer again.",
    ),
    Setting(
        "fail_on_miss",
        "FAIL_ON_MISS",
        _flag,
        _YES_NO,
        "true: `replay(...)` raises at its end where a call had no answer and the app swallowed that.",
    ),
    Setting(
        "fail_on_unused",
        "FAIL_ON_UNUSED",
        _flag,
        _YES_NO,
        "true: `replay(...)` raises at its end where a recorded call was not made.",
    ),
    Setting(
        "block_network",
        "BLOCK_NETWORK",
        _flag,
        _YES_NO,
        "true: refuse every connection that no plugin makes for the session, also while recording, and also of "
        "threads that have no session. Without it, a replay refuses those of code in the session.",
    ),
    Setting(
        "replay_timing",
        "REPLAY_TIMING",
        _flag,
        _YES_NO,
        "true: a replayed answer and each of its chunks take as long as they did when recorded.",
    ),
    Setting(
        "clock",
        "CLOCK",
        _clock,
        "real, recorded",
        "The time that an app has in a replay. recorded: its clock begins when the recording began, and goes on from "
        "there (needs the extra `clock`).",
    ),
    Setting(
        "replay_report",
        "REPLAY_REPORT",
        str,
        "a file",
        "Where the replay of a folder appends a line of JSON for each request that came in: its cassette, and what "
        "its calls did.",
    ),
)
"""Every setting."""

CONCERNS: dict[str, tuple[str, ...]] = {
    "Which session": ("mode", "service_name", "env", "cassette_dir", "cassette_path", "compression", "log_level"),
    "Object storage": ("ship", "ship_s"),
    "What is recorded": (
        *("capture", "sample_rate", "errors_only", "policy", "budget", "exclude_paths"),
        *("store_request_body", "store_response_body", "log_records", "random_state", "memory_databases"),
    ),
    "Limits": ("max_body_kb", "max_session_kb", "max_events", "max_sessions", "late_s", "journal_s", "keep"),
    "Secrets": ("redact", "redact_extra", "redact_rules"),
    "What a replay answers": (
        *(
            "mock_plugins",
            "live_plugins",
            "live_hosts",
            "uncaptured",
            "record_mode",
            "max_age",
            "block_network",
            "replay_timing",
            "clock",
        ),
    ),
    "Matching": ("strict_replay", "match_on", "ignore", "ignore_sql_params", "variables", "allow_repeats"),
    "The account of a replay": ("fail_on_miss", "fail_on_unused", "replay_report"),
}
"""The fields of the settings, grouped by concern, in the order of the documentation."""


def wrong(name: str, value: object, allowed: str) -> ConfigurationError:
    """The error for a value that is not allowed."""
    return ConfigurationError(f"{name}: {value!r} is not allowed. Allowed: {allowed}.")


def parse(setting: Setting, text: str, named: str) -> Any:
    """A setting's value from text.

    Raises:
        ConfigurationError: The text is no allowed value. The error calls the setting ``named``.
    """
    try:
        return setting.parse(text)
    except ValueError:
        raise wrong(named.rstrip("="), text, setting.allowed) from None


_SCALARS: tuple[type, ...] = (str, int, float, os.PathLike)


def value_of(setting: Setting, value: Any, named: str) -> Any:
    """A setting's value from what a configuration file or code gives for it: text, a number, true, a list.

    Raises:
        ConfigurationError: The value is not allowed. The error calls the setting ``named``.
    """
    plain: object = value
    found: Any
    if setting.is_list and isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        found = [item if callable(item) or isinstance(item, re.Pattern) else str(item) for item in items]
    elif isinstance(plain, bool):
        # YAML reads `mode: off` and `variables: on` as false and true.
        found = _first_allowed(setting, ("true", "on") if plain else ("false", "off"), plain, named)
    elif isinstance(plain, Enum):
        found = parse(setting, str(plain.value), named)
    elif isinstance(plain, _SCALARS):
        found = parse(setting, str(plain), named)
    else:
        raise wrong(named, plain, setting.allowed)
    check(setting.field, found, named)
    return found


def _first_allowed(setting: Setting, texts: Sequence[str], value: Any, named: str) -> Any:
    for text in texts:
        try:
            return setting.parse(text)
        except ValueError:
            continue
    raise wrong(named, value, setting.allowed)


def check(field: str, value: Any, named: str) -> None:
    """Check a value beyond its type: its range, or its form.

    Raises:
        ConfigurationError: The value is not allowed.
    """
    if field == "sample_rate" and not 0.0 <= value <= 1.0:
        raise wrong(named, value, "0.0 to 1.0")
    if field in {"max_body_kb", "max_session_kb", "late_s", "journal_s", "log_records"} and not 0 <= value < math.inf:
        raise wrong(named, value, "0 or more")
    if field in {"max_events", "max_sessions"} and value < 1:
        raise wrong(named, value, "1 or more")
    if field == "ship_s" and not 0 < value < math.inf:
        raise wrong(named, value, "more than 0")
    if field == "ship" and value and not is_url(value):
        raise wrong(named, value, "a URL of object storage: s3://bucket/recordings")
    if field == "keep":
        try:
            kept_bounds(value)
        except ValueError:
            raise wrong(named, value, _KEEP_TEXT) from None
    if field == "policy":
        try:
            policy_of(value)
        except ValueError:
            raise wrong(named, value, POLICY_TEXT) from None
    if field == "budget":
        try:
            budgets_of(value)
        except ValueError:
            raise wrong(named, value, BUDGET_TEXT) from None
    if field == "max_age":
        try:
            max_age_of(value)
        except ValueError:
            raise wrong(named, value, _MAX_AGE_TEXT) from None
    if field == "ignore_sql_params":
        for rule in value:
            if not rule.rpartition(":")[2].replace(",", " ").split():
                raise wrong(named, rule, "`names` or `statement pattern: names`")
    if field == "live_hosts":
        for pattern in value:
            try:
                Hosts([pattern])
            except ValueError:
                raise wrong(named, pattern, _HOSTS_TEXT) from None
    if field == "variables":
        try:
            variable_kinds(value)
        except ValueError:
            raise wrong(named, value, _VARIABLES_TEXT) from None
    if field == "match_on":
        for part in value:
            if not (callable(part) or _is_part(part)):
                raise wrong(named, part, _PARTS_TEXT)
    if field == "redact_rules":
        for rule in value:
            if isinstance(rule, str) and parse_redaction_rule(rule) is None:
                raise wrong(named, rule, _REDACTED_TEXT)
    if field == "ignore":
        for ignored in value:
            if parse_rule(ignored) is None:
                raise wrong(named, ignored, _IGNORED_TEXT)


def _is_part(part: str) -> bool:
    return part in _PARTS or (part.lower().startswith("headers:") and bool(part[8:].strip()))
