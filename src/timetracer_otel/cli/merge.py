"""``timetracer-otel merge``: several recordings as one cassette."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError, not_written

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.constants import CompressionType

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Make one cassette of several: of blocks or tests, of a process, or of a request and its process."
USAGE = "CASSETTE|ID CASSETTE|ID ... -o FILE"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.options import add_setting, path_argument

    parser.add_argument(
        "cassettes", metavar="CASSETTE", nargs="+", type=path_argument, help="the recordings, or the ids of them"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=path_argument, required=True, help="where to write the cassette"
    )
    add_setting(parser, "cassette_dir", "--dir", "DIR")


def run(args: argparse.Namespace) -> int:
    """Merge all in memory, and only then write, so that an error leaves nothing half-written."""
    from timetracer_otel.cassette import check_writable, read_cassette, save_cassette
    from timetracer_otel.cassette.stores.parts import is_running
    from timetracer_otel.cli.naming import cassette_path
    from timetracer_otel.cli.terminal import print_lines
    from timetracer_otel.exceptions import CassetteError
    from timetracer_otel.match.merging import merged
    from timetracer_otel.report import request_name

    if len(args.cassettes) < 2:
        raise CommandError("name at least two cassettes, as in: timetracer-otel merge CASSETTE CASSETTE -o FILE")
    paths = [cassette_path(each, args.cassette_dir) for each in args.cassettes]
    for path in paths:
        if is_running(Path(path)):
            raise CommandError(f"{path}: its recording is under way. Wait for its end.")
    done = merged([read_cassette(path) for path in paths])
    compression = _compression(args.output)
    try:
        check_writable(args.output, compression)
        save_cassette(done.cassette, args.output, compression)
    except CassetteError as fault:
        raise CommandError(not_written("-o", args.output, fault)) from fault
    calls = len(done.cassette.events)
    name = request_name(done.cassette)
    lines = [f"{args.output}: {name}, {calls} call{'s' * (calls != 1)} of {len(paths)} recordings"]
    if done.differing:
        lines.append(f"not kept, since it is not the same in all: {', '.join(done.differing)}")
    print_lines(lines)
    return 0


def _compression(path: str) -> CompressionType:
    """As the name of the file says."""
    from timetracer_otel.cassette.stores.places import SUFFIXES
    from timetracer_otel.constants import CompressionType

    ending = [kind for kind, suffix in SUFFIXES.items() if path.endswith(suffix)]
    return ending[0] if ending else CompressionType.NONE
