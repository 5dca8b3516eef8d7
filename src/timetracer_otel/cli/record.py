"""``timetracer-otel record``: run a program and record its calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Run a program and record its calls: one cassette per request, message or job."
USAGE = "[options] -- CMD [ARG ...]"

_FLAGS = {
    "cassette_dir": "--dir",
    "service_name": "--service",
    "env": "--env",
    "capture": "--capture",
    "sample_rate": "--sample-rate",
    "errors_only": "--errors-only",
    "policy": "--policy",
    "budget": "--budget",
    "exclude_paths": "--exclude-paths",
    "max_body_kb": "--max-body-kb",
    "compression": "--compression",
    "redact": "--redact",
    "redact_extra": "--redact-extra",
    "redact_rules": "--redact-rules",
}
_METAVARS = {
    "cassette_dir": "DIR",
    "sample_rate": "SHARE",
    "errors_only": None,
    "policy": "POLICY",
    "budget": "BUDGET",
    "exclude_paths": "PATHS",
    "max_body_kb": "KIB",
    "service_name": "NAME",
    "env": "NAME",
    "compression": "",
    "redact": "",
    "redact_rules": "RULES",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from timetracer_otel.cli.options import add_setting

    for field, flag in _FLAGS.items():
        add_setting(parser, field, flag, _METAVARS.get(field, "NAMES"))


def run(args: argparse.Namespace) -> int:
    """Check everything, then let the program take the place of this process."""
    from timetracer_otel.base.real_time import time_s
    from timetracer_otel.cassette import check_compression
    from timetracer_otel.cli.launch import launch
    from timetracer_otel.cli.options import check_plugin_names, known_plugins, overrides
    from timetracer_otel.config import RECORD_ACCOUNT, TraceConfig
    from timetracer_otel.constants import CompressionType
    from timetracer_otel.storage import require

    given = overrides(args, _FLAGS)
    check_plugin_names(given, _FLAGS, known_plugins())
    named = "--dir" if "cassette_dir" in given else "TIMETRACER_DIR"
    config = TraceConfig(cassette_dir=given.get("cassette_dir", TraceConfig.from_env().cassette_dir))
    _check_writable(config.spool_dir, named)
    shipped_to = TraceConfig.from_env().ship or config.ship_url
    if shipped_to:
        require()
    compression = given.get("compression", TraceConfig.from_env().compression.value)
    check_compression(CompressionType(compression.lower()))
    if (
        "cassette_dir" in given and not config.ship_url
    ):  # relative to where the command was given, wherever the program goes
        given["cassette_dir"] = str(Path(given["cassette_dir"]).absolute())
    if TraceConfig.from_env().log_level.lower() not in ("debug", "info"):
        return launch(args.program, {**given, "mode": "record"})
    folder = Path(config.spool_dir).absolute()
    shipped = f", and shipping from there to {shipped_to}" if shipped_to else ""
    # On POSIX systems the program takes the place of this process, whose id it keeps.
    account = {RECORD_ACCOUNT: f"{os.getpid()}:{time_s()}"}
    return launch(args.program, {**given, "mode": "record"}, account, f"recording into {folder}{shipped}")


def _check_writable(folder: str, named: str) -> None:
    """Refuse a folder that cannot be written to. No folder is made: the program may record nothing."""
    path = Path(folder).absolute()
    existing = next(each for each in (path, *path.parents) if each.exists() or each.is_symlink())
    if not existing.is_dir():
        raise CommandError(f"{named}: {existing} is no folder. Name another folder for the cassettes.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise CommandError(f"{named}: cannot write to {existing}. Name another folder, or change its permissions.")
