"""Settings that were declared: as options in the configuration file of OpenTelemetry, or in code.

The file (``OTEL_CONFIG_FILE``) has options for the exporter and for the instrumentor, and code gives the same ones
to their classes. Each option is a setting of the one table, by the name that the table gives it.
`timetracer_otel.config` reads them before the environment, which wins.
"""

# pyright: strict

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from timetracer_otel.base.settings import SETTINGS, value_of
from timetracer_otel.exceptions import ConfigurationError

__all__ = ["declare", "declared", "declared_mode", "is_declared", "withdraw"]

_BY_OPTION = {setting.option: setting for setting in SETTINGS}
_OTHER_NAMES = {
    name: setting.option
    for setting in SETTINGS
    for name in (setting.field, setting.env.lower(), setting.env)
    if name not in _BY_OPTION
}
"""What somebody may write who knows the setting by another of its names."""

_by_place: dict[str, dict[str, Any]] = {}
_wrong: dict[str, ConfigurationError] = {}
"""By place: what is wrong with the options there. Whoever reads the settings is told, as of a bad variable."""


def declare(options: Mapping[str, Any], place: str) -> None:
    """Keep options as settings of this process. An option that is empty, or None, counts as not given.

    Args:
        options: Values by the name of the option.
        place: Where they stand, as errors call it: ``the options of the exporter``. What was declared there before
            is replaced.

    Raises:
        ConfigurationError: There is no such option, its value is not allowed, or another place has another value for
            it. `declared` raises the same error then.
    """
    withdraw(place)
    found: dict[str, Any] = {}
    try:
        # The mode first: what it says counts even where another option is wrong.
        for name in sorted(options, key=lambda name: name != "mode"):
            setting = _BY_OPTION.get(name)
            if setting is None:
                raise _unknown(name, place)
            value = options[name]
            if value is not None and value != "":
                found[setting.field] = value_of(setting, value, f"{place}: {name}")
        for other, values in _by_place.items():
            for field in found.keys() & values.keys():
                if found[field] != values[field]:
                    option = next(setting.option for setting in SETTINGS if setting.field == field)
                    raise ConfigurationError(f"{place}: {option} has another value in {other}. Give it once.")
    except ConfigurationError as error:
        _wrong[place] = error
        raise
    finally:
        _by_place[place] = found


def withdraw(place: str) -> None:
    """Forget what was declared at a place; harmless when repeated."""
    _by_place.pop(place, None)
    _wrong.pop(place, None)


def declared() -> dict[str, Any]:
    """Everything that was declared, by the field of `TraceConfig`.

    Raises:
        ConfigurationError: Something is wrong with it.
    """
    for error in _wrong.values():
        raise error
    return {field: value for values in _by_place.values() for field, value in values.items()}


def declared_mode() -> Any:
    """The mode that was declared, also where another option is wrong; None where none was."""
    return next((values["mode"] for values in _by_place.values() if "mode" in values), None)


def is_declared() -> bool:
    """Whether anything was declared, right or wrong."""
    return any(_by_place.values()) or bool(_wrong)


def _unknown(name: str, place: str) -> ConfigurationError:
    nearest = _OTHER_NAMES.get(name) or next(iter(get_close_matches(name, _BY_OPTION, 1)), None)
    hint = f"Did you mean {nearest!r}?" if nearest else f"The options are {', '.join(sorted(_BY_OPTION))}."
    return ConfigurationError(f"{place}: there is no option {name!r}. {hint}")
