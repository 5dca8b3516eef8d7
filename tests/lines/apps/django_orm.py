"""Lines about Django's ORM, over the shop of `tests.django_shop`.

``SHOP_DATABASE`` is a file of sqlite, or a URL of PostgreSQL or MySQL; ``REDIS_PORT`` a server of Redis, for Django's
cache. Its backends import MySQLdb, psycopg, redis, sqlite3.
"""

from __future__ import annotations

import asyncio
import io
import os
import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django_shop.settings")
django.setup()

from django.core.cache import cache  # noqa: E402 - Django must be set up
from django.core.management import call_command  # noqa: E402
from django.core.paginator import Paginator  # noqa: E402
from django.db import (  # noqa: E402
    DatabaseError,
    IntegrityError,
    connection,
    connections,
    models,
    transaction,
)
from django.db.models import Avg, Count, Exists, F, Max, OuterRef, Prefetch, Q, Sum, Window  # noqa: E402
from django.db.models.functions import Lower, RowNumber, TruncMonth  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from tests.django_shop.models import Item, Order  # noqa: E402
from tests.lines._line import Lines  # noqa: E402

_UTC = timezone.utc
LINES = Lines()


def _refused(work: Callable[[], Any]) -> Any:
    """What an error of the database says, and that of the driver beneath."""
    try:
        return work()
    except DatabaseError as error:
        cause: Any = error.__cause__
        state = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
        return (
            type(error),
            str(error),
            type(cause),
            str(cause),
            state,
            getattr(cause, "diag", None) and cause.diag.table_name,
        )


def before() -> None:
    """What the app does when it starts: Django connects, and goes on with that connection."""


@LINES.add
def objects_are_made_and_found() -> Any:
    tea = Item.objects.create(
        name="tea",
        price=Decimal("2.50"),
        stock=10,
        code=UUID(int=12),
        tags=["hot", {"kind": "green", "grams": 100.5, "sold": None}],
        picture=b"\x00\xff",
        added=datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=_UTC),
        keeps=timedelta(days=400, microseconds=7),
    )
    found = Item.objects.get(name="tea")
    rows = list(Item.objects.values_list("name", "price", "stock", "code", "tags", "added", "keeps"))
    return tea.pk, found == tea, bytes(found.picture), rows, found.price, repr(found)


@LINES.add
def many_at_once() -> Any:
    made = Item.objects.bulk_create([Item(name=f"bulk {n:02}", price=n, stock=n) for n in range(25)], batch_size=10)
    again = Item.objects.bulk_create([Item(name="bulk 00", price=7)], ignore_conflicts=True)
    merged = Item.objects.bulk_create(
        [Item(name="bulk 01", price=9, stock=99)],
        update_conflicts=True,
        update_fields=["stock"],
        unique_fields=["name"],
    )
    for item in made[:3]:
        item.stock += 100
    changed = Item.objects.bulk_update(made[:3], ["stock"])
    stocks = list(Item.objects.filter(name__startswith="bulk 0").values_list("stock", flat=True))
    return [item.pk for item in made], len(again), len(merged), changed, stocks


@LINES.add
def queries_of_many_kinds() -> Any:
    tea = Item.objects.get(name="tea")
    Order.objects.bulk_create([Order(item=tea, count=n, placed=date(2026, n, 3)) for n in (1, 2, 3)])
    with_orders = Prefetch("orders", Order.objects.filter(count__gt=1).order_by("-count"))
    months = Order.objects.annotate(month=TruncMonth("placed")).values("month").annotate(n=Count("*"))
    return [
        Item.objects.aggregate(Max("price"), total=Sum("stock"), mean=Avg("price")),
        [
            (item.name, [order.count for order in item.orders.all()])
            for item in Item.objects.prefetch_related(with_orders)[:3]
        ],
        list(Order.objects.select_related("item").filter(Q(count=1) | Q(count=3)).values_list("item__name", "count")),
        list(months.order_by("month")),
        Item.objects.filter(Exists(Order.objects.filter(item=OuterRef("pk")))).count(),
        Item.objects.filter(name="nothing").exists(),
        list(
            Item.objects.annotate(low=Lower("name"), n=Window(RowNumber(), order_by=F("name").desc())).values_list(
                "low", "n"
            )[:2]
        ),
        list(Item.objects.filter(tags__1__kind="green").values_list("name", flat=True)),
        Item.objects.in_bulk([tea.pk]),
        list(Item.objects.dates("added", "month")),
        list(Item.objects.datetimes("added", "hour")),
        [page.object_list[0].name for page in Paginator(Item.objects.all(), 10)],
        Item.objects.filter(name="bulk 09").update(stock=F("stock") + 1),
        Item.objects.filter(name="bulk 09").delete(),
        Item.objects.get_or_create(name="bulk 09", defaults={"price": 1}),
        Item.objects.update_or_create(name="bulk 09", defaults={"price": 2}),
        list(
            Item.objects.filter(name="a")
            .order_by()
            .union(Item.objects.filter(name="tea").order_by())
            .values_list("name")
        ),
        Item.objects.filter(name="tea").explain().count("\n") >= 0,
    ]


@LINES.add
def rows_one_after_the_other() -> Any:
    each = [item.name for item in Item.objects.iterator(chunk_size=3)]
    some = []
    for item in Item.objects.all().iterator(chunk_size=2):
        some.append(item.name)
        if len(some) == 3:
            break
    with transaction.atomic():
        two = zip(Item.objects.iterator(chunk_size=4), Order.objects.iterator(chunk_size=1), strict=False)
        pairs = [(item.name, order.count) for item, order in two]
    return each, some, pairs


@LINES.add
def transactions_and_savepoints() -> Any:
    told: list[str] = []
    with transaction.atomic():
        transaction.on_commit(lambda: told.append("outer"))
        Item.objects.create(name="outer", price=1)
        try:
            with transaction.atomic():
                transaction.on_commit(lambda: told.append("inner"))
                Item.objects.create(name="inner", price=1)
                Item.objects.create(name="tea", price=1)
        except IntegrityError as error:
            told.append(f"{type(error).__name__} {type(error.__cause__).__name__}")
        with transaction.atomic():
            Item.objects.create(name="kept", price=1)
        point = transaction.savepoint()
        Item.objects.create(name="undone", price=1)
        transaction.savepoint_rollback(point)
        with transaction.atomic(durable=False, savepoint=False):
            Item.objects.filter(name="kept").update(stock=3)
    try:
        with transaction.atomic():
            Item.objects.create(name="lost", price=1)
            raise ValueError("no")
    except ValueError as error:
        told.append(str(error))
    names = ["outer", "inner", "kept", "undone", "lost"]
    return told, list(Item.objects.filter(name__in=names).values_list("name", "stock")), connection.in_atomic_block


@LINES.add
def locked_rows() -> Any:
    with transaction.atomic():
        options = {"of": ("self",), "no_key": True} if connection.vendor == "postgresql" else {}
        item = Item.objects.select_for_update(**options).select_related().get(name="tea")
        item.stock -= 1
        item.save(update_fields=["stock"])
    item.refresh_from_db()
    return item.stock


@LINES.add
def a_lock_outside_a_transaction() -> Any:
    return list(Item.objects.select_for_update())


@LINES.add
def a_name_that_is_there() -> Any:
    return _refused(lambda: Item.objects.create(name="tea", price=1))


@LINES.add
def an_item_that_has_orders() -> Any:
    return Item.objects.get(name="tea").delete()


@LINES.add
def no_such_item() -> Any:
    return Item.objects.get(name="nothing")


@LINES.add
def a_broken_transaction() -> Any:
    with transaction.atomic():
        first = _refused(lambda: Item.objects.create(name="tea", price=1))
        try:
            return Item.objects.count()
        except transaction.TransactionManagementError as error:
            return first, str(error)


@LINES.add
def cursors_of_connections() -> Any:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, stock FROM django_shop_item WHERE name IN (%s, %s) ORDER BY name", ["tea", "kept"]
        )
        first = cursor.fetchone(), [column[0] for column in cursor.description], cursor.fetchall()
        cursor.executemany("UPDATE django_shop_item SET stock = %s WHERE name = %s", [(5, "kept"), (6, "outer")])
        changed = cursor.rowcount
        cursor.execute("SELECT count(*) FROM django_shop_item")
        counted = list(cursor)
    raw = [
        (item.name, item.extra)
        for item in Item.objects.raw("SELECT *, 7 AS extra FROM django_shop_item ORDER BY name")
    ]
    return first, changed, counted, raw[:2]


@LINES.add
def a_wrong_statement() -> Any:
    with connection.cursor() as cursor:
        return _refused(lambda: cursor.execute("SELECT nothing FROM nowhere"))


@LINES.add
def statements_that_are_watched() -> Any:
    seen: list[Any] = []

    def watches(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        seen.append((sql, params, many))
        return result

    with connection.execute_wrapper(watches):
        Item.objects.filter(name="tea").count()
        Order.objects.filter(count__gt=100).delete()
    with CaptureQueriesContext(connection) as captured:
        Item.objects.filter(name="tea").exists()
    return seen, [query["sql"] for query in captured.captured_queries]


@LINES.add
def what_the_connection_tells() -> Any:
    connection.ensure_connection()
    return [
        connection.vendor,
        connection.is_usable(),
        connection.get_autocommit(),
        connection.features.can_return_columns_from_insert,
        connection.get_database_version(),
        sorted(connection.introspection.table_names()),
    ]


@LINES.add
def a_connection_that_is_opened_again() -> Any:
    connection.close()
    first = Item.objects.count()
    connections.close_all()
    return first, Item.objects.count()


@LINES.add
def transactions_without_autocommit() -> Any:
    transaction.set_autocommit(False)
    try:
        Item.objects.create(name="by hand", price=1)
        transaction.rollback()
        Item.objects.create(name="by hand, too", price=1)
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    return list(Item.objects.filter(name__startswith="by hand").values_list("name", flat=True))


@LINES.add
def threads_with_connections_of_their_own() -> Any:
    counts: list[int] = []

    def work() -> None:
        with transaction.atomic():
            counts.append(Item.objects.filter(name="tea").count())
        connections.close_all()

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    return counts


@LINES.add
def coroutines() -> Any:
    async def work() -> Any:
        item = await Item.objects.aget(name="tea")
        made = await Order.objects.acreate(item=item, count=50)
        counts = [each.count async for each in item.orders.order_by("pk")]
        both = await asyncio.gather(Item.objects.acount(), Order.objects.filter(count=50).aexists())
        await made.adelete()
        return item.name, counts, both

    return asyncio.run(work())


@LINES.add
def the_cache_of_django_redis() -> Any:
    cache.set("key", {"a": [1, 2.5, None]}, 600)
    cache.set_many({"b": b"\0", "c": "text"})
    count = cache.add("d", 1), cache.incr("d"), cache.incr("d", 5)
    return (
        cache.get("key"),
        cache.get_many(["b", "c", "z"]),
        count,
        cache.delete("key"),
        cache.get("key"),
        cache.ttl("b"),
    )


@LINES.add
def requests_with_their_queries() -> Any:
    client = Client()
    answers = [
        client.post("/items", {"name": "milk", "price": "1.20", "stock": 2}, content_type="application/json"),
        client.get("/items"),
        client.get("/items/milk/order?count=2"),
        client.get("/items/milk/order"),
        client.get("/items/milk"),
        client.get("/counted"),
        client.get("/raw"),
        client.get("/stream"),
        client.get("/broken"),
    ]
    return [(each.status_code, each.getvalue()) for each in answers]


@LINES.add
def tables_that_are_made() -> Any:
    class Made(models.Model):  # type: ignore[misc, unused-ignore]
        name = models.TextField()
        number = models.IntegerField(null=True, db_index=True)

        class Meta:
            app_label = "django_shop"

    with connection.schema_editor() as editor:
        editor.create_model(Made)
    Made.objects.create(name="a")
    field = models.IntegerField(default=7)
    field.set_attributes_from_name("more")
    with connection.schema_editor() as editor:
        editor.add_field(Made, field)
    with connection.cursor() as cursor:
        columns = [
            column.name for column in connection.introspection.get_table_description(cursor, Made._meta.db_table)
        ]
    with connection.schema_editor() as editor:
        editor.delete_model(Made)
    return columns


@LINES.add
def what_is_checked() -> Any:
    said = io.StringIO()
    call_command("check", databases=["default"], stdout=said)
    return said.getvalue()
