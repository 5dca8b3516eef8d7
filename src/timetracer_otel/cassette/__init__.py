"""Cassettes as bytes: values, errors, files and folders of files. Knows no OpenTelemetry and no plugin.

The format is specified in docs/cassette-format.md. Whatever a file holds, reading it raises nothing but
`timetracer_otel.exceptions.CassetteError`, and runs nothing.
"""

from __future__ import annotations

from timetracer_otel.cassette._codec import pack, unpack
from timetracer_otel.cassette._compress import check_compression
from timetracer_otel.cassette._errors import rebuild_error, record_error
from timetracer_otel.cassette._naming import cassette_name
from timetracer_otel.cassette._owners import Owner
from timetracer_otel.cassette._parts import PartWriter
from timetracer_otel.cassette._places import cassette_path, check_writable
from timetracer_otel.cassette._reader import read_cassette
from timetracer_otel.cassette._scan import Unencodable
from timetracer_otel.cassette._store import CassetteStore, StoredCassette, write_cassette
from timetracer_otel.cassette._writer import AppendWriter, save_cassette

__all__ = [
    "AppendWriter",
    "CassetteStore",
    "Owner",
    "PartWriter",
    "StoredCassette",
    "Unencodable",
    "cassette_name",
    "cassette_path",
    "check_compression",
    "check_writable",
    "pack",
    "read_cassette",
    "rebuild_error",
    "record_error",
    "save_cassette",
    "unpack",
    "write_cassette",
]
