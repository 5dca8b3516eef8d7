"""The settings of VCR.py, as those of a replay of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from timetracer_otel.exceptions import ConfigurationError
from timetracer_otel.types import CallView

__all__ = ["settings_of"]

_MATCH_ON: Final = ("method", "scheme", "host", "port", "path", "query")
"""What VCR.py compares where nothing else is said."""
_WHOLE_URL: Final = frozenset({"scheme", "host", "port", "path"})
_AS_THEY_ARE: Final = {"method": "method", "query": "query", "body": "body", "raw_body": "body", "headers": "headers"}
_PORTS: Final = {"http": 80, "https": 443}
_RECORD_MODES: Final = {
    "none": "none",
    "once": "once",
    "new_episodes": "new_episodes",
    "all": "all",
    "rewrite": "all",
}
_LOCAL: Final = ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 # nosec B104 - names to compare with
_WITHOUT_EFFECT: Final = frozenset(
    {
        "serializer",
        "cassette_library_dir",
        "decode_compressed_response",
        "record_on_exception",
        "inject_cassette",
        "drop_unused_requests",
        "custom_patches",
        "skip_patchers",
        "filter_nested_post_data_parameters",
        "allowed_hosts",
    }
)
"""What says how VCR.py itself works, or was read before."""


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of `timetracer_otel.config.TraceConfig` that mean what a ``vcr_config`` means.

    Args:
        config: The arguments of ``VCR.use_cassette``.

    Raises:
        ConfigurationError: It has a function, or a name that is not known here. Nothing of it is passed over.
    """
    left = {name: value for name, value in config.items() if name not in _WITHOUT_EFFECT and value not in (None, ())}
    settings = _matching(left.pop("match_on", _MATCH_ON))
    ignored = [f"query:{name}" for name in _names(left.pop("filter_query_parameters", ()))]
    fields = _names(left.pop("filter_post_data_parameters", ()))
    ignored += [f"body:$.{name}" for name in fields]
    if ignored:
        settings["ignore"] = ignored
    secret = [
        *_names(left.pop("filter_headers", ())),
        *(rule.partition(":")[2].removeprefix("$.") for rule in ignored),
    ]
    if secret:
        settings["redact_extra"] = secret
    live = [*left.pop("ignore_hosts", ()), *(_LOCAL if left.pop("ignore_localhost", False) else ())]
    if live:
        settings["live_hosts"] = live
    if left.pop("allow_playback_repeats", False):
        settings["allow_repeats"] = True
    mode = left.pop("record_mode", None)
    if mode is not None:
        settings["record_mode"] = _record_mode(mode)
    if left:
        raise ConfigurationError(
            f"vcr_config: {', '.join(sorted(left))} cannot be read. Functions that change requests or answers have "
            "their place in the settings redact_rules, ignore and match_on: see docs/moving-from-vcr.md."
        )
    return settings


def _record_mode(mode: Any) -> str:
    # vcrpy has an enumeration too, whose values are these texts.
    name = str(getattr(mode, "value", mode))
    if name not in _RECORD_MODES:
        raise ConfigurationError(f"record_mode: {name!r} is not allowed. Allowed: {', '.join(_RECORD_MODES)}.")
    return _RECORD_MODES[name]


def _matching(parts: Sequence[str]) -> dict[str, Any]:
    known = {*_AS_THEY_ARE, *_WHOLE_URL, "uri", "url"}
    unknown = [part for part in parts if part not in known]
    if unknown:
        raise ConfigurationError(
            f"vcr_config: match_on has {', '.join(map(str, unknown))}, which VCR.py does not bring. Give the "
            "function in the setting match_on: see docs/moving-from-vcr.md."
        )
    match_on: list[str | Callable[[CallView, CallView], bool]] = [
        _AS_THEY_ARE[part] for part in dict.fromkeys(parts) if part in _AS_THEY_ARE
    ]
    if {"uri", "url"} & set(parts):
        match_on = [*dict.fromkeys([*match_on, "url", "query"])]
    elif set(parts) >= _WHOLE_URL:
        match_on.append("url")
    elif _WHOLE_URL & set(parts):
        match_on.append(_same_parts(sorted(_WHOLE_URL & set(parts))))
    return {"match_on": match_on}


def _same_parts(names: Sequence[str]) -> Callable[[CallView, CallView], bool]:
    def vcr_match_on(recorded: CallView, now: CallView) -> bool:
        before, after = _parts(recorded.url or ""), _parts(now.url or "")
        return all(before[name] == after[name] for name in names)

    return vcr_match_on


def _parts(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "scheme": parts.scheme,
        "host": parts.hostname,
        "port": parts.port or _PORTS.get(parts.scheme),
        "path": parts.path,
    }


def _names(filters: Iterable[Any]) -> list[str]:
    """The names of a filter's items, each of which is a name or a name with a replacement."""
    return [item if isinstance(item, str) else str(item[0]) for item in filters]
