"""``timetracer-otel replay``: run a program and answer its calls from a cassette."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from timetracer_otel.constants import RecordMode
    from timetracer_otel.types import Cassette

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Run a program and answer its calls from a cassette, or each request's from its own, with no network."
USAGE = "CASSETTE|FOLDER|ID [options] -- CMD [ARG ...]"

_FLAGS = {
    "mock_plugins": "--mock",
    "live_plugins": "--live",
    "live_hosts": "--live-hosts",
    "uncaptured": "--uncaptured",
    "record_mode": "--record-mode",
    "variables": "--variables",
    "clock": "--clock",
    "replay_timing": "--timing",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.naming import add_cassette
    from timetracer_otel.cli.options import add_setting

    add_cassette(parser, "the file to answer from, or a folder")
    add_setting(parser, "mock_plugins", "--mock", "NAMES")
    add_setting(parser, "live_plugins", "--live", "NAMES")
    add_setting(parser, "live_hosts", "--live-hosts", "HOSTS")
    add_setting(parser, "uncaptured", "--uncaptured", "")
    add_setting(parser, "record_mode", "--record-mode", "")
    add_setting(parser, "variables", "--variables", "KINDS")
    add_setting(parser, "clock", "--clock", "")
    add_setting(parser, "replay_timing", "--timing", None)


def run(args: argparse.Namespace) -> int:
    """Read the cassettes, then let the program take the place of this process.

    So a broken cassette is refused before anything runs. A missing one is refused as well, unless the record mode
    says to record it.
    """
    from timetracer_otel.cli.launch import launch
    from timetracer_otel.cli.naming import cassette_path
    from timetracer_otel.cli.options import check_clock, check_plugin_names, known_plugins, overrides

    given = overrides(args, _FLAGS)
    check_clock(given, _FLAGS["clock"])
    path = cassette_path(args.cassette, args.cassette_dir)
    cassettes = _of_folder(path, given) if Path(path).is_dir() else _whole(path, given)
    recorded = {event.signature.lib for cassette in cassettes for event in cassette.events}
    check_plugin_names(given, _FLAGS, known_plugins(recorded))
    return launch(args.program, {**given, "mode": "replay", "cassette_path": str(Path(path).absolute())})


def _whole(path: str, given: Mapping[str, str]) -> list[Cassette]:
    from timetracer_otel.cassette import check_writable, read_cassette
    from timetracer_otel.constants import RecordMode

    record_mode = _record_mode(given)
    if record_mode is not RecordMode.NONE:
        check_writable(path)
        if not Path(path).exists():
            return []
    cassette = read_cassette(path)
    if not cassette.complete:
        print(
            f"timetracer-otel: {path} was not finished: its recorder died. "
            f"Answering from the {len(cassette.events)} calls that stand whole in it.",
            file=sys.stderr,
        )
    return [cassette]


def _record_mode(given: Mapping[str, str]) -> RecordMode:
    from timetracer_otel.config import TraceConfig
    from timetracer_otel.constants import RecordMode

    return RecordMode(given["record_mode"].lower()) if "record_mode" in given else TraceConfig.from_env().record_mode


def _of_folder(path: str, given: Mapping[str, str]) -> list[Cassette]:
    """The cassettes of a folder; none if no list of plugins was given, since only those are checked against them."""
    from timetracer_otel.constants import RecordMode
    from timetracer_otel.exceptions import CassetteError
    from timetracer_otel.match.folder_index import FolderIndex

    record_mode = _record_mode(given)
    if record_mode is not RecordMode.NONE:
        said = "--record-mode" if "record_mode" in given else "TIMETRACER_RECORD_MODE"
        raise CommandError(
            f"{said}: {record_mode.value!r} is not allowed with a folder. Allowed: none. "
            "Name one cassette to add to it."
        )
    index = FolderIndex(path)
    # The lists may name a plugin that is not installed here, but stands in a recording.
    named = any(field in given for field in ("mock_plugins", "live_plugins"))
    cassettes = []
    for entry in index.entries if named else ():
        with suppress(CassetteError):  # the process that replays the folder reports it
            cassettes.append(index.read(entry))
    return cassettes
