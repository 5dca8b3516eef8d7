"""A server that speaks MongoDB's protocol (OP_MSG), for tests; run as a module.

No registry that tests may use brings a MongoDB: PyPI, npm and Debian have clients, and programs that download a
server from elsewhere. Of what speaks the protocol there, NeoSQLite (``nx-27017``) keeps documents as JSON, which
lacks BSON's types, and takes an ``_id`` twice. So this one stands in: the documents are mongomock's; the protocol,
cursors, sessions and transactions are here. It says of itself that it is the primary of a replica set. What it does
not know it refuses as MongoDB does (``CommandNotFound``).

Usage: ``python -m tests.servers.mongo_server``. It prints its port as one line of JSON, and ends with its standard
input. ``configureFailPoint`` with ``failCommand`` makes a command fail, by an error or by closing the connection.
``forget`` removes everything.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import bson
import mongomock  # type: ignore[import-untyped,unused-ignore]
from bson import CodecOptions, DatetimeConversion, Int64, ObjectId
from pymongo import ReturnDocument, errors

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_MORE_TO_COME = 2
_EXHAUST_ALLOWED = 1 << 16
_CODEC = CodecOptions(dict, tz_aware=False, datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_FIRST_BATCH = 101

Document = dict[str, Any]
Command = Callable[["Server", Document], Document]
COMMANDS: dict[str, Command] = {}


class CommandError(Exception):
    """An error of the server's, with its number, its name, and what else stands in its document."""

    def __init__(self, text: str, code: int, name: str, **more: Any) -> None:
        super().__init__(text)
        self.document = {"ok": 0.0, "errmsg": text, "code": code, "codeName": name, **more}


class CutOffError(Exception):
    """The connection is closed without a reply."""


def command(function: Command) -> Command:
    """Add a command by its name, which MongoDB writes as ``getMore``."""
    first, *others = function.__name__.split("_")
    COMMANDS[first + "".join(map(str.capitalize, others))] = function
    return function


class Server:
    """All documents, and what is open. One command runs at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.port = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew, with the same numbers as before."""
        self.numbers = itertools.count(1000)
        self._ticks = itertools.count(1)
        self.client: Any = mongomock.MongoClient()
        self.cursors: dict[int, tuple[str, Iterator[Document]]] = {}
        self.before: tuple[Any, Document] | None = None
        self.failing: Document = {}
        self.options: Document = {}

    def reply_to(self, document: Document) -> Document:
        """Run one command."""
        name = next(iter(document))
        if COMMANDS.get(name) is hello:
            # A client greets as often as it likes.
            return {**hello(self, document), "ok": 1.0}
        with self.lock:
            try:
                self._fail(name)
                self._begin(name, document)
                run = COMMANDS.get(name)
                if run is None:
                    raise CommandError(f"no such command: '{name}'", 59, "CommandNotFound")
                return {**run(self, document), "ok": 1.0, **self._times()}
            except CommandError as error:
                return {**error.document, **self._times()}
            except errors.OperationFailure as error:
                code = error.code or 2
                return {"ok": 0.0, "errmsg": _text(error), "code": code, "codeName": "BadValue", **self._times()}
            except (NotImplementedError, errors.WriteError, ValueError, TypeError) as error:
                return {"ok": 0.0, "errmsg": str(error), "code": 2, "codeName": "BadValue", **self._times()}

    def _times(self) -> Document:
        now = bson.Timestamp(1_700_000_000, next(self._ticks))
        signature = {"hash": bytes(20), "keyId": Int64(0)}
        return {"$clusterTime": {"clusterTime": now, "signature": signature}, "operationTime": now}

    def _fail(self, name: str) -> None:
        data = self.failing.get("data", {})
        if name not in data.get("failCommands", ()):
            return
        times = self.failing["mode"]["times"]
        self.failing = {**self.failing, "mode": {"times": times - 1}} if times > 1 else {}
        if data.get("closeConnection"):
            raise CutOffError
        labels = {"errorLabels": data["errorLabels"]} if "errorLabels" in data else {}
        raise CommandError("Failing command via 'failCommand' failpoint", data["errorCode"], "FailPoint", **labels)

    def _begin(self, name: str, document: Document) -> None:
        if document.get("startTransaction"):
            self.before = (document["lsid"], copy.deepcopy(self._kept()))
            return
        continues = document.get("autocommit") is False and name not in ("commitTransaction", "abortTransaction")
        if continues and (self.before is None or self.before[0] != document["lsid"]):
            raise CommandError("Given transaction number does not match any", 251, "NoSuchTransaction")

    def _kept(self) -> Document:
        return {
            base: {name: list(self.client[base][name].find()) for name in self.client[base].list_collection_names()}
            for base in self.client.list_database_names()
        }

    def end(self, *, undo: bool) -> None:
        """End the transaction that is open."""
        if self.before is None:
            raise CommandError("No transaction started", 251, "NoSuchTransaction")
        if undo:
            for base, collections in {**{base: {} for base in self._kept()}, **self.before[1]}.items():
                for name in {*self.client[base].list_collection_names(), *collections}:
                    self.client[base][name].delete_many({})
                    if collections.get(name):
                        self.client[base][name].insert_many(collections[name])
        self.before = None

    def collection(self, document: Document) -> Any:
        """The one that a command is about."""
        return self.client[document["$db"]][next(iter(document.values()))]

    def cursor(self, document: Document, found: Iterator[Document], size: int, *, single: bool = False) -> Document:
        """The reply with the first documents. The cursor stays open where there may be more."""
        name = next(iter(document.values()))
        space = f"{document['$db']}.{name if type(name) is str else '$cmd.aggregate'}"
        number = next(self.numbers) if not single else 0
        batch = list(itertools.islice(found, size)) if size else []
        if number and (len(batch) == size or not size):
            self.cursors[number] = (space, found)
        else:
            number = 0
        return {"cursor": {"firstBatch": batch, "id": Int64(number), "ns": space}}


@command
def hello(server: Server, document: Document) -> Document:
    me = f"127.0.0.1:{server.port}"
    return {
        "helloOk": True,
        "isWritablePrimary": True,
        "ismaster": True,
        "secondary": False,
        "setName": "rs0",
        "setVersion": 1,
        "hosts": [me],
        "me": me,
        "primary": me,
        "electionId": ObjectId("7fffffff0000000000000001"),
        "logicalSessionTimeoutMinutes": 30,
        "minWireVersion": 0,
        "maxWireVersion": 25,
        "maxBsonObjectSize": 16 * 2**20,
        "maxMessageSizeBytes": 48_000_000,
        "maxWriteBatchSize": 100_000,
        "connectionId": 1,
        "readOnly": False,
    }


COMMANDS["isMaster"] = COMMANDS["ismaster"] = hello


@command
def ping(server: Server, document: Document) -> Document:
    return {}


@command
def build_info(server: Server, document: Document) -> Document:
    return {"version": "7.0.0", "versionArray": [7, 0, 0, 0], "bits": 64}


COMMANDS["buildinfo"] = build_info


@command
def forget(server: Server, document: Document) -> Document:
    server.forget()
    return {}


@command
def configure_fail_point(server: Server, document: Document) -> Document:
    server.failing = document
    return {}


@command
def end_sessions(server: Server, document: Document) -> Document:
    return {}


@command
def commit_transaction(server: Server, document: Document) -> Document:
    server.end(undo=False)
    return {}


@command
def abort_transaction(server: Server, document: Document) -> Document:
    server.end(undo=True)
    return {}


@command
def find(server: Server, document: Document) -> Document:
    _checked(document.get("filter"))
    found = server.collection(document).find(document.get("filter"), document.get("projection"))
    if document.get("sort"):
        found = found.sort(list(document["sort"].items()))
    found = found.skip(document.get("skip", 0)).limit(abs(document.get("limit", 0)))
    documents = iter(list(found))
    single = bool(document.get("singleBatch")) or document.get("limit") == 1
    return server.cursor(document, documents, document.get("batchSize", _FIRST_BATCH), single=single)


def _checked(filter_: Any) -> None:
    for value in filter_.values() if type(filter_) is dict else ():
        for name in value if type(value) is dict else ():
            if name == "$bogus":
                raise CommandError(f"unknown operator: {name}", 2, "BadValue")


@command
def get_more(server: Server, document: Document) -> Document:
    number = document["getMore"]
    if number not in server.cursors:
        raise CommandError(f"cursor id {number} not found", 43, "CursorNotFound")
    space, found = server.cursors[number]
    size = document.get("batchSize") or 10_000
    batch = list(itertools.islice(found, size))
    if len(batch) < size:
        del server.cursors[number]
    left = number if number in server.cursors else 0
    return {"cursor": {"nextBatch": batch, "id": Int64(left), "ns": space}}


@command
def kill_cursors(server: Server, document: Document) -> Document:
    killed = [number for number in document["cursors"] if server.cursors.pop(number, None)]
    return {"cursorsKilled": killed, "cursorsNotFound": [], "cursorsAlive": [], "cursorsUnknown": []}


@command
def aggregate(server: Server, document: Document) -> Document:
    if document["pipeline"] and "$changeStream" in document["pipeline"][0]:
        return server.cursor(document, iter(()), 0)
    found = server.collection(document).aggregate(document["pipeline"])
    return server.cursor(document, iter(list(found)), document["cursor"].get("batchSize", _FIRST_BATCH))


@command
def count(server: Server, document: Document) -> Document:
    return {"n": server.collection(document).count_documents(document.get("query") or {})}


@command
def distinct(server: Server, document: Document) -> Document:
    return {"values": server.collection(document).distinct(document["key"], document.get("query") or {})}


def _text(error: errors.OperationFailure) -> str:
    return str(error).partition(", full error")[0]


def _write(count: int, write: Callable[[int], None], *, ordered: bool) -> list[Document]:
    """The errors of some writes, each with its position."""
    failed: list[Document] = []
    for index in range(count):
        try:
            write(index)
        except errors.WriteError as error:
            key = error.details or {}
            failed.append({"index": index, "code": error.code or 11000, "errmsg": _text(error), **key})
            if ordered:
                break
    return failed


def _inserting(collection: Any, document: Document) -> None:
    try:
        collection.insert_one(document)
    except errors.DuplicateKeyError as error:
        key = {"_id": document["_id"]}
        raise errors.DuplicateKeyError(
            f"E11000 duplicate key error collection: {collection.full_name} dup key: {key!r}",
            11000,
            {"keyPattern": dict.fromkeys(key, 1), "keyValue": key},
        ) from error


@command
def insert(server: Server, document: Document) -> Document:
    collection, documents, done = server.collection(document), document["documents"], []

    def write(index: int) -> None:
        _inserting(collection, documents[index])
        done.append(index)

    failed = _write(len(documents), write, ordered=document.get("ordered", True))
    return {"n": len(done), **({"writeErrors": failed} if failed else {})}


def _update(collection: Any, change: Document) -> Any:
    options = {"upsert": change.get("upsert", False)}
    if type(change["u"]) is dict and not next(iter(change["u"]), "").startswith("$"):
        return collection.replace_one(change["q"], change["u"], **options)
    write = collection.update_many if change.get("multi") else collection.update_one
    filters = {"array_filters": change["arrayFilters"]} if "arrayFilters" in change else {}
    return write(change["q"], change["u"], **options, **filters)


@command
def update(server: Server, document: Document) -> Document:
    collection, changes = server.collection(document), document["updates"]
    numbers, upserted = {"n": 0, "nModified": 0}, []

    def write(index: int) -> None:
        made = _update(collection, changes[index])
        if made.upserted_id is not None:
            upserted.append({"index": index, "_id": made.upserted_id})
        numbers["n"] += made.matched_count or (made.upserted_id is not None)
        numbers["nModified"] += made.modified_count

    failed = _write(len(changes), write, ordered=document.get("ordered", True))
    return {**numbers, **({"upserted": upserted} if upserted else {}), **({"writeErrors": failed} if failed else {})}


@command
def delete(server: Server, document: Document) -> Document:
    collection, gone = server.collection(document), 0
    for each in document["deletes"]:
        gone += (collection.delete_one if each["limit"] else collection.delete_many)(each["q"]).deleted_count
    return {"n": gone}


@command
def find_and_modify(server: Server, document: Document) -> Document:
    collection, query = server.collection(document), document.get("query") or {}
    options: Document = {"projection": document.get("fields")}
    if document.get("sort"):
        options["sort"] = list(document["sort"].items())
    if document.get("remove"):
        value = collection.find_one_and_delete(query, **options)
        return {"value": value, "lastErrorObject": {"n": int(value is not None)}}
    after = ReturnDocument.AFTER if document.get("new") else ReturnDocument.BEFORE
    options |= {"upsert": document.get("upsert", False), "return_document": after}
    replaces = not next(iter(document["update"]), "").startswith("$")
    write = collection.find_one_and_replace if replaces else collection.find_one_and_update
    value = write(query, document["update"], **options)
    return {"value": value, "lastErrorObject": {"n": 1, "updatedExisting": value is not None}}


@command
def create_indexes(server: Server, document: Document) -> Document:
    collection = server.collection(document)
    before = max(len(collection.index_information()), 1)
    for index in document["indexes"]:
        collection.create_index(list(index["key"].items()), name=index["name"], unique=index.get("unique", False))
    return {"numIndexesBefore": before, "numIndexesAfter": len(collection.index_information())}


@command
def list_indexes(server: Server, document: Document) -> Document:
    found = server.collection(document).index_information()
    if not found:
        raise CommandError(f"ns does not exist: {server.collection(document).full_name}", 26, "NamespaceNotFound")
    indexes = [{"v": 2, "key": dict(each["key"]), "name": name} for name, each in found.items()]
    return server.cursor(document, iter(indexes), _FIRST_BATCH)


@command
def drop_indexes(server: Server, document: Document) -> Document:
    server.collection(document).drop_index(document["index"])
    return {}


@command
def create(server: Server, document: Document) -> Document:
    server.client[document["$db"]].create_collection(document["create"])
    return {}


@command
def drop(server: Server, document: Document) -> Document:
    server.collection(document).drop()
    return {}


@command
def drop_database(server: Server, document: Document) -> Document:
    server.client.drop_database(document["$db"])
    return {}


@command
def list_collections(server: Server, document: Document) -> Document:
    names = server.client[document["$db"]].list_collection_names()
    wanted = (document.get("filter") or {}).get("name")
    found = [{"name": name, "type": "collection", "options": {}} for name in names if wanted in (None, name)]
    return server.cursor({**document, "listCollections": "$cmd.listCollections"}, iter(found), _FIRST_BATCH)


@command
def list_databases(server: Server, document: Document) -> Document:
    found = [{"name": name, "sizeOnDisk": 0, "empty": False} for name in server.client.list_database_names()]
    return {"databases": found, "totalSize": 0}


@command
def bulk_write(server: Server, document: Document) -> Document:
    """Of a whole client: several collections at once."""
    spaces = [each["ns"].partition(".") for each in document["nsInfo"]]
    results: list[Document] = []
    totals = dict.fromkeys(("nInserted", "nMatched", "nModified", "nUpserted", "nDeleted", "nErrors"), 0)
    for index, operation in enumerate(document["ops"]):
        kind, space = next(iter(operation.items()))
        base, _, name = spaces[space]
        collection = server.client[base][name]
        result: Document = {"ok": 1.0, "idx": index, "n": 1}
        try:
            if kind == "insert":
                _inserting(collection, operation["document"])
                totals["nInserted"] += 1
            elif kind == "update":
                made = _update(collection, {"q": operation["filter"], "u": operation["updateMods"], **operation})
                result |= {"n": made.matched_count, "nModified": made.modified_count}
                totals["nMatched"] += made.matched_count
                totals["nModified"] += made.modified_count
            else:
                gone = collection.delete_many(operation["filter"]).deleted_count
                result["n"] = gone
                totals["nDeleted"] += gone
        except errors.DuplicateKeyError as error:
            result = {"ok": 0.0, "idx": index, "code": 11000, "errmsg": _text(error), "n": 0}
            totals["nErrors"] += 1
        results.append(result)
    if document.get("errorsOnly"):
        results = [each for each in results if not each["ok"]]
    number = {"id": Int64(0), "firstBatch": results, "ns": "admin.$cmd.bulkWrite"}
    return {"cursor": number, **totals}


class _Connection(socketserver.StreamRequestHandler):
    """Reads messages, and writes replies."""

    def handle(self) -> None:
        # A client that is killed says no goodbye.
        with suppress(ConnectionError):
            self._serve()

    def _serve(self) -> None:
        server: Server = self.server.mongo  # type: ignore[attr-defined]
        while header := self.rfile.read(_HEADER.size):
            size, request, _, operation = _HEADER.unpack(header)
            data = self.rfile.read(size - _HEADER.size)
            if operation != _OP_MSG:
                # The first greeting of a client is of before OP_MSG (OP_QUERY), and so is the reply (OP_REPLY).
                at = data.index(b"\0", 4) + 9
                query = bson.decode(data[at : at + struct.unpack_from("<i", data, at)[0]])
                reply = struct.pack("<iqii", 0, 0, 0, 1) + bson.encode(server.reply_to(query))
                self._write(request, reply, 1)
                continue
            flags, document = _read(data)
            try:
                reply_document = server.reply_to(document)
            except CutOffError:
                return
            if flags & _MORE_TO_COME:
                continue
            while flags & _EXHAUST_ALLOWED and reply_document.get("cursor", {}).get("id"):
                self._reply(request, reply_document, _MORE_TO_COME)
                number = reply_document["cursor"]["id"]
                reply_document = server.reply_to({"getMore": number, "batchSize": document.get("batchSize", 0)})
            self._reply(request, reply_document)

    def _reply(self, request: int, document: Document, flags: int = 0) -> None:
        self._write(request, struct.pack("<iB", flags, 0) + bson.encode(document), _OP_MSG)

    def _write(self, request: int, content: bytes, operation: int) -> None:
        self.wfile.write(_HEADER.pack(len(content) + _HEADER.size, 0, request, operation) + content)


def _read(data: bytes) -> tuple[int, Document]:
    (flags,) = struct.unpack_from("<i", data)
    document: Document = {}
    position = 4
    while position < len(data):
        kind, start = data[position], position + 1
        (size,) = struct.unpack_from("<i", data, start)
        part = data[start : start + size]
        position = start + size
        if kind == 0:
            document = {**bson.decode(part, _CODEC), **document}
        else:
            name, _, documents = part[4:].partition(b"\0")
            document[name.decode()] = bson.decode_all(documents, _CODEC)
    return flags, document


class _Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    server = Server()
    listening = _Threads(("127.0.0.1", 0), _Connection)
    listening.mongo = server  # type: ignore[attr-defined]
    server.port = listening.server_address[1]
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    print(json.dumps({"ports": {"mongo": server.port}}), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
