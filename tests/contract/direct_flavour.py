"""Drivers that an app uses itself, in the words of the contract: what their flavours have in common.

The flavour of a driver stands in a module of its own, ``<driver>_flavour``, as ``FLAVOUR``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy.engine import URL, make_url

from tests.contract.direct_cases import DIRECT_CASES
from tests.contract.framework import Case, Flavour, methods_of
from tests.contract.sql_observation import seen
from tests.servers.mariadb import MariaDb
from tests.servers.postgres import Postgres

__all__ = ["DirectFlavour", "ServerFlavour"]


class DirectFlavour(Flavour):
    """A driver that an app uses itself.

    Attributes:
        dbapi: The driver.
        serial: The type of a primary key that the database counts.
        own_cases: Its cases beside those for every driver of PEP 249.
        general_cases: These; a driver of another kind has none.
        switches: Enable its plugin, and disable it.
        patched: The modules and classes whose functions the plugin replaces.
    """

    recording = {"redact": "off"}  # noqa: RUF012
    all_replayable = True
    dbapi: Any
    serial: str
    own_cases: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    general_cases: ClassVar[Mapping[str, Callable[[Any], Any]]] = DIRECT_CASES
    switches: ClassVar[tuple[Callable[[], None], Callable[[], None]]]
    patched: ClassVar[tuple[Any, ...]]

    def __init__(self) -> None:
        self._untouched = methods_of(*self.patched)

    @property
    def cases(self) -> list[Case]:
        """All cases, each of which opens its own connections."""
        return [Case(name, run) for name, run in {**self.general_cases, **self.own_cases}.items()]

    @staticmethod
    def sql(text: str) -> str:
        """The statement with the placeholders of the driver, from one with question marks."""
        return text.replace("?", "%s")

    def enable(self) -> None:
        self.switches[0]()

    def disable(self) -> None:
        self.switches[1]()

    def is_untouched(self) -> bool:
        return methods_of(*self.patched) == self._untouched

    def perform(self, case: Case) -> Any:
        return seen(case.run(self))

    def told(self) -> str:
        """What another process needs to know of the servers."""
        raise NotImplementedError

    def tell(self, told: str, folder: Path, *, gone: bool) -> None:
        """The servers stand elsewhere.

        Args:
            told: What `told` gave there.
            folder: The same as there.
            gone: Whether they are there no more.
        """
        raise NotImplementedError


class ServerFlavour(DirectFlavour):
    """One whose database is a server's, which is stopped before a replay.

    Attributes:
        server_kind: The class of the server.
    """

    server_kind: ClassVar[type[Postgres | MariaDb]] = Postgres

    def __init__(self) -> None:
        super().__init__()
        self._server: Postgres | MariaDb | None = None
        self._elsewhere: URL | None = None

    @property
    def url(self) -> URL:
        """Where the database is: with a user, a name, and a host and a port, or the folder or path of a socket."""
        if self._elsewhere is not None:
            return self._elsewhere
        assert self._server is not None
        url = self._server.url("driver")
        return url.set(drivername=url.get_backend_name())

    def start(self, folder: Path) -> None:
        self._server = self.server_kind()

    def reset(self) -> None:
        assert self._server is not None
        self._server.clear()

    def stop(self) -> None:
        assert self._server is not None
        self._server.stop()

    def tear_down(self) -> None:
        if self._server is not None:
            self._server.close()

    def told(self) -> str:
        return self.url.render_as_string(hide_password=False)

    def tell(self, told: str, folder: Path, *, gone: bool) -> None:
        url = make_url(told)
        self._elsewhere = url.set(port=1) if gone else url
