"""``timetracer-otel compact``: small packs of object storage to larger ones, and what is beyond bounds away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError, one_line

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.storage.compacting import Compacted

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Merge the small packs of each hour, and remove what is older or larger than object storage is to keep."
USAGE = "URL [--older-than AGE] [--max-size SIZE] [--pack-mb N] [--settled SECONDS] [--json]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.options import path_argument

    parser.add_argument("url", metavar="URL", type=path_argument, help="of object storage that packs were shipped to")
    parser.add_argument("--older-than", metavar="AGE", help="remove packs whose cassettes are all older: 30d, 12h")
    parser.add_argument("--max-size", metavar="SIZE", help="remove the oldest packs beyond a size: 100GB")
    parser.add_argument("--pack-mb", metavar="N", type=int, default=64, help="how large a pack becomes (default: 64)")
    parser.add_argument(
        "--settled",
        metavar="SECONDS",
        type=float,
        default=3600.0,
        help="leave packs alone that were written since (default: 3600)",
    )
    parser.add_argument("--json", action="store_true", help="print what was done as JSON, for other programs")


def run(args: argparse.Namespace) -> int:
    """Compact, and say what was done."""
    from timetracer_otel.base.settings import KeptBounds
    from timetracer_otel.base.urls import is_url
    from timetracer_otel.storage import require

    if not is_url(args.url):
        raise CommandError(f"URL: {args.url} is no URL. prune deletes cassettes of a folder.")
    if args.pack_mb < 1:
        raise CommandError(f"--pack-mb: {args.pack_mb} is not allowed. Allowed: 1 and more.")
    bounds = KeptBounds(
        age_s=_bound("--older-than", args.older_than, "age_s", "an age (m, h, d), as in 30d"),
        size_bytes=_bound("--max-size", args.max_size, "size_bytes", "a size (KB, MB, GB, TB), as in 100GB"),
    )
    require()
    from timetracer_otel.storage.compacting import compact
    from timetracer_otel.storage.objects import Objects

    done = compact(Objects(args.url), bounds, pack_bytes=args.pack_mb << 20, settled_s=args.settled)
    _tell(done, args)
    return 0


def _bound(flag: str, text: str | None, kind: str, allowed: str) -> int | None:
    from timetracer_otel.base.settings import kept_bounds

    if text is None:
        return None
    try:
        found = getattr(kept_bounds(text), kind)
    except ValueError:
        found = None
    if found is None or "," in text:
        raise CommandError(f"{flag}: {text!r} is not allowed. Allowed: {allowed}.")
    return int(found)


def _tell(done: Compacted, args: argparse.Namespace) -> None:
    if args.json:
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(done)))
        return
    from timetracer_otel.report import format_size

    gone = (
        f"{done.removed_cassettes} cassette{'s' * (done.removed_cassettes != 1)} ({format_size(done.removed_bytes)})"
    )
    print(
        one_line(
            f"Merged {done.merged} pack{'s' * (done.merged != 1)} into {done.made}, "
            f"removed {done.removed} with {gone}; "
            f"{done.left_packs} stay{'s' * (done.left_packs == 1)} in {args.url} ({format_size(done.left_bytes)})."
        )
    )
