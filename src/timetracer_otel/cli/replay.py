"""``timetracer-otel replay``: run a program and answer its calls from a cassette."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Run a program and answer its calls from a cassette, with no network."
USAGE = "CASSETTE [options] -- CMD [ARG ...]"

_FLAGS = {
    "mock_plugins": "--mock",
    "live_plugins": "--live",
    "record_mode": "--record-mode",
    "replay_timing": "--timing",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli._options import add_setting

    parser.add_argument("cassette", metavar="CASSETTE", help="the file to answer from")
    add_setting(parser, "mock_plugins", "--mock", "NAMES")
    add_setting(parser, "live_plugins", "--live", "NAMES")
    add_setting(parser, "record_mode", "--record-mode", "")
    add_setting(parser, "replay_timing", "--timing", None)


def run(args: argparse.Namespace) -> int:
    """Read the cassette, so that a broken one is refused before anything runs; then become the program.

    A missing one is refused as well, unless the record mode means to make it.
    """
    from timetracer_otel.cli._launch import launch
    from timetracer_otel.cli._options import check_plugin_names, known_plugins, overrides

    given = overrides(args, _FLAGS)
    from timetracer_otel.cassette import read_cassette
    from timetracer_otel.config import TraceConfig
    from timetracer_otel.constants import RecordMode

    mode = RecordMode(given["record_mode"].lower()) if "record_mode" in given else TraceConfig.from_env().record_mode
    path = Path(args.cassette)
    cassette = read_cassette(path) if mode is RecordMode.NONE or path.exists() else None
    libraries = {event.signature.lib for event in cassette.events} if cassette is not None else ()
    check_plugin_names(given, _FLAGS, known_plugins(libraries))
    if cassette is not None and not cassette.complete:
        print(
            f"timetracer-otel: {args.cassette} was not finished: its recorder died. "
            f"Answering from the {len(cassette.events)} calls that stand whole in it.",
            file=sys.stderr,
        )
    return launch(args.program, {**given, "mode": "replay", "cassette_path": str(path.absolute())})
