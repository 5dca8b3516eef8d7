"""How the objects are named: a pack and its index, in folders that engines read as columns (Hive partitions).

Engines take each file of a folder for a table's, but those whose names begin with ``_`` or ``.``: so Hive, Spark,
Trino, Athena and Arrow do. So a pack has such a name.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final
from urllib.parse import quote

__all__ = ["folder_of", "index_of", "named", "pack_of", "service_folder"]

_PACK: Final = ".pack"
_INDEX: Final = ".parquet"
_ASCII: Final = 127


def service_folder(service: str) -> str:
    """The folder of a service.

    What is not ASCII stands as it is: Spark takes ``%C3%BC`` for two characters.
    """
    value = "".join(each if ord(each) > _ASCII else quote(each, safe="") for each in service)
    return f"service={value or '_'}"


def folder_of(service: str, when: datetime) -> str:
    """The folder of what a service recorded in an hour, below the URL."""
    utc = when.astimezone(timezone.utc)
    return f"{service_folder(service)}/date={utc:%Y-%m-%d}/hour={utc:%H}"


def named(folder: str, content: str) -> tuple[str, str]:
    """The names of a pack and of its index, by the name that its content has."""
    return f"{folder}/_{content}{_PACK}", f"{folder}/{content}{_INDEX}"


def pack_of(index: str) -> str:
    """The pack that an index tells of."""
    folder, _, name = index.rpartition("/")
    return f"{folder}/_{name.removesuffix(_INDEX)}{_PACK}"


def index_of(pack: str) -> str:
    """The index of a pack."""
    folder, _, name = pack.rpartition("/")
    return f"{folder}/{name.removeprefix('_').removesuffix(_PACK)}{_INDEX}"
