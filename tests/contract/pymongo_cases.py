"""What apps do with a MongoDB client, blocking or asyncio, in one source: what may be awaited is awaited.

A case gets the `Clients`, and opens its own. Each begins with no documents. The ids that a driver makes anew differ
from run to run, so they are seen as what they are equal to.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import re
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol

import bson
import pymongo
from bson import (
    Binary,
    Code,
    CodecOptions,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
    json_util,
)
from bson.binary import UuidRepresentation
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import CursorType, DeleteOne, InsertOne, ReplaceOne, ReturnDocument, UpdateOne, WriteConcern
from pymongo.errors import PyMongoError

from tests.contract.framework import CaseList

__all__ = ["CASES", "Clients", "attempt", "got", "listed", "seen"]

CASES = CaseList(calls=None)
case = CASES()
once = CASES(repeatable=False)


class Clients(Protocol):
    """A kind of client, and where its server is."""

    def client(self, *, fails: bool = False, **options: Any) -> Any:
        """A client of the server, or of a port where nobody listens."""

    def bucket(self, database: Any) -> Any:
        """Files in a database (GridFS)."""


async def got(value: Any) -> Any:
    """A value, or what comes of it where it is to be awaited."""
    return await value if inspect.isawaitable(value) else value


async def listed(cursor: Any, count: int | None = None) -> list[Any]:
    """The next documents of a cursor, all or some."""
    found: list[Any] = []
    while count is None or len(found) < count:
        try:
            found.append(await cursor.__anext__() if hasattr(cursor, "__anext__") else next(cursor))
        except (StopIteration, StopAsyncIteration):
            break
    return found


def seen(value: Any) -> Any:
    """A value with the types of all its parts."""
    kind = type(value)
    if kind in (type(None), bool, int, str, bytes):
        return value
    if kind in (list, tuple):
        return [kind.__name__, *map(seen, value)]
    if kind is RawBSONDocument:
        return ["raw", value.raw]
    if isinstance(value, Mapping):
        return [kind.__name__, *([name, seen(item)] for name, item in value.items())]
    if isinstance(value, BaseException):
        return seen_error(value)
    if kind is DBRef:
        return ["DBRef", seen(value.as_doc())]
    if kind in (Regex, Timestamp, Code, Binary, MinKey, MaxKey, Decimal128, Int64):
        return [kind.__name__, repr(value), json_util.dumps(value)]
    return [kind.__name__, repr(value)]


def seen_error(error: BaseException) -> dict[str, Any]:
    """An error with all that it says."""
    found: dict[str, Any] = {
        "class": f"{type(error).__module__}.{type(error).__name__}",
        "text": _without_new_ids(str(error)),
        "cause": None if error.__cause__ is None else seen_error(error.__cause__),
    }
    for name in ("code", "details", "errors", "timeout"):
        if hasattr(error, name):
            found[name] = (
                seen(getattr(error, name)) if name != "details" else _without_new_ids(repr(getattr(error, name)))
            )
    if isinstance(error, PyMongoError):
        labels = ("RetryableWriteError", "TransientTransactionError", "RetryableError", "NoWritesPerformed")
        found["labels"] = [label for label in labels if error.has_error_label(label)]
    return found


def _without_new_ids(text: str) -> str:
    # A file that is not found is told with the whole client, whose address is another one in a replay elsewhere.
    return re.sub(r"host=\[[^]]*\]", "host=[…]", re.sub(r"ObjectId\('[0-9a-f]{24}'\)", "ObjectId(…)", text))


async def attempt(value: Any) -> Any:
    """What a call gives, or raises; of a call that is not begun yet where it is a function."""
    try:
        return seen(await got(value() if callable(value) else value))
    except Exception as error:
        return seen_error(error)


@asynccontextmanager
async def opened(clients: Clients, **options: Any) -> AsyncIterator[Any]:
    client = clients.client(**options)
    try:
        yield client
    finally:
        await got(client.close())


async def numbers(collection: Any, count: int) -> None:
    await got(collection.insert_many([{"_id": number, "n": number % 7} for number in range(count)]))


@case
async def insert_find_update_delete(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        inserted = await got(items.insert_one({"_id": 1, "name": "tea", "price": 3}))
        found = [seen(inserted.inserted_id), seen(inserted.acknowledged)]
        found.append(seen(await got(items.find_one({"name": "tea"}))))
        changed = await got(items.update_one({"_id": 1}, {"$set": {"price": 4}, "$push": {"tags": "hot"}}))
        found.append(seen([changed.matched_count, changed.modified_count, changed.upserted_id]))
        changed = await got(items.update_many({"price": {"$gt": 100}}, {"$set": {"dear": True}}))
        found.append(seen([changed.matched_count, changed.modified_count]))
        changed = await got(items.update_one({"_id": 2}, {"$set": {"name": "milk"}}, upsert=True))
        found.append(seen([changed.matched_count, changed.upserted_id]))
        changed = await got(items.replace_one({"_id": 2}, {"name": "cream"}))
        found.append(seen([changed.modified_count]))
        found.append(seen(await listed(items.find(sort=[("_id", 1)]))))
        found.append(seen((await got(items.delete_one({"_id": 1}))).deleted_count))
        found.append(seen((await got(items.delete_many({}))).deleted_count))
        found.append(seen(await got(items.find_one({}))))
        return found


@case
async def ids_that_the_driver_makes(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        document = {"name": "tea"}
        made = await got(items.insert_one(document))
        many = await got(items.insert_many([{"name": name} for name in ("a", "b", "c")]))
        back = await got(items.find_one({"_id": made.inserted_id}))
        others = await listed(items.find({"_id": {"$in": many.inserted_ids}}).sort("name", 1))
        order = await got(client.shop.orders.insert_one({"item": made.inserted_id, "parts": many.inserted_ids}))
        read = await got(client.shop.orders.find_one({"_id": order.inserted_id}))
        return [
            document["_id"] == made.inserted_id == back["_id"] == read["item"],
            [each["_id"] for each in others] == many.inserted_ids == read["parts"],
            [each["name"] for each in others],
            type(made.inserted_id).__name__,
            (await got(items.delete_one({"_id": many.inserted_ids[1]}))).deleted_count,
        ]


@case
async def keys_and_times_that_the_app_makes(clients: Clients) -> Any:
    options: Any = CodecOptions(uuid_representation=UuidRepresentation.STANDARD, tz_aware=True)
    async with opened(clients) as client:
        items = client.shop.get_collection("items", codec_options=options)
        key, now = uuid.uuid4(), dt.datetime.now(dt.timezone.utc)
        await got(items.insert_one({"_id": key, "made": now, "link": f"/items/{key}"}))
        back = await got(items.find_one({"_id": key}))
        kept = now.replace(microsecond=now.microsecond // 1000 * 1000)
        return [back["_id"] == key, back["link"] == f"/items/{key}", back["made"] == kept, type(back["_id"]).__name__]


@case
async def cursors_in_batches(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        await numbers(items, 250)
        found = [len(await listed(items.find())), seen(await listed(items.find({"n": 3}, batch_size=10)))]
        half = items.find(sort=[("_id", -1)], batch_size=20)
        found.append(seen([each["_id"] for each in await listed(half, 35)]))
        found.append([half.alive, half.cursor_id is not None])
        await got(half.close())
        found.append(half.alive)
        whole = items.find({"n": {"$lt": 2}}, {"_id": 0}, skip=3, limit=30, batch_size=7)
        found.append(seen(await got(whole.to_list(None))))
        some = items.find(batch_size=9)
        found.append(seen([len(await got(some.to_list(5))), len(await got(some.to_list(11)))]))
        again = items.find({"n": 6})
        first = await listed(again)
        await got(again.rewind())
        found.append(first == await listed(again))
        return found


@case
async def cursors_side_by_side(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        await numbers(items, 60)
        pair = [items.find({"n": n}, batch_size=2) for n in (1, 2)]
        found = []
        for _ in range(4):
            for cursor in pair:
                found += [seen(await listed(cursor, 1))]
        return found


@case
async def exhaust_cursor(clients: Clients) -> Any:
    if not hasattr(CursorType, "EXHAUST"):
        raise AssertionError
    async with opened(clients) as client:
        items = client.shop.items
        await numbers(items, 50)
        cursor = items.find({}, cursor_type=CursorType.EXHAUST, batch_size=10)
        return [len(await listed(cursor)), seen(await got(items.find_one({"_id": 1})))]


@case
async def aggregates_counts_and_distinct_values(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        await numbers(items, 100)
        groups = await got(
            items.aggregate([{"$match": {"_id": {"$gte": 50}}}, {"$group": {"_id": "$n", "sum": {"$sum": 1}}}])
        )
        pages = await got(items.aggregate([{"$sort": {"_id": 1}}], batchSize=30))
        return [
            seen(sorted(await listed(groups), key=repr)),
            len(await listed(pages)),
            await got(items.count_documents({"n": 3})),
            await got(items.count_documents({}, skip=90, limit=5)),
            await got(items.estimated_document_count()),
            seen(await got(items.distinct("n"))),
            seen(await got(items.distinct("n", {"_id": {"$lt": 2}}))),
        ]


@case
async def find_one_and_change(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        await numbers(items, 5)
        return [
            await attempt(lambda: items.find_one_and_update({"_id": 1}, {"$inc": {"n": 10}})),
            await attempt(
                lambda: items.find_one_and_update(
                    {"_id": 1}, {"$inc": {"n": 10}}, return_document=ReturnDocument.AFTER
                )
            ),
            await attempt(lambda: items.find_one_and_replace({"_id": 2}, {"n": "new"}, projection={"_id": 0})),
            await attempt(lambda: items.find_one_and_delete({"n": {"$gte": 3}}, sort=[("_id", -1)])),
            await attempt(lambda: items.find_one_and_delete({"n": "none"})),
            await attempt(
                lambda: items.find_one_and_update(
                    {"_id": 9}, {"$set": {"n": 0}}, upsert=True, return_document=ReturnDocument.AFTER
                )
            ),
        ]


@case
async def bulk_writes(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        writes = [
            InsertOne({"_id": 1}),
            InsertOne({"_id": 2, "n": 1}),
            UpdateOne({"_id": 1}, {"$set": {"n": 5}}),
            UpdateOne({"_id": 7}, {"$set": {"n": 7}}, upsert=True),
            ReplaceOne({"_id": 2}, {"n": 2}),
            DeleteOne({"_id": 1}),
        ]
        done = await got(items.bulk_write(writes))
        found = [seen([done.inserted_count, done.modified_count, done.deleted_count, done.upserted_ids])]
        found.append(seen(await listed(items.find(sort=[("_id", 1)]))))
        failing = [InsertOne({"_id": 3}), InsertOne({"_id": 2}), InsertOne({"_id": 7}), InsertOne({"_id": 4})]
        found.append(await attempt(lambda: items.bulk_write(failing, ordered=False)))
        found.append(await attempt(lambda: items.bulk_write([InsertOne({"_id": 5}), InsertOne({"_id": 5})])))
        found.append(seen(await listed(items.find({}, {"_id": 1}).sort("_id", 1))))
        return found


@case
async def bulk_write_of_a_client(clients: Clients) -> Any:
    async with opened(clients) as client:
        if not callable(getattr(client, "bulk_write", None)):
            return "this client has none"
        writes = [InsertOne({"_id": 1}, namespace="shop.items"), InsertOne({"_id": 1}, namespace="shop.orders")]
        done = await got(client.bulk_write(writes))
        found = [seen([done.inserted_count, done.matched_count])]
        found.append(await attempt(lambda: client.bulk_write(writes, ordered=False, verbose_results=True)))
        return found


@case
async def errors_of_the_server(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        await got(items.insert_one({"_id": 1}))
        return [
            await attempt(lambda: items.insert_one({"_id": 1})),
            await attempt(lambda: items.insert_many([{"_id": 2}, {"_id": 1}, {"_id": 3}])),
            await attempt(lambda: client.shop.command("nosuch", value=1)),
            await attempt(lambda: items.find_one({"n": {"$bogus": 1}})),
            await attempt(lambda: client.admin.command("ping")),
            await attempt(lambda: client.admin.command("hello", codec_options=CodecOptions())),
            await attempt(lambda: client.shop.command("count", "items")),
        ]


@case
async def types_of_bson(clients: Clients) -> Any:
    document = {
        "_id": ObjectId("5f0c4f3e7f0a4c7e9d550a1b"),
        "decimal": [Decimal128("1.10"), Decimal128("-0E+3"), Decimal128("NaN"), Decimal128("9" * 34)],
        "binary": [b"plain", Binary(b"\x00\xff", 128), Binary(b"old", 2), Binary(bytes(16), 3), Binary(bytes(16), 4)],
        "regex": [Regex("^a+$", "im"), re.compile("b", re.IGNORECASE)],
        "time": [dt.datetime.fromisoformat(text) for text in ("2020-02-29T12:30:01.999", "0001-01-01")],
        "stamp": Timestamp(4_000_000_000, 7),
        "numbers": [0, -1, 2**31 - 1, 2**31, 2**63 - 1, -(2**63), Int64(5), 1.5, -0.0, float("inf"), True],
        "code": [Code("f()"), Code("g(x)", {"x": Int64(1)})],
        "ends": [MinKey(), MaxKey()],
        "ref": DBRef("items", ObjectId("5f0c4f3e7f0a4c7e9d550a1c"), "other", more=1),
        "texts": ["", "é\u0000", "\U0001f375"],
        "nested": {"": None, "list": [[], {}, [{"x": []}]], "timetracer:type": "ObjectId", "timetracer:value": 1},
    }
    options: Mapping[str, Any] = {
        "plain": CodecOptions(),
        "aware": CodecOptions(tz_aware=True),
        "zone": CodecOptions(tz_aware=True, tzinfo=dt.timezone(dt.timedelta(hours=2), "two")),
        "ms": CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS),
        "ordered": CodecOptions(document_class=bson.SON),
        "raw": CodecOptions(document_class=RawBSONDocument),
        "uuid": CodecOptions(uuid_representation=UuidRepresentation.STANDARD),
    }
    async with opened(clients) as client:
        await got(client.shop.items.insert_one(document))
        await got(client.shop.items.insert_one(RawBSONDocument(bson.encode({"_id": 2, "b": 1, "a": [Int64(1)]}))))
        return {
            name: await attempt(
                partial(client.shop.get_collection("items", codec_options=each).find_one, {"_id": document["_id"]})
            )
            for name, each in options.items()
        } | {"raw one": await attempt(lambda: client.shop.items.find_one({"_id": 2}))}


@case
async def raw_batches(clients: Clients) -> Any:
    async with opened(clients) as client:
        await numbers(client.shop.items, 25)
        cursor = client.shop.items.find_raw_batches({}, sort=[("_id", 1)], batch_size=10)
        return [bson.decode_all(batch) for batch in await listed(cursor)]


@case
async def transactions(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        session = await got(client.start_session())
        found: list[Any] = []
        await got(session.start_transaction())
        await got(items.insert_one({"_id": 1}, session=session))
        found.append(seen(await got(items.find_one({}, session=session))))
        await got(session.commit_transaction())
        await got(session.start_transaction())
        await got(items.insert_one({"_id": 2}, session=session))
        await got(items.update_one({"_id": 1}, {"$set": {"n": 1}}, session=session))
        await got(session.abort_transaction())
        found.append(seen(await listed(items.find())))
        await got(session.start_transaction())
        found.append(await attempt(lambda: items.insert_one({"_id": 1}, session=session)))
        await got(session.abort_transaction())
        found.append([session.in_transaction, session.has_ended])
        await got(session.end_session())
        found.append(seen(await got(items.count_documents({}))))
        return found


@case
async def transactions_by_a_function(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        session = await got(client.start_session(causal_consistency=True))

        async def work(within: Any) -> Any:
            await got(items.insert_one({"_id": 1}, session=within))
            return seen(await got(items.find_one({"_id": 1}, session=within)))

        def work_blocking(within: Any) -> Any:
            items.insert_one({"_id": 1}, session=within)
            return seen(items.find_one({"_id": 1}, session=within))

        is_async = inspect.iscoroutinefunction(type(session).with_transaction) or "motor" in type(session).__module__
        found = [await got(session.with_transaction(work if is_async else work_blocking))]
        await got(session.end_session())
        found.append(seen(await got(items.find_one({}))))
        return found


@case
async def indexes_and_collections(clients: Clients) -> Any:
    async with opened(clients) as client:
        shop = client.shop
        created = await got(shop.create_collection("things"))
        found = [created.name, await got(shop.items.create_index([("n", 1), ("m", -1)]))]
        found.append(await got(shop.items.create_index("name", unique=True)))
        found.append(seen(await got(shop.items.index_information())))
        indexes = await got(shop.items.list_indexes())
        found.append(seen([each["name"] for each in await listed(indexes)]))
        await got(shop.items.insert_one({"_id": 1, "name": "tea"}))
        found.append(await attempt(lambda: shop.items.insert_one({"_id": 2, "name": "tea"})))
        await got(shop.items.drop_index("name_1"))
        found.append(sorted(await got(shop.list_collection_names())))
        found.append(sorted(await got(client.list_database_names())))
        await got(shop.things.drop())
        found.append(await attempt(lambda: client.server_info()))
        await got(client.drop_database("shop"))
        found.append(seen(await got(shop.list_collection_names())))
        return found


@case
async def unacknowledged_writes(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        unheard = client.shop.get_collection("items", write_concern=WriteConcern(w=0))
        done = await got(unheard.insert_one({"_id": 1}))
        await got(unheard.delete_one({"_id": 5}))
        for _ in range(100):
            if await got(items.count_documents({"_id": 1})):
                break
            await asyncio.sleep(0.02)
        return [done.acknowledged, seen(done.inserted_id)]


@case
async def files(clients: Clients) -> Any:
    async with opened(clients) as client:
        bucket = clients.bucket(client.shop)
        content = bytes(range(256)) * 2500
        key = await got(bucket.upload_from_stream("tea.bin", content, metadata={"kind": "tea"}))
        opened_file = await got(bucket.open_download_stream(key))
        first = await got(opened_file.read(1000))
        rest = await got(opened_file.read())
        named = await got(bucket.open_download_stream_by_name("tea.bin"))
        found = [first + rest == content, await got(named.read()) == content, named.length, named.metadata]
        found.append([each.filename for each in await listed(bucket.find({"filename": "tea.bin"}))])
        await got(bucket.rename(key, "milk.bin"))
        await got(bucket.delete(key))
        found.append(await attempt(lambda: bucket.open_download_stream(key)))
        return found


@case
async def tries_again(clients: Clients) -> Any:
    async with opened(clients) as client:
        items = client.shop.items
        await got(items.insert_one({"_id": 1}))
        found: list[Any] = []
        for name, data in (
            ("find", {"closeConnection": True}),
            ("find", {"errorCode": 11600}),
            ("insert", {"closeConnection": True}),
            ("insert", {"errorCode": 91, "errorLabels": ["RetryableWriteError"]}),
        ):
            point = {"mode": {"times": 1}, "data": {"failCommands": [name], **data}}
            await got(client.admin.command("configureFailPoint", "failCommand", **point))
            number = len(found) + 10
            reads, writes = partial(items.find_one, {"_id": 1}), partial(items.insert_one, {"_id": number})
            found.append(await attempt(_number_of(reads if name == "find" else writes)))
        return found


async def _number_of(call: Callable[[], Any]) -> Any:
    value = await got(call())
    return getattr(value, "inserted_id", value)


@case
async def connection_cut(clients: Clients) -> Any:
    async with opened(clients, retryReads=False, retryWrites=False) as client:
        items = client.shop.items
        await got(items.insert_one({"_id": 1}))
        found = []
        for name, call in (
            ("find", lambda: items.find_one({})),
            ("insert", lambda: items.insert_one({"_id": 2})),
        ):
            point = {"mode": {"times": 1}, "data": {"failCommands": [name], "closeConnection": True}}
            await got(client.admin.command("configureFailPoint", "failCommand", **point))
            found.append(await attempt(call))
            found.append(await attempt(lambda: items.find_one({})))
        return found


@once
async def no_server(clients: Clients) -> Any:
    async with opened(clients, fails=True, serverSelectionTimeoutMS=300) as client:
        return [
            await attempt(lambda: client.shop.items.find_one({})),
            await attempt(lambda: client.admin.command("ping")),
        ]


@case
async def many_at_once(clients: Clients) -> Any:
    async with opened(clients, maxPoolSize=4) as client:
        items = client.shop.items
        await numbers(items, 30)
        calls = [_number_of(partial(items.find_one, {"_id": number})) for number in range(30)]
        return seen(await asyncio.gather(*calls))


@case
async def time_limits(clients: Clients) -> Any:
    async with opened(clients, timeoutMS=20_000) as client:
        items = client.shop.items
        await numbers(items, 3)
        with pymongo.timeout(15):
            found = [seen(await got(items.find_one({"_id": 1})))]
        found.append(seen(await listed(items.find({}).sort("_id", 1))))
        return found


@case
async def closed_client(clients: Clients) -> Any:
    client = clients.client()
    await got(client.admin.command("ping"))
    await got(client.close())
    return await attempt(lambda: client.shop.items.find_one({}))


def run(function: Callable[[Clients], Any], clients: Clients) -> Any:
    """Run a case to its end."""
    return asyncio.run(function(clients))


__all__ += ["run"]
