"""Cassettes named on the command line: by a path, or by the id of a session or a trace, or its beginning."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from timetracer_otel.base.urls import is_url
from timetracer_otel.cli.bad_input import CommandError, ambiguous

if TYPE_CHECKING:
    import argparse

    from timetracer_otel.match.catalog import Catalog
    from timetracer_otel.storage.finding import RemoteCatalog

__all__ = ["add_cassette", "add_folder", "cassette_path", "catalog_of", "folder_path", "local_folder"]


def add_cassette(parser: argparse.ArgumentParser, meaning: str, *, name: str = "cassette") -> None:
    """Declare the argument that names a cassette, and the folder in which an id is looked for.

    Args:
        parser: The parser of the command.
        meaning: What the command does with it.
        name: The name of the argument. ``args`` has the text by it.
    """
    from timetracer_otel.cli.options import add_setting, path_argument

    parser.add_argument(name, metavar=name.upper(), type=path_argument, help=f"{meaning}, or the id of one")
    add_setting(parser, "cassette_dir", "--dir", "DIR")


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Declare the argument that names a folder of cassettes, which ``--dir`` names as well."""
    from timetracer_otel.cli.options import add_setting, path_argument

    parser.add_argument(
        "folder", metavar="FOLDER", nargs="?", type=path_argument, help="the folder that the cassettes are in"
    )
    add_setting(parser, "cassette_dir", "--dir", "DIR")


def catalog_of(args: argparse.Namespace) -> Catalog | RemoteCatalog:
    """What the folder or URL holds that the arguments of `add_folder` or the settings name.

    Of object storage, no rows are asked for that the options leave out.

    Raises:
        CommandError: It is no folder.
        CassetteError: The object storage cannot be reached.
        ConfigurationError: A variable of the environment has a value that cannot be used.
    """
    if args.folder and args.cassette_dir:
        raise CommandError("--dir: FOLDER names the folder already. Leave one of the two out.")
    named = "FOLDER" if args.folder else "--dir" if args.cassette_dir else "TIMETRACER_DIR"
    where = args.folder or folder_path(args.cassette_dir)
    if is_url(where):
        from timetracer_otel.cli.remote import question_of, remote_catalog

        return remote_catalog(where, question_of(args))
    folder = Path(where)
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise CommandError(f"{named}: {folder} {what}. Name the folder that the cassettes are in.")
    return _catalog(folder)


def cassette_path(text: str, directory: str | None) -> str:
    """The path of the cassette that a text names.

    A path wins: where a file or folder of that name is there, the text means that one. Of a cassette in object
    storage it is the path of a copy.

    Args:
        text: A path, an id, or a URL.
        directory: The folder or the URL in which an id is looked for; None for that of the settings.

    Raises:
        CommandError: No cassette there has the id, or several have it.
        ConfigurationError: A variable of the environment has a value that cannot be used.
    """
    if is_url(text):
        from timetracer_otel.cli.remote import copied

        return copied(text)
    if os.path.lexists(text):
        return text
    from timetracer_otel.match.catalog import is_id

    if not is_id(text):
        return text  # What reads it says that there is no such file.
    folder = folder_path(directory)
    if is_url(folder):
        from timetracer_otel.cli.remote import copied

        return copied(f"{folder.rstrip('/')}#{text}")
    found = _catalog(folder).with_id(text) if Path(folder).is_dir() else []
    if not found:
        raise CommandError(
            f"{text}: there is no such file, and no cassette in {folder} whose session or trace has this id. "
            "Say where it is with --dir."
        )
    if len(found) > 1:
        raise CommandError(ambiguous(text, found))
    return found[0].path


def local_folder(text: str, only: str | None = None) -> str:
    """The folder that a text names; of object storage that of copies, which are deleted when this process ends.

    Args:
        text: A path, or a URL.
        only: Of which requests, like ``GET /users/*``; all where it is None.

    Raises:
        CassetteError: The object storage cannot be reached.
    """
    if not is_url(text):
        return text
    from timetracer_otel.cli.remote import copied_folder

    return copied_folder(text, only)


def folder_path(directory: str | None) -> str:
    """The folder of cassettes: the one that is named, or that of the settings.

    Raises:
        ConfigurationError: A variable of the environment has a value that cannot be used.
    """
    if directory:
        return directory
    from timetracer_otel.config import TraceConfig

    return TraceConfig.from_env().cassette_dir


def _catalog(folder: str | Path) -> Catalog:
    from timetracer_otel.cli.progress import progress
    from timetracer_otel.match.catalog import Catalog

    with progress("looking at the cassettes") as looked:
        return Catalog(folder, looked)
