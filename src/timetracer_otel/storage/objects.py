"""Object storage by fsspec: the few things that we do there, each within a time, and tried several times.

Which driver serves a URL is the user's choice, as are its credentials: ``s3fs``, ``gcsfs`` and ``adlfs`` read the
environment and the files that their users know. Where obstore is installed and the scheme's own driver is not,
obstore serves ``s3``, ``gs`` and ``az``.
"""

from __future__ import annotations

import base64
import binascii
import contextvars
import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

from timetracer_otel.exceptions import CassetteError, ConfigurationError
from timetracer_otel.storage import require

__all__ = ["Objects", "StorageTimeoutError", "StoredObject"]

_ATTEMPTS: Final = 6
_FIRST_WAIT_S: Final = 0.2
"""Doubled for each attempt, with chance: six seconds in all. The drivers have retries of their own beneath."""
_FAST: Final = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
"""The schemes that obstore serves, and the driver that fsspec knows for each."""
_ANSWER_S: Final = 60.0
"""How long a request may take, beside what it moves. Not every driver has a limit of its own."""
_SLOWEST_BYTES_S: Final = 100_000
"""What is moved may take so much longer."""
_INDEX_BYTES: Final = 10_000_000
"""How large an index may be whose size is not known."""


class StorageTimeoutError(TimeoutError):
    """A request has no answer within its time. It is not tried again at once: the next one would wait as long."""


_NOT_AGAIN: Final = (
    StorageTimeoutError,
    FileNotFoundError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    ImportError,
)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its name below the URL, its size, and when it was last written, in seconds since the epoch."""

    name: str
    size_bytes: int
    changed_s: float | None


class Objects:
    """The objects below one URL. Safe from any thread; not to be used in a forked child of who made it.

    Args:
        url: ``s3://bucket/prefix`` and the like.

    Raises:
        ConfigurationError: The extra ``store``, or the driver of this scheme, is missing, or nobody knows the scheme.
    """

    def __init__(self, url: str) -> None:
        require()
        self.url: str = url.rstrip("/")
        try:
            self._files, self._root = _driver(self.url)
        except (ImportError, ValueError) as fault:
            raise ConfigurationError(f"{url}: {fault}") from fault
        self.is_local: bool = "file" in _protocols(self._files)

    def list(self, below: str = "") -> Iterator[StoredObject]:
        """All objects below a folder of the URL, in no order; none where there is no such folder."""
        folder = f"{self._root}/{below}".rstrip("/")
        try:
            found = self._tried("list", below, lambda: self._found(folder))
        except CassetteError as fault:
            if isinstance(fault.__cause__, FileNotFoundError):
                return
            raise
        for path, facts in found.items():
            if facts.get("type", "file") == "file":
                yield StoredObject(self._below(path), int(facts.get("size") or 0), _changed_s(facts))

    def put(self, file: Path, name: str) -> None:
        """Upload a file, and read back that it is there as a whole.

        Uploading the same again does no harm. An object of this name that is the file already is left alone.

        Raises:
            CassetteError: It could not be uploaded, or what is there is not the file.
        """
        if self._is_there(file, name):
            return

        def upload() -> None:
            if self.is_local:
                folder, _, base = self._path(name).rpartition("/")
                # A reader must not see half of it; no engine reads what has such a name.
                part = f"{folder}/_{base}.part"
                self._files.makedirs(folder, exist_ok=True)
                self._files.put_file(str(file), part)
                self._files.mv(part, self._path(name))
            else:
                self._files.put_file(str(file), self._path(name))
            if not self._is_there(file, name):
                raise OSError("what was uploaded is not what is there")

        self._tried("write", name, upload, file.stat().st_size)

    def read(self, name: str, offset: int, length: int) -> bytes:
        """A range of an object: one request.

        Raises:
            CassetteError: It is not there, or cannot be read; its ``__cause__`` tells which.
        """

        def read() -> bytes:
            data = bytes(self._files.cat_file(self._path(name), start=offset, end=offset + length))
            if len(data) != length:
                raise OSError(f"{len(data)} bytes came of {length}")
            return data

        return self._tried("read", name, read, length)

    def get(self, name: str, file: Path, size_bytes: int = -1) -> None:
        """Download an object to a file.

        Args:
            name: The object.
            file: Where to.
            size_bytes: How large it is; -1 where that is not known.

        Raises:
            CassetteError: As for `read`.
        """
        size = size_bytes if size_bytes >= 0 else _INDEX_BYTES
        self._tried("read", name, lambda: self._files.get_file(self._path(name), str(file)), size)

    def has(self, name: str) -> bool:
        """Whether an object is there now.

        Raises:
            CassetteError: The storage cannot be reached.
        """
        self._files.invalidate_cache()
        return bool(self._tried("look at", name, lambda: self._files.exists(self._path(name))))

    def remove(self, name: str) -> None:
        """Remove an object; harmless where there is none.

        Raises:
            CassetteError: The storage refuses.
        """

        def remove() -> None:
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                pass

        self._tried("remove", name, remove)

    def local_path(self, name: str) -> Path | None:
        """The file that an object is, where the storage is a folder of this machine."""
        return Path(self._path(name)) if self.is_local else None

    def _is_there(self, file: Path, name: str) -> bool:
        """Whether an object is a file: by size, and by the checksum that the storage has, or else by its bytes."""
        self._files.invalidate_cache()
        try:
            facts = self._tried("look at", name, lambda: self._files.info(self._path(name)))
        except CassetteError as fault:
            if isinstance(fault.__cause__, FileNotFoundError):
                return False
            raise
        data = file.read_bytes()
        if int(facts.get("size") or 0) != len(data):
            return False
        if hashlib.md5(data, usedforsecurity=False).hexdigest() in _checksums(facts):
            return True
        # An ETag need not be a checksum: not of an upload in parts, nor with keys of the storage's own.
        return self.read(name, 0, len(data)) == data

    def _found(self, folder: str) -> dict[str, dict[str, Any]]:
        self._files.invalidate_cache()
        found: dict[str, dict[str, Any]] = self._files.find(folder, detail=True)
        return found

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _below(self, path: str) -> str:
        return path.removeprefix("/")[len(self._root.removeprefix("/")) :].lstrip("/")

    def _tried(self, what: str, name: str, do: Callable[[], _T], size_bytes: int = 0) -> _T:
        wait_s, limit_s = _FIRST_WAIT_S, _ANSWER_S + size_bytes / _SLOWEST_BYTES_S
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return _within(limit_s, do)
            except Exception as fault:
                # Drivers raise errors of many libraries; those that will not go away are no longer tried.
                if attempt < _ATTEMPTS and not isinstance(fault, _NOT_AGAIN):
                    time.sleep(wait_s * (0.5 + random.random()))  # noqa: S311 - spreads machines, no secret
                    wait_s *= 2
                    continue
                where = f"{self.url}/{name}".rstrip("/")
                raise CassetteError(
                    f"Cannot {what} {where}: {type(fault).__name__}: {fault}. See that the storage can be reached, "
                    "and that its credentials allow it.",
                    path=where,
                ) from fault
        raise AssertionError


def _within(limit_s: float, do: Callable[[], _T]) -> _T:
    """Do it in a thread, and leave that alone where it does not end: no driver's call can be taken back."""
    results: list[_T] = []
    faults: list[BaseException] = []

    def run() -> None:
        try:
            results.append(do())
        except BaseException as fault:  # It is raised again where it belongs.
            faults.append(fault)

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(run,), name="timetracer-otel-storage", daemon=True
    )
    thread.start()
    thread.join(limit_s)
    if faults:
        raise faults[0]
    if not results:
        raise StorageTimeoutError(f"no answer within {limit_s:.0f} s")
    return results[0]


def _driver(url: str) -> tuple[Any, str]:
    """The file system that serves a URL, and the path of the URL in it."""
    import fsspec

    scheme = url.partition("://")[0].lower()
    driver = _FAST.get(scheme)
    if driver is not None and find_spec("obstore") is not None and find_spec(driver) is None:
        from obstore.fsspec import FsspecStore

        make: Any = FsspecStore
        return make("gs" if scheme == "gcs" else scheme), url.partition("://")[2]
    files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return files, str(root).rstrip("/")


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def _checksums(facts: dict[str, Any]) -> set[str]:
    """What the storage says of an object's bytes, as MD5 in hexadecimal."""
    found = {str(facts[key]).strip('"').lower() for key in ("ETag", "etag", "e_tag") if facts.get(key)}
    encoded = facts.get("md5Hash")
    if encoded:
        try:
            found.add(base64.b64decode(str(encoded), validate=True).hex())
        except (binascii.Error, ValueError):
            pass
    return found


def _changed_s(facts: dict[str, Any]) -> float | None:
    for key in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = facts.get(key)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                continue
        if isinstance(value, datetime):
            return (value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)).timestamp()
    return None
