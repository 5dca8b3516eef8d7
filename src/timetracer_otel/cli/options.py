"""Options of commands that stand for settings. Their texts and checks come from the table `config.SETTINGS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timetracer_otel.cli.bad_input import CommandError
from timetracer_otel.config import SETTINGS, TraceConfig

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Mapping

    from timetracer_otel.config import Setting

__all__ = [
    "PLUGIN_LISTS",
    "add_setting",
    "check_clock",
    "check_plugin_names",
    "known_plugins",
    "overrides",
    "parsed_option",
    "path_argument",
]

PLUGIN_LISTS = ("capture", "mock_plugins", "live_plugins")
"""Settings that hold names of plugins and groups."""

_BY_FIELD = {setting.field: setting for setting in SETTINGS}


def add_setting(parser: argparse.ArgumentParser, field: str, flag: str, metavar: str | None) -> None:
    """Add an option that sets a setting for the program that is run.

    Args:
        parser: The parser of the command.
        field: The setting's field in `TraceConfig`.
        flag: The name of the option.
        metavar: The name of the option's value in the help. An empty text shows the allowed values there. None is
            for an option without a value, which sets ``true``.
    """
    setting = _BY_FIELD[field]
    text = f"{setting.meaning} ({setting.env})".replace("%", "%%")
    if metavar is None:
        parser.add_argument(flag, dest=field, action="store_const", const="true", help=text)
    else:
        parser.add_argument(flag, dest=field, metavar=metavar or setting.allowed.replace(", ", "|"), help=text)


def overrides(args: argparse.Namespace, flags: Mapping[str, str]) -> dict[str, str]:
    """The values of the settings that were given as options, checked, by field.

    Args:
        args: The parsed arguments.
        flags: The name of the option for each field.

    Raises:
        CommandError: A value is not allowed.
        ConfigurationError: A variable of the environment has a value that cannot be used.
    """
    given = {field: value for field in flags if (value := getattr(args, field)) is not None}
    TraceConfig.from_env()
    for field, value in given.items():
        _check(_BY_FIELD[field], flags[field], value)
    return given


def check_clock(given: Mapping[str, str], flag: str) -> bool:
    """Whether the program gets the clock of the recording. What that needs is looked for before the program starts.

    Raises:
        CommandError: time-machine is missing.
    """
    from importlib.util import find_spec

    value = given.get("clock", TraceConfig.from_env().clock)
    if value.lower() != "recorded":
        return False
    if find_spec("time_machine") is None:
        named = flag if "clock" in given else _BY_FIELD["clock"].env
        raise CommandError(f'{named}: recorded needs time-machine. Install: pip install "timetracer-otel[clock]"')
    return True


def path_argument(text: str) -> str:
    """Check the name of a file or folder; for ``type=`` of an argument.

    Raises:
        argparse.ArgumentTypeError: The name is empty, because a variable of the shell is not set or a pattern found
            nothing. As a path it would mean the current folder.
    """
    if not text.strip():
        from argparse import ArgumentTypeError

        raise ArgumentTypeError("an empty name (is a variable not set?); name a file or folder")
    return text


def parsed_option(field: str, flag: str, value: str) -> Any:
    """The value of an option that is written like a setting, parsed and checked.

    Raises:
        CommandError: The value is not allowed.
    """
    _check(_BY_FIELD[field], flag, value)
    return _BY_FIELD[field].parse(value)


def _check(setting: Setting, flag: str, value: str) -> None:
    from timetracer_otel.exceptions import ConfigurationError

    wrong = CommandError(f"{flag}: {value!r} is not allowed. Allowed: {setting.allowed}.")
    try:
        parsed = setting.parse(value)
    except ValueError:
        raise wrong from None
    try:
        TraceConfig(**{setting.field: parsed})
    except ConfigurationError:  # the value has the right type, and is out of range
        raise wrong from None
    if not value.strip():
        raise CommandError(
            f"{flag}: an empty value counts as not set; leave the option out, or give {setting.allowed}."
        )


def known_plugins(more: Collection[str] = ()) -> frozenset[str]:
    """The names that lists of plugins may hold: groups, plugins that are installed, and ``more``."""
    from timetracer_otel.base.plugin_names import known_names

    return known_names() | frozenset(more)


def check_plugin_names(given: Mapping[str, str], flags: Mapping[str, str], known: frozenset[str]) -> None:
    """Refuse unknown names of plugins in options and in the environment.

    Raises:
        CommandError: A name is unknown; the text has the nearest known one.
    """
    from timetracer_otel.base.plugin_names import unknown_live_names, unknown_names

    for field in PLUGIN_LISTS:
        if field in given:
            names = _BY_FIELD[field].parse(given[field])
            unknown = unknown_live_names if field == "live_plugins" else unknown_names
            for name, nearest in unknown(names, known):
                meant = f"did you mean {nearest!r}?" if nearest else f"Known: {', '.join(sorted(known))}."
                raise CommandError(f"{flags[field]}: nobody knows a plugin or group called {name!r}; {meant}")
    warnings = TraceConfig.from_env().warnings(known)
    unset = [line for line in warnings if not any(line.startswith(_BY_FIELD[field].env + ":") for field in given)]
    if unset:
        raise CommandError(f"{unset[0]} Known: {', '.join(sorted(known))}.")
