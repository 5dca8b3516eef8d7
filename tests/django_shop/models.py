"""What the shop sells, and who ordered it."""

from __future__ import annotations

import uuid

from django.db import models

__all__ = ["Item", "Order"]


class Item(models.Model):  # type: ignore[misc, unused-ignore]
    """Something that is sold."""

    name = models.CharField(max_length=40, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField(default=0)
    code = models.UUIDField(default=uuid.UUID(int=7))
    tags = models.JSONField(default=list)
    picture = models.BinaryField(default=b"")
    added = models.DateTimeField(null=True)
    keeps = models.DurationField(null=True)

    class Meta:
        """Items stand in the order of their names."""

        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):  # type: ignore[misc, unused-ignore]
    """Somebody wants some of an item."""

    item = models.ForeignKey(Item, models.PROTECT, related_name="orders")
    count = models.PositiveIntegerField()
    placed = models.DateField(null=True)
