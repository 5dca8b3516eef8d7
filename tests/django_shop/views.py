"""The pages of the shop."""

from __future__ import annotations

import json
from typing import Any

from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import Count, F, Sum
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse

from tests.django_shop.models import Item, Order

__all__ = ["broken", "counted", "items", "order", "page", "raw", "stream"]


def items(request: HttpRequest) -> HttpResponse:
    """All items; or one more."""
    if request.method == "POST":
        given = json.loads(request.body)
        made = Item.objects.create(**given)
        return JsonResponse({"id": made.pk}, status=201)
    found = Item.objects.annotate(ordered=Sum("orders__count")).values("name", "price", "stock", "tags", "ordered")
    return JsonResponse({"items": list(found)})


@transaction.atomic
def order(request: HttpRequest, name: str) -> HttpResponse:
    """Order some of an item, where there are enough."""
    told: list[str] = []
    count = int(request.GET.get("count", "1"))
    item = Item.objects.select_for_update().get(name=name)
    made = Order.objects.create(item=item, count=count)
    transaction.on_commit(lambda: told.append("committed"))
    with transaction.atomic():
        Item.objects.filter(pk=item.pk).update(stock=F("stock") - count)
    item.refresh_from_db()
    if item.stock < 0:
        transaction.set_rollback(True)
        return JsonResponse({"left": item.stock + count}, status=409)
    return JsonResponse({"order": made.pk, "left": item.stock})


def counted(request: HttpRequest) -> HttpResponse:
    """How often each item was ordered, kept in the cache."""

    def count() -> Any:
        return list(Item.objects.annotate(times=Count("orders")).values_list("name", "times"))

    return JsonResponse({"counted": cache.get_or_set("counted", count, 600)})


def raw(request: HttpRequest) -> HttpResponse:
    """By a cursor."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, stock FROM django_shop_item WHERE stock >= %s ORDER BY name", [0])
        return JsonResponse({"rows": cursor.fetchall(), "columns": [column[0] for column in cursor.description]})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Item by item."""
    return StreamingHttpResponse(f"{item.name}\n" for item in Item.objects.iterator(chunk_size=2))


def broken(request: HttpRequest) -> HttpResponse:
    """A name that there is already."""
    from django.db import IntegrityError

    try:
        with transaction.atomic():
            Item.objects.create(name="tea", price=1)
    except IntegrityError as error:
        return HttpResponse(type(error).__name__, status=409)
    return HttpResponse(status=200)


async def page(request: HttpRequest, name: str) -> HttpResponse:
    """One item, asked for with asyncio."""
    item = await Item.objects.aget(name=name)
    made = await Order.objects.acreate(item=item, count=1)
    counts = [each.count async for each in item.orders.order_by("pk")]
    return JsonResponse({"name": item.name, "order": made.pk, "counts": counts})
