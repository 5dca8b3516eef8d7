"""``timetracer-otel prune``: delete the oldest cassettes of a folder, or those that the options ask for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError, one_line
from timetracer_otel.cli.choosing import FILTERS

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.base.settings import KeptBounds
    from timetracer_otel.cassette.stores.pruning import Pruning

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Delete cassettes of a folder: beyond an age, a number or a size, or those that the options ask for."
USAGE = f"[FOLDER] [--keep BOUNDS] {FILTERS} [--dry-run] [--json]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from timetracer_otel.cli.choosing import add_filters
    from timetracer_otel.cli.naming import add_folder

    add_folder(parser)
    parser.add_argument(
        "--keep",
        metavar="BOUNDS",
        help="what stays: the newest ones up to an age, a number and a size, as in 7d,1000,2GB",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be deleted")
    parser.add_argument("--json", action="store_true", help="print what was deleted as JSON, for other programs")
    add_filters(parser)


def run(args: argparse.Namespace) -> int:
    """Delete, and say what. The exit code is 2 where a file could not be deleted."""
    from timetracer_otel.base.real_time import time_s
    from timetracer_otel.cassette.stores.pruning import pruning
    from timetracer_otel.cli.choosing import chooses, chosen
    from timetracer_otel.cli.naming import catalog_of
    from timetracer_otel.match.catalog import Catalog

    bounds = _bounds(args)
    if not bounds and not chooses(args):
        raise CommandError(
            "say what stays, as in --keep 7d,1000,2GB, or which cassettes to delete, as in --until 30d. "
            "See: timetracer-otel prune --help"
        )
    catalog = catalog_of(args)
    if not isinstance(catalog, Catalog):
        raise CommandError(f"{catalog.directory}: prune deletes cassettes of a folder. For object storage: compact")
    found = pruning(catalog.rows, chosen(catalog.rows, args), bounds, time_s())
    failed = [] if args.dry_run else _delete(catalog.directory, found)
    gone = [row for row in found.beyond if row.path not in failed]
    if args.json:
        from timetracer_otel.cli.list import print_json

        print_json(gone)
    else:
        from timetracer_otel.cli.terminal import print_lines

        print_lines([row.path for row in gone])
        stay = len(catalog.rows) - len(gone)
        print_lines([_summary(len(gone), sum(row.size_bytes for row in gone), stay, found, dry_run=args.dry_run)])
    return 2 if failed else 0


def _bounds(args: argparse.Namespace) -> KeptBounds:
    from timetracer_otel.base.settings import kept_bounds
    from timetracer_otel.cli.options import parsed_option

    # What TIMETRACER_KEEP says is for the process that records. Here nothing goes that was not named.
    return kept_bounds(parsed_option("keep", "--keep", args.keep) if args.keep is not None else "")


def _delete(directory: str, found: Pruning) -> list[str]:
    """Delete what is beyond the bounds, and give the paths of what could not be deleted, which is told on stderr."""
    from timetracer_otel.cassette import CassetteStore
    from timetracer_otel.exceptions import CassetteError

    store = CassetteStore(directory)
    failed = []
    for row in found.beyond:
        try:
            store.delete(row.path)
        except CassetteError as fault:
            failed.append(row.path)
            print(f"timetracer-otel: {one_line(str(fault))}", file=sys.stderr)
    return failed


def _summary(gone: int, size_bytes: int, stay: int, found: Pruning, *, dry_run: bool) -> str:
    from timetracer_otel.report import format_size

    what = f"{gone} cassette{'s' * (gone != 1)} ({format_size(size_bytes)})"
    done = f"Would delete {what}; {stay} would stay" if dry_run else f"Deleted {what}; {stay} stay{'s' * (stay == 1)}"
    needed = len(found.needed)
    of_process = "the recording of a process" if needed == 1 else f"{needed} recordings of processes"
    return f"{done}{f', among them {of_process} that others are replayed with' if needed else ''}."
