"""`TraceConfig`: the settings with their values. The only module that reads the environment.

Every setting of the table in `base.settings` has a field here, a name in the environment with the prefix
``TIMETRACER_``, and the same name with the prefix ``OTEL_PYTHON_TIMETRACER_`` (so that
``opentelemetry-instrument`` has a flag for it).
``TIMETRACER_…`` wins where both are set; an empty value counts as not set, as in OpenTelemetry. Settings that the
configuration file of OpenTelemetry declares (`base.declared`) hold where the environment says nothing of them.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from itertools import compress
from operator import is_not, itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import unquote

from timetracer_otel.base.chance import chance
from timetracer_otel.base.declared import declared, declared_mode, is_declared
from timetracer_otel.base.plugin_names import mocks, unknown_live_names, unknown_names
from timetracer_otel.base.settings import (
    CONCERNS,
    ENV_PREFIX,
    OTEL_ENV_PREFIX,
    SETTINGS,
    Setting,
    check,
    names,
    parse,
)
from timetracer_otel.base.urls import is_url
from timetracer_otel.constants import CapturePolicy, CompressionType, RecordMode, TraceMode, Uncaptured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from timetracer_otel.types import Matcher

__all__ = [
    "ATTACH",
    "CONCERNS",
    "CALLS_MADE",
    "DEBUGGER",
    "JOB_SOURCE",
    "RECORD_ACCOUNT",
    "OTEL_ENV_PREFIX",
    "PDB",
    "SETTINGS",
    "SPOOL",
    "Setting",
    "Settings",
    "TraceConfig",
    "Unstated",
    "debugger",
    "environment",
    "environment_speaks",
    "calls_made",
    "excluded_urls",
    "excluding_variable",
    "hash_seed",
    "instrumentation_disabled",
    "is_set",
    "job_source",
    "mode_is_explicit",
    "record_account",
    "replay_is_wanted",
    "resource_attributes",
    "unrecorded_environment",
]


SPOOL = "./cassettes"
"""The folder that is recorded into where the setting ``cassette_dir`` is a URL, or is not set."""

DEBUGGER = "TIMETRACER_DEBUGGER"
"""The variable by which ``timetracer-otel reproduce`` tells the service that it starts who debugs it; no setting."""

PDB = "pdb"
ATTACH = "attach:"
"""The values of that variable: pdb where a request fails, or an editor that attaches to the port behind it."""

CALLS_MADE = "TIMETRACER_VERIFY_CALLS"
"""The variable by which ``timetracer-otel verify --against`` says where the service writes its calls; no setting."""

JOB_SOURCE = "TIMETRACER_VERIFY_JOBS"
"""The variable by which ``timetracer-otel verify`` and the worker that it starts know of each other; no setting."""

RECORD_ACCOUNT = "TIMETRACER_RECORD_ACCOUNT"
"""The variable by which ``timetracer-otel record`` asks the program that it starts to say at its end what it wrote:
``<process>:<seconds>``, the id of its process and when it began; no setting."""


class Unstated(str):
    """The name of a service or an environment that nobody stated to us: the provider's resource may know it better.

    A text of a class of its own, so that it is told apart wherever a configuration is copied.
    """

    __slots__ = ()


class Settings(TypedDict, total=False):
    """The settings that ``record(...)`` and ``replay(...)`` take by name: the fields of `TraceConfig`.

    ``mode`` is not among them: the function's name says it. A wrapper of either function types its own settings with
    ``**settings: Unpack[Settings]``.
    """

    # Which session
    service_name: str
    env: str
    cassette_dir: str | os.PathLike[str]
    cassette_path: str | os.PathLike[str] | None
    compression: CompressionType | Literal["none", "gzip", "zstd"]
    log_level: Literal["debug", "info", "warning", "error", "critical"]
    # Object storage
    ship: str
    ship_s: float
    # What is recorded
    capture: Sequence[str]
    sample_rate: float
    errors_only: bool
    policy: str
    budget: str
    exclude_paths: Sequence[str]
    store_request_body: CapturePolicy | Literal["never", "on_error", "always"]
    store_response_body: CapturePolicy | Literal["never", "on_error", "always"]
    log_records: int
    random_state: bool
    memory_databases: bool
    # Limits
    max_body_kb: int
    max_session_kb: int
    max_events: int
    max_sessions: int
    late_s: float
    journal_s: float
    keep: str
    # Secrets
    redact: Literal["default", "strict", "off"]
    redact_extra: Sequence[str]
    redact_rules: Sequence[str | re.Pattern[str] | Callable[[str], Iterable[str]]]
    # What a replay answers
    mock_plugins: Sequence[str]
    live_plugins: Sequence[str]
    live_hosts: Sequence[str]
    uncaptured: Uncaptured | Literal["refuse", "live", "record", "warn"] | None
    record_mode: RecordMode | Literal["none", "once", "new_episodes", "all", "rewrite"]
    max_age: str
    block_network: bool
    replay_timing: bool
    clock: Literal["real", "recorded"]
    # Matching
    strict_replay: bool
    match_on: Sequence[str | Matcher]
    ignore: Sequence[str]
    ignore_sql_params: Sequence[str]
    variables: Sequence[str]
    allow_repeats: bool
    # The account of a replay
    fail_on_miss: bool
    fail_on_unused: bool
    replay_report: str | os.PathLike[str] | None


@dataclass
class TraceConfig:
    """The settings of a session, checked, with their defaults.

    A setting may be given as its value or as the text that the environment would hold (``mode="replay"``).
    `from_env` reads all settings from the environment, `with_env_overrides` only those that are set there. The first
    seventeen may be given without their names, in the order of timetracer 1.6. ``docs/settings.md`` says what each
    means. Grouped by concern, they are:

    - Which session: `mode`, `service_name`, `env`, `cassette_dir`, `cassette_path`, `compression`, `log_level`
    - Object storage: `ship`, `ship_s`
    - What is recorded: `capture`, `sample_rate`, `errors_only`, `policy`, `budget`, `exclude_paths`,
      `store_request_body`, `store_response_body`, `log_records`, `random_state`, `memory_databases`
    - Limits: `max_body_kb`, `max_session_kb`, `max_events`, `max_sessions`, `late_s`, `journal_s`, `keep`
    - Secrets: `redact`, `redact_extra`, `redact_rules`
    - What a replay answers: `mock_plugins`, `live_plugins`, `live_hosts`, `uncaptured`, `record_mode`,
      `max_age`, `block_network`, `replay_timing`, `clock`
    - Matching: `strict_replay`, `match_on`, `ignore`, `ignore_sql_params`, `variables`, `allow_repeats`
    - The account of a replay: `fail_on_miss`, `fail_on_unused`, `replay_report`

    Raises:
        ConfigurationError: A value is none of the allowed ones; the text names the setting.
    """

    mode: TraceMode = TraceMode.OFF
    service_name: str = Unstated("timetracer-service")
    env: str = Unstated("local")
    cassette_dir: str = SPOOL
    cassette_path: str | None = None
    capture: list[str] = field(default_factory=list[str])
    sample_rate: float = 1.0
    errors_only: bool = False
    exclude_paths: list[str] = field(default_factory=lambda: ["/health", "/metrics", "/docs", "/openapi.json"])
    max_body_kb: int = 16_384
    store_request_body: CapturePolicy = CapturePolicy.ALWAYS
    store_response_body: CapturePolicy = CapturePolicy.ALWAYS
    strict_replay: bool = True
    mock_plugins: list[str] = field(default_factory=list[str])
    live_plugins: list[str] = field(default_factory=list[str])
    log_level: str = "info"
    compression: CompressionType = CompressionType.NONE
    # timetracer 1.6 takes the fields up to here without their names, in this order.
    max_session_kb: int = 65_536
    max_events: int = 10_000
    max_sessions: int = 1_000
    late_s: float = 5.0
    journal_s: float = 0.1
    keep: str = ""
    redact: str = "default"
    redact_extra: list[str] = field(default_factory=list[str])
    ignore_sql_params: list[str] = field(default_factory=list[str])
    live_hosts: list[str] = field(default_factory=list[str])
    uncaptured: Uncaptured | None = None
    """None: what the mode has for its default (see `Uncaptured`)."""
    record_mode: RecordMode = RecordMode.NONE
    match_on: list[Any] = field(default_factory=lambda: ["method", "url", "query", "body"])
    """Names of parts; in code also functions (`timetracer_otel.types.Matcher`)."""
    ignore: list[str] = field(default_factory=list[str])
    variables: list[str] = field(default_factory=lambda: ["on"])
    allow_repeats: bool = False
    fail_on_miss: bool = True
    fail_on_unused: bool = False
    block_network: bool = False
    replay_timing: bool = False
    clock: str = "real"
    log_records: int = 1_000
    random_state: bool = False
    memory_databases: bool = False
    replay_report: str | None = None
    redact_rules: list[Any] = field(default_factory=list[Any])
    """Rules; in code also compiled expressions, and functions that give the secrets in a text."""
    max_age: str = ""
    policy: str = ""
    budget: str = ""
    ship: str = ""
    ship_s: float = 60.0

    def __post_init__(self) -> None:
        own: dict[str, Any] = vars(self)
        # Every session has a configuration of its own, nearly all of whose values are defaults.
        given = [
            setting
            for setting, value, items in compress(
                zip(_SETTINGS_OF_FIELDS, own.values(), _DEFAULT_LISTS, strict=True),
                map(is_not, own.values(), _DEFAULTS),
            )
            if not (type(value) is list and value == items)
        ]
        for setting in given:
            value = own[setting.field]
            if isinstance(value, str) and setting.parse is not str:
                own[setting.field] = parse(setting, value, f"{setting.field}=")
            elif isinstance(value, tuple):
                own[setting.field] = list(own[setting.field])
        if self.cassette_path is not None:
            self.cassette_path = os.fspath(self.cassette_path)
        if self.replay_report is not None:
            self.replay_report = os.fspath(self.replay_report)
        self.cassette_dir = os.fspath(self.cassette_dir)
        for setting in given:
            check(setting.field, own[setting.field], setting.field)

    @classmethod
    def from_env(cls, **given: Any) -> TraceConfig:
        """The configuration that the environment describes, defaults where it says nothing.

        Args:
            given: Fields that win over the environment.

        Raises:
            ConfigurationError: A variable has a value that cannot be used; the text names the variable.
        """
        if cls is TraceConfig and given.keys() == _ONLY_MODE and type(given["mode"]) is TraceMode:
            return _kept_config(given["mode"])
        return cls(**{**_read_environment(), **given})

    def with_env_overrides(self) -> TraceConfig:
        """A copy in which the settings of the environment win over those of this object."""
        return replace(self, **_read_environment(explicit_only=True))

    @property
    def is_record_mode(self) -> bool:
        """True where ``mode`` is ``record``. The name is timetracer 1.6's: the setting ``record_mode`` is another."""
        return self.mode is TraceMode.RECORD

    @property
    def is_replay_mode(self) -> bool:
        """Whether ``mode`` is ``replay``: calls are answered from a cassette."""
        return self.mode is TraceMode.REPLAY

    @property
    def is_enabled(self) -> bool:
        """True unless the mode is off."""
        return self.mode is not TraceMode.OFF

    @property
    def spool_dir(self) -> str:
        """The local folder that recordings are written to: `cassette_dir`, unless that is a URL."""
        return SPOOL if is_url(self.cassette_dir) else self.cassette_dir

    @property
    def ship_url(self) -> str:
        """Where finished cassettes are shipped to; empty where they stay."""
        return self.ship or (self.cassette_dir if is_url(self.cassette_dir) else "")

    @property
    def max_body_bytes(self) -> int:
        """`max_body_kb` in bytes."""
        return self.max_body_kb * 1024

    @property
    def max_session_bytes(self) -> int:
        """`max_session_kb` in bytes."""
        return self.max_session_kb * 1024

    def why_too_long(self, size_bytes: int) -> str:
        """Why something of this size was not kept, as the end of a sentence that begins ``its reply ...``."""
        if size_bytes > self.max_body_bytes:
            return f"of {size_bytes} bytes is longer than TIMETRACER_MAX_BODY_KB={self.max_body_kb}"
        return f"of {size_bytes} bytes had no room left under TIMETRACER_MAX_SESSION_KB={self.max_session_kb}"

    def get_python_version(self) -> str:
        """The running interpreter's version, as ``3.12.1``."""
        return platform.python_version()

    def should_mock_plugin(self, plugin_name: str) -> bool:
        """Whether a replay answers this plugin's calls from the cassette.

        Live wins over mock; an empty mock list means all. Both lists take names of groups and of libraries,
        and so does the argument.
        """
        return mocks(plugin_name, self.mock_plugins, self.live_plugins)

    def captures(self, plugin_name: str) -> bool:
        """Whether a recording records this plugin's calls."""
        return not self.capture or mocks(plugin_name, self.capture, [])

    def should_sample(self) -> bool:
        """Decide by chance, at `sample_rate`, whether one request is recorded."""
        return self.sample_rate >= 1.0 or chance.random() < self.sample_rate

    def should_trace(self, path: str) -> bool:
        """False for request paths that `exclude_paths` leaves out, whatever their query."""
        path = path.split("?", 1)[0]
        # A user who writes "/static/" means all paths below "/static". "/" alone means only that one page.
        bare = (excluded.rstrip("/") or "/" for excluded in self.exclude_paths)
        return not any(path == excluded or path.startswith(excluded + "/") for excluded in bare)

    def warnings(self, known_plugins: frozenset[str]) -> list[str]:
        """One line for each name in the plugin lists that nobody knows, with the nearest known one."""
        lines: list[str] = []
        if not (self.mock_plugins or self.live_plugins or self.capture):
            return lines
        for setting in SETTINGS:
            if setting.field in {"mock_plugins", "live_plugins", "capture"}:
                unknown = unknown_live_names if setting.field == "live_plugins" else unknown_names
                for name, nearest in unknown(getattr(self, setting.field), known_plugins):
                    meant = f"; did you mean {nearest!r}?" if nearest else ""
                    lines.append(f"{setting.env}: nobody knows a plugin or group called {name!r}{meant}")
        return lines


_FIELDS = {entry.name: entry for entry in fields(TraceConfig)}
_SETTINGS_OF_FIELDS = [{setting.field: setting for setting in SETTINGS}[name] for name in _FIELDS]
"""The settings in the order of the fields, which is that of the values in an object."""
_DEFAULTS = [entry.default for entry in _FIELDS.values()]
_DEFAULT_LISTS = [
    entry.default_factory() if entry.default_factory is not MISSING else None for entry in _FIELDS.values()
]
"""The values that need no check: the default, or a list of the same items as the default."""
_LISTS = [name for name, items in zip(_FIELDS, _DEFAULT_LISTS, strict=True) if items is not None]
_lists_of = itemgetter(*_LISTS)

_ONLY_MODE = {"mode"}
_kept: tuple[tuple[dict[Any, Any], dict[str, Any]], dict[TraceMode, TraceConfig]] = ({}, {}), {}
"""The environment, and what was declared, as they were when they were last read, and what they said, by mode."""


def _kept_config(mode: TraceMode) -> TraceConfig:
    """What `TraceConfig.from_env` makes of the environment for a mode.

    Every block asks for it, and to read and check all settings takes longer than to begin a session. So it is done
    once for as long as the environment stays the same.
    """
    global _kept
    # The object's own table, in which Python keeps what it has of the environment: to list it by the object's methods
    # decodes each name and value. Where somebody has put a plain dictionary in its place, that is the table.
    environ: Any = os.environ
    now = dict(getattr(environ, "_data", environ)), declared()
    before, by_mode = _kept
    if now != before:
        by_mode = dict[TraceMode, TraceConfig]()
        _kept = now, by_mode
    kept = by_mode.get(mode)
    if kept is None:
        values = _read_environment()
        values["mode"] = mode
        kept = by_mode[mode] = TraceConfig(**values)
    made = TraceConfig.__new__(TraceConfig)
    own = vars(made)
    own.update(vars(kept))
    # The caller may change its lists.
    own.update(zip(_LISTS, map(list, _lists_of(own)), strict=True))
    return made


def environment(name: str) -> str | None:
    """A variable of the environment, stripped; None where it is missing or empty."""
    value = os.environ.get(name, "").strip()
    return value or None


def is_ci() -> bool:
    """Whether this is a run of continuous integration: GitHub, GitLab, CircleCI and others set ``CI=true``."""
    return (environment("CI") or "").lower() in {"true", "1", "yes", "on"}


def replay_is_wanted() -> bool:
    """Whether the environment, or what is declared, asks for a replay, even where another setting is not allowed."""
    wanted = environment("TIMETRACER_MODE") or environment("OTEL_PYTHON_TIMETRACER_MODE")
    if wanted is None:
        return declared_mode() is TraceMode.REPLAY
    return wanted.lower() == TraceMode.REPLAY.value


def excluding_variable(library: str) -> str | None:
    """The variable that lists the URLs which are left out for a library; None where none is set.

    The same variables, with the same precedence, as OpenTelemetry's own HTTP instrumentations.
    """
    variables = f"OTEL_PYTHON_{library.upper()}_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"
    return next(filter(environment, variables), None)


def excluded_urls(library: str) -> str | None:
    """The regular expressions of ``OTEL_PYTHON_<LIBRARY>_EXCLUDED_URLS`` or ``OTEL_PYTHON_EXCLUDED_URLS``, joined."""
    variable = excluding_variable(library)
    listed = environment(variable) if variable is not None else None
    return "|".join(names(listed)) if listed else None


def instrumentation_disabled(library: str) -> bool:
    """Whether ``OTEL_SDK_DISABLED`` or ``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`` switch a library off."""
    return bool(switching_off(library))


def switching_off(library: str, *, sdk: bool = True) -> list[str]:
    """The variables of OpenTelemetry that switch a library off; ``sdk`` says whether the one for all of it counts."""
    found = ["OTEL_SDK_DISABLED"] if sdk and (environment("OTEL_SDK_DISABLED") or "").lower() == "true" else []
    disabled = names(environment("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS") or "")
    return [*found, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] if library in disabled or "*" in disabled else found


def is_set(name: str) -> bool:
    """Whether the environment has a setting, by its name without prefix."""
    return _variable(name) is not None


def environment_speaks() -> bool:
    """Whether any of our settings is in the environment or declared, or OTEL_TRACES_EXPORTER names our exporter."""
    return is_declared() or _names_exporter() or any(_variable(setting.name) is not None for setting in SETTINGS)


def mode_is_explicit() -> bool:
    """Whether the mode itself is set or declared, and not only our exporter named."""
    return _variable("MODE") is not None or declared_mode() is not None


def child_environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child process: this one's, with settings given by their field's name."""
    names = {setting.field: setting.env for setting in SETTINGS}
    return {**os.environ, **{names[name]: value for name, value in overrides.items()}}


def unrecorded_environment() -> dict[str, str]:
    """The environment for a child process of ours, which is neither instrumented nor recorded."""
    found = {**os.environ, ENV_PREFIX + "MODE": TraceMode.OFF.value, "OTEL_SDK_DISABLED": "true"}
    found.pop(RECORD_ACCOUNT, None)
    kept = [
        folder
        for folder in found.pop("PYTHONPATH", "").split(os.pathsep)
        # ``opentelemetry-instrument`` puts a sitecustomize there.
        if folder and "auto_instrumentation" not in folder
    ]
    return {**found, "PYTHONPATH": os.pathsep.join(kept)} if kept else found


def hash_seed() -> str | None:
    """``PYTHONHASHSEED``, by which this Python hashes; None where it is not set, or Python does not read it."""
    return None if sys.flags.ignore_environment else environment("PYTHONHASHSEED")


def calls_made() -> str | None:
    """The folder for the calls that a service makes while ``timetracer-otel verify --against`` asks it; else None."""
    return environment(CALLS_MADE)


def job_source() -> str | None:
    """Where ``timetracer-otel verify`` gives the jobs to a worker that it has started (``host:port``); else None."""
    return environment(JOB_SOURCE)


def debugger() -> str | None:
    """What ``timetracer-otel reproduce`` wants in the service's process: ``pdb``, or ``attach:PORT``; else None."""
    return environment(DEBUGGER)


def record_account() -> tuple[int, float] | None:
    """The id of the process that ``timetracer-otel record`` started, and when, in seconds since the epoch; else
    None.
    """
    process, _, seconds = (environment(RECORD_ACCOUNT) or "").partition(":")
    try:
        return int(process), float(seconds)
    except ValueError:
        return None


def _variable(name: str) -> tuple[str, str] | None:
    for prefix in (ENV_PREFIX, OTEL_ENV_PREFIX):
        value = environment(prefix + name)
        if value is not None:
            return prefix + name, value
    return None


def _read_environment(explicit_only: bool = False) -> dict[str, Any]:
    values: dict[str, Any] = {} if explicit_only else declared()
    # To ask for each of 80 variables takes longer than to list those that are there, and every session reads them.
    ours = (name for name in os.environ if name.startswith((ENV_PREFIX, OTEL_ENV_PREFIX)))
    there = {name.removeprefix(OTEL_ENV_PREFIX).removeprefix(ENV_PREFIX) for name in ours}
    for setting in [setting for setting in SETTINGS if setting.name in there]:
        found = _variable(setting.name)
        if found is not None:
            named, text = found
            values[setting.field] = parse(setting, text, named)
            check(setting.field, values[setting.field], named)
    if "mode" not in values and _names_exporter():
        values["mode"] = TraceMode.RECORD
    if not explicit_only:
        resource = resource_attributes()
        service = environment("OTEL_SERVICE_NAME") or resource.get("service.name")
        deployment = resource.get("deployment.environment.name") or resource.get("deployment.environment")
        if service:
            values.setdefault("service_name", Unstated(service))
        if deployment:
            values.setdefault("env", Unstated(deployment))
    return values


def _names_exporter() -> bool:
    return "timetracer" in names(environment("OTEL_TRACES_EXPORTER") or "")


def resource_attributes() -> dict[str, str]:
    """What ``OTEL_RESOURCE_ATTRIBUTES`` says, by name."""
    pairs = (item.partition("=") for item in names(environment("OTEL_RESOURCE_ATTRIBUTES") or ""))
    return {key.strip(): unquote(value.strip()) for key, separator, value in pairs if separator}


assert {setting.field for setting in SETTINGS} == {*_FIELDS}
