"""Drivers of MySQL that are awaited, in the words of the contract: each case of those that block runs over them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from tests.contract.direct_cases import Case
from tests.contract.framework import run_async
from tests.contract.mysql_cases import CONVERTER_CASES, MYSQL_CASES
from tests.contract.mysql_flavour import MySqlFlavour
from tests.contract.sql_observation import seen

__all__ = ["MySqlAsyncFlavour"]

ASYNC_CASES: dict[str, Case] = {}


class Blocking:
    """An object whose methods are awaited, for code that does not await: each call runs on a loop to its end."""

    def __init__(self, of: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.__dict__.update(of=of, loop=loop)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.of, name)
        if name == "connection":
            return Blocking(found, self.loop)
        return self._called(found) if callable(found) and not isinstance(found, type) else found

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.of, name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocking) and other.of is self.of

    def __hash__(self) -> int:
        return id(self.of)

    def _called(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def called(*args: Any, **kwargs: Any) -> Any:
            value = function(*args, **kwargs)
            return await value if inspect.isawaitable(value) else value

        def blocking(*args: Any, **kwargs: Any) -> Any:
            value = self.loop.run_until_complete(called(*args, **kwargs))
            return Blocking(value, self.loop) if function.__name__ == "cursor" else value

        return blocking

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._called(self.of.__anext__)()
        except StopAsyncIteration:
            raise StopIteration from None

    def __enter__(self) -> Any:
        self._called(self.of.__aenter__)()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._called(self.of.__aexit__)(*error)


class MySqlAsyncFlavour(MySqlFlavour):
    """A driver that is awaited, on a MariaDB."""

    own_cases: ClassVar[Mapping[str, Case]] = {**MYSQL_CASES, **CONVERTER_CASES, **ASYNC_CASES}

    def __init__(self) -> None:
        super().__init__()
        self._opened: list[Blocking] = []

    def connect(self, *, fails: bool = False, **options: Any) -> Any:
        """Open a connection to the server, or to a port where nobody listens, whose methods block."""
        loop = asyncio.new_event_loop()

        async def connect() -> Any:
            return await self.opened(fails=fails, **options)

        try:
            made = Blocking(loop.run_until_complete(connect()), loop)
        except BaseException:
            loop.close()
            raise
        self._opened.append(made)
        return made

    def reset(self) -> None:
        self._let_go()
        super().reset()

    def tear_down(self) -> None:
        self._let_go()
        super().tear_down()

    def _let_go(self) -> None:
        for connection in self._opened:
            connection.close()
            connection.loop.run_until_complete(asyncio.sleep(0))
            connection.loop.close()
        self._opened.clear()

    def opened(self, *, fails: bool = False, **options: Any) -> Any:
        """Gives what opens a connection, to be awaited."""
        return self.dbapi.connect(**self.renamed(self.where(fails)), **options)

    @staticmethod
    def renamed(arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the driver calls them."""
        database = arguments.pop("database")
        return {**arguments, "db": database}

    def pool(self) -> Any:
        """Gives what opens a pool."""
        return self.dbapi.create_pool(**self.renamed(self.where(False)), maxsize=1)


def awaited(case: Case) -> Case:
    """Add a case."""
    ASYNC_CASES[case.__name__] = case
    MySqlAsyncFlavour.own_cases = {**MYSQL_CASES, **CONVERTER_CASES, **ASYNC_CASES}
    return case


@awaited
def with_asyncio(database: Any) -> Any:
    async def work() -> Any:
        found: list[Any] = []
        async with database.opened() as connection:
            async with connection.cursor() as cursor:
                await cursor.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, name VARCHAR(9))")
                found.append(
                    await cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(n, f"n{n}") for n in range(5)])
                )
                await cursor.execute("SELECT * FROM t WHERE n > %s ORDER BY n", (0,))
                found += [await cursor.fetchone(), [row async for row in cursor]]
            await connection.commit()
            async with connection.cursor(database.dbapi.cursors.SSDictCursor) as cursor:
                await cursor.execute("SELECT name FROM t ORDER BY n")
                found += [await cursor.fetchmany(2), [row async for row in cursor]]
        return found

    return seen(run_async(work()))


@awaited
def a_pool_and_tasks(database: Any) -> Any:
    async def one(pool: Any, number: int) -> Any:
        async with pool.acquire() as connection, connection.cursor() as cursor:
            await cursor.execute("SELECT %s + 1", (number,))
            return await cursor.fetchone()

    async def work() -> Any:
        pool = await database.pool()
        try:
            return await asyncio.gather(*(one(pool, number) for number in range(8)))
        finally:
            pool.close()
            await pool.wait_closed()

    return seen(run_async(work()))


@awaited
def what_objects_look_like(database: Any) -> Any:
    async def work() -> Any:
        connection = await database.opened()
        cursor = await connection.cursor()
        dbapi = database.dbapi
        found = [
            isinstance(connection, dbapi.connection.Connection),
            type(connection).__name__,
            type(cursor).__name__,
        ]
        found += [isinstance(cursor, dbapi.cursors.Cursor), cursor.connection is connection]
        found += [cursor.description, cursor.rowcount, cursor.arraysize, await cursor.close()]
        await connection.ensure_closed()
        return found

    return seen(run_async(work()))
