"""``timetracer-otel ship``: finished cassettes of a folder to object storage."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError, one_line
from timetracer_otel.exceptions import CassetteError

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.storage.objects import Objects
    from timetracer_otel.storage.shipping import Shipped
    from timetracer_otel.storage.spool import Spool

__all__ = ["HELP", "USAGE", "add_arguments", "run"]

HELP = "Pack the finished cassettes of a folder, put the packs into object storage, and remove them here."
USAGE = "SPOOL URL [--watch SECONDS] [--pack-mb N] [--json]"

_STEP_S = 0.2
_BUSY_S = 8.0
"""How long the end of a program waits for another one's pass."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from timetracer_otel.cli.options import path_argument

    parser.add_argument("spool", metavar="SPOOL", type=path_argument, help="the folder that a service records into")
    parser.add_argument(
        "url", metavar="URL", type=path_argument, help="where to: s3://bucket/recordings and the like"
    )
    parser.add_argument(
        "--watch", metavar="SECONDS", type=float, help="go on, with a pass so often, until it is ended by a signal"
    )
    parser.add_argument("--pack-mb", metavar="N", type=int, default=64, help="how large a pack becomes (default: 64)")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON, for other programs")
    parser.add_argument(
        "--with-parent",
        metavar="NAME",
        help="for a program that starts it beside itself: end after a last pass, when standard input ends, not by "
        "Ctrl-C; and write into SPOOL/.shipper.json, under this name, how far it is",
    )


def run(args: argparse.Namespace) -> int:
    """Ship. The exit code is 2 where something stays, such as where the storage cannot be reached."""
    from timetracer_otel.base.urls import is_url
    from timetracer_otel.storage import require

    if not is_url(args.url):
        raise CommandError(f"URL: {args.url} is no URL. Name one, as in s3://bucket/recordings or file:///mnt/store.")
    if args.pack_mb < 1:
        raise CommandError(f"--pack-mb: {args.pack_mb} is not allowed. Allowed: 1 and more.")
    if args.watch is not None and args.watch <= 0:
        raise CommandError(f"--watch: {args.watch} is not allowed. Allowed: more than 0, in seconds.")
    require()
    from timetracer_otel.storage.objects import Objects
    from timetracer_otel.storage.spool import Spool

    spool = Spool(args.spool)
    if not spool.folder.is_dir() and args.watch is None:
        raise CommandError(f"SPOOL: {spool.folder} is no folder. Name the folder that a service records into.")
    objects = Objects(args.url)
    ends = _Ends(by_input=args.with_parent is not None)
    with ExitStack() as stack:
        if _looks_after(args) and not stack.enter_context(spool.watched()):
            return 0  # Another one looks after this folder.
        total = _passes(spool, objects, ends, args)
    _tell(total, args)
    return 2 if total.fault or total.left else 0


def _passes(spool: Spool, objects: Objects, ends: _Ends, args: argparse.Namespace) -> Shipped:
    from timetracer_otel.storage.shipping import Shipped, ship

    total = Shipped()
    while True:
        is_last = args.watch is None or ends.seen
        done = ship(spool, objects, pack_bytes=args.pack_mb << 20)
        until = time.monotonic() + _BUSY_S
        while is_last and done.busy and args.with_parent is not None and time.monotonic() < until:
            time.sleep(_STEP_S)
            done = ship(spool, objects, pack_bytes=args.pack_mb << 20)
        if done.busy and args.watch is None:
            raise CommandError(f"SPOOL: another process ships {spool.folder} just now. Leave it to that one.")
        total.add(done)
        if _looks_after(args):
            with suppress(CassetteError):  # A disk that is full is told of by what stays.
                spool.tell(str(args.with_parent), total.document())
        if is_last or args.watch is None:
            return total
        if done.fault:
            print(f"timetracer-otel: {one_line(done.fault)}", file=sys.stderr, flush=True)
        ends.wait(args.watch)


def _looks_after(args: argparse.Namespace) -> bool:
    """Whether it is the one of a recording process that goes on."""
    return args.with_parent is not None and args.watch is not None


class _Ends:
    """Whether a shipper that watches is to end: by SIGTERM or Ctrl-C, or with its standard input."""

    def __init__(self, *, by_input: bool) -> None:
        self._event = threading.Event()
        import signal

        signal.signal(signal.SIGTERM, self._signalled)
        signal.signal(signal.SIGINT, signal.SIG_IGN if by_input else self._signalled)
        if by_input:
            threading.Thread(target=self._read, daemon=True).start()

    @property
    def seen(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        # In steps: a signal's handler runs only between two of them.
        until = time.monotonic() + seconds
        while not self.seen and time.monotonic() < until:
            self._event.wait(min(_STEP_S, max(0.0, until - time.monotonic())))

    def _signalled(self, *_: object) -> None:
        self._event.set()

    def _read(self) -> None:
        while sys.stdin.buffer.read(1 << 10):
            pass
        self._event.set()


def _tell(total: Shipped, args: argparse.Namespace) -> None:
    if args.json:
        import json

        print(json.dumps(total.document()))
        return
    from timetracer_otel.report import format_size

    cassettes, packs = total.cassettes, total.packs
    sizes = f"{format_size(total.spool_bytes)} as {format_size(total.pack_bytes)}"
    print(
        one_line(
            f"Shipped {cassettes} cassette{'s' * (cassettes != 1)} in {packs} pack{'s' * (packs != 1)} ({sizes}) to "
            f"{args.url}."
        )
    )
    for reason, number in sorted(total.left.items()):
        print(one_line(f"{number} stay{'s' * (number == 1)} in {args.spool}: {reason}."), file=sys.stderr)
    if total.fault:
        print(f"timetracer-otel: {one_line(total.fault)}", file=sys.stderr)
