"""Workloads of MongoDB's clients. Each begins with no documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["MONGO"]

_PATIENCE: dict[str, Any] = {"serverSelectionTimeoutMS": 3000}


def pymongo(servers: Servers) -> list[str]:
    from pymongo import InsertOne, MongoClient

    client: Any = MongoClient(servers.mongo, **_PATIENCE)
    items = client.shop.items

    def committed() -> Any:
        with client.start_session() as session:
            with session.start_transaction():
                items.insert_one({"_id": "kept"}, session=session)
            session.start_transaction()
            items.insert_one({"_id": "not kept"}, session=session)
            session.abort_transaction()
        return items.count_documents({"_id": {"$in": ["kept", "not kept"]}})

    def half() -> Any:
        with items.find({}, batch_size=3) as cursor:
            return [next(cursor) for _ in range(5)]

    def made() -> Any:
        document = {"name": "tea", "password": "Hm4kLq9sWe"}
        key = items.insert_one(document).inserted_id
        return items.find_one({"_id": key})["name"]

    found = [
        seen(lambda: client.admin.command("forget")["ok"]),
        seen(lambda: items.insert_many([{"_id": number, "n": number % 3} for number in range(9)]).inserted_ids),
        seen(lambda: list(items.find({"n": 1}, batch_size=2))),
        seen(half),
        seen(lambda: items.find_one_and_update({"_id": 1}, {"$set": {"password": "Hm4kLq9sWf"}})),
        seen(lambda: items.bulk_write([InsertOne({"_id": 1}), InsertOne({"_id": 100})], ordered=False)),
        seen(lambda: client.shop.command("nosuch")),
        seen(committed),
        seen(made),
    ]
    client.close()
    return found


def pymongo_async(servers: Servers) -> list[str]:
    from pymongo import AsyncMongoClient

    async def main() -> list[str]:
        client: Any = AsyncMongoClient(servers.mongo, **_PATIENCE)
        items = client.shop.items

        async def listed() -> Any:
            return [each async for each in items.find({}, batch_size=2)]

        found = [
            await seen_async(lambda: items.delete_many({})),
            await seen_async(lambda: items.insert_many([{"_id": number} for number in range(5)])),
            await seen_async(listed),
            await seen_async(lambda: items.insert_one({"_id": 1})),
        ]
        await client.close()
        return [found[0].partition("(")[0], *found[1:]]

    return asyncio.run(main())


MONGO: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (pymongo, pymongo_async)}
