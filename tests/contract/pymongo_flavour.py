"""MongoDB clients in the words of the contract: pymongo, blocking and with asyncio, and Motor."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gridfs
import pymongo
from gridfs.asynchronous import AsyncGridFSBucket
from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorGridFSBucket
from pymongo import periodic_executor
from pymongo.asynchronous import auth as async_auth
from pymongo.asynchronous import pool as async_pool
from pymongo.asynchronous import topology as async_topology
from pymongo.synchronous import auth, pool, topology

from tests.contract.framework import Case, Flavour, methods_of
from tests.contract.pymongo_cases import CASES, run
from tests.servers.mongo import Mongo, forget
from timetracer_otel.plugins import disable_motor, disable_pymongo, enable_motor, enable_pymongo

__all__ = ["FLAVOUR", "AsyncPymongoFlavour", "EveryClient", "MotorFlavour", "PymongoFlavour"]

_MODULES = (pool, topology, auth, async_pool, async_topology, async_auth)


class PymongoFlavour(Flavour):
    """pymongo's blocking client."""

    name = "pymongo"
    recording = {"redact": "off"}  # noqa: RUF012
    all_replayable = False
    client_class: Any = pymongo.MongoClient
    bucket_class: Any = gridfs.GridFSBucket

    def __init__(self) -> None:
        self._server: Mongo | None = None
        self._elsewhere: str | None = None
        self._untouched = self._functions()

    @staticmethod
    def _functions() -> dict[Any, Any]:
        named = {(each.__name__, name): item for each in _MODULES for name, item in vars(each).items()}
        return {
            **methods_of(*_MODULES, periodic_executor),
            **{key: named[key] for key in named if callable(named[key])},
        }

    @property
    def cases(self) -> list[Case]:
        """All cases, each of which opens its own clients."""
        return CASES.cases

    @property
    def url(self) -> str:
        """Where the server listens."""
        if self._elsewhere is not None:
            return self._elsewhere
        assert self._server is not None
        return self._server.url

    def client(self, *, fails: bool = False, **options: Any) -> Any:
        """A client of the server, or of a port where nobody listens."""
        return self.client_class("mongodb://127.0.0.1:1/" if fails else self.url, **options)

    def bucket(self, database: Any) -> Any:
        """Files in a database."""
        return self.bucket_class(database)

    def start(self, folder: Path) -> None:
        self._server = Mongo()

    def reset(self) -> None:
        if self._server is None:
            forget(self.url)
        else:
            self._server.clear()

    def stop(self) -> None:
        assert self._server is not None
        self._server.stop()

    def tear_down(self) -> None:
        if self._server is not None:
            self._server.close()

    def enable(self) -> None:
        enable_pymongo()

    def disable(self) -> None:
        disable_pymongo()

    def is_untouched(self) -> bool:
        return self._functions() == self._untouched

    def perform(self, case: Case) -> Any:
        return run(case.run, self)

    def told(self) -> str:
        """What another process needs to know of the server."""
        return self.url

    def tell(self, told: str, folder: Path, *, gone: bool) -> None:
        """The server stands elsewhere, or is there no more."""
        self._elsewhere = "mongodb://127.0.0.1:1/" if gone else told


class AsyncPymongoFlavour(PymongoFlavour):
    """pymongo's client for asyncio."""

    name = "pymongo, asyncio"
    client_class = pymongo.AsyncMongoClient
    bucket_class = AsyncGridFSBucket


class MotorFlavour(PymongoFlavour):
    """Motor, which runs pymongo's blocking client in threads."""

    name = "motor"
    client_class = AsyncIOMotorClient
    bucket_class = AsyncIOMotorGridFSBucket

    def enable(self) -> None:
        enable_motor()

    def disable(self) -> None:
        disable_motor()


class EveryClient(PymongoFlavour):
    """All of them in turn, in one process."""

    name = "all MongoDB clients"
    _kinds = (PymongoFlavour, AsyncPymongoFlavour, MotorFlavour)

    @property
    def cases(self) -> list[Case]:
        """The cases of each of them."""
        return [
            Case(f"{kind.name}, {case.name}", partial(self._with, kind, case))
            for kind in self._kinds
            for case in CASES.cases
        ]

    def _with(self, kind: type[PymongoFlavour], case: Case, _: Any) -> Any:
        flavour = kind()
        flavour._elsewhere = self.url
        return case.run(flavour)


FLAVOUR = EveryClient
