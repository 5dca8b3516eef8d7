"""Cassettes as bytes: values, errors, files and stores. Knows no OpenTelemetry and no plugin.

The format is specified in docs/cassette-format.md. Whatever a file holds, reading it raises nothing but
`timetracer_otel.exceptions.CassetteError`, and runs nothing.
"""

from __future__ import annotations

from timetracer_otel.cassette.codec import check, pack, pack_native, unpack
from timetracer_otel.cassette.compression import check_compression
from timetracer_otel.cassette.reader import cassette_from_bytes, open_cassette, read_cassette
from timetracer_otel.cassette.recorded_errors import rebuild_error, record_error
from timetracer_otel.cassette.scan import Unencodable
from timetracer_otel.cassette.stores.base import Store, StoredEntry
from timetracer_otel.cassette.stores.files import CassetteStore, StoredCassette, write_cassette
from timetracer_otel.cassette.stores.keeping import keep_within
from timetracer_otel.cassette.stores.owners import Owner
from timetracer_otel.cassette.stores.parts import PartWriter
from timetracer_otel.cassette.stores.places import cassette_name, cassette_path, check_writable
from timetracer_otel.cassette.whole_files import why_unwritten
from timetracer_otel.cassette.writer import AppendWriter, cassette_to_bytes, save_cassette
from timetracer_otel.cassette.written_events import WrittenEvents

__all__ = [
    "AppendWriter",
    "CassetteStore",
    "Owner",
    "PartWriter",
    "Store",
    "StoredCassette",
    "StoredEntry",
    "Unencodable",
    "WrittenEvents",
    "cassette_from_bytes",
    "cassette_name",
    "cassette_path",
    "cassette_to_bytes",
    "check",
    "check_compression",
    "check_writable",
    "keep_within",
    "pack",
    "pack_native",
    "open_cassette",
    "read_cassette",
    "rebuild_error",
    "record_error",
    "save_cassette",
    "unpack",
    "why_unwritten",
    "write_cassette",
]
