"""Cassettes of object storage for commands: which ones, and copies of them in a folder of this machine."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.cli.bad_input import CommandError, ambiguous

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from timetracer_otel.cassette import StoredCassette
    from timetracer_otel.match.catalog import Catalog
    from timetracer_otel.storage.finding import Question, RemoteCatalog
    from timetracer_otel.storage.rows import Row

__all__ = ["copied", "copied_folder", "local_paths", "question_of", "remote_catalog"]


def question_of(args: argparse.Namespace) -> Question:
    """What the options of `add_filters` ask of an index. They are asked of its rows once more, and as a whole.

    Raises:
        CommandError: An option has a value that is not allowed.
    """
    from timetracer_otel.cli.choosing import moment, seconds
    from timetracer_otel.storage import require

    require()
    from timetracer_otel.storage.finding import Question

    return Question(
        service=args.service,
        since=None if args.since is None else moment("--since", args.since),
        until=None if args.until is None else moment("--until", args.until),
        trace=args.trace or "",
        slower_ms=None if args.slower is None else seconds("--slower", args.slower) * 1000,
    )


def remote_catalog(url: str, question: Question) -> RemoteCatalog:
    """The rows below a URL that a question asks for."""
    from timetracer_otel.storage.finding import RemoteCatalog

    return RemoteCatalog(url, question)


def copied(url: str) -> str:
    """The path of a copy of the cassette that a URL names, or of a folder with copies of all below it.

    Raises:
        CommandError: No cassette has the id behind the ``#``, or several have it.
        CassetteError: The object storage cannot be reached.
    """
    from timetracer_otel.storage import require

    require()
    from timetracer_otel.storage.finding import download, one, split

    base, _, named, _ = split(url)
    if not named:
        return copied_folder(url)
    _, rows = one(url)
    if not rows:
        raise CommandError(f"{named}: no cassette in {base} whose session or trace has this id.")
    if len(rows) > 1:
        raise CommandError(ambiguous(named, [row.stored(base) for row in rows]))
    return str(download(base, rows, _folder())[0][1])


def copied_folder(url: str, only: str | None = None) -> str:
    """A folder with copies of the cassettes below a URL.

    Args:
        url: Of object storage.
        only: Of which requests; what processes recorded outside any request is copied in any case.

    Raises:
        CassetteError: The object storage cannot be reached, or holds nothing.
    """
    from fnmatch import fnmatch

    from timetracer_otel.exceptions import CassetteNotFoundError
    from timetracer_otel.storage import require

    require()
    from timetracer_otel.storage.finding import Question, download, rows_of
    from timetracer_otel.storage.objects import Objects

    def wanted(row: Row) -> bool:
        name = f"{row.method} {row.route}"
        return only is None or not row.method or fnmatch(name, only) or fnmatch(row.route, only)

    rows: Sequence[Row] = [row for row in rows_of(Objects(url), Question(), whole=True) if wanted(row)]
    if not rows:
        raise CassetteNotFoundError(url)
    folder = _folder() / "all"
    download(url, rows, folder)
    return str(folder)


def local_paths(catalog: Catalog | RemoteCatalog, rows: Sequence[StoredCassette]) -> dict[str, str]:
    """Where the cassettes of some rows can be read, by their paths: those of object storage as copies.

    Raises:
        CassetteError: The object storage cannot be reached.
    """
    from timetracer_otel.match.catalog import Catalog

    if isinstance(catalog, Catalog):
        return {row.path: row.path for row in rows}
    copies = catalog.copied(rows, _folder() / "some")
    return {name: str(path) for name, path in copies.items()}


@lru_cache(maxsize=1)
def _folder() -> Path:
    """It is deleted when this process ends. Where a program takes its place (``replay``), the copies stay."""
    folder = Path(tempfile.mkdtemp(prefix="timetracer-otel-copies-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
