"""Makes the tables."""

from __future__ import annotations

import uuid

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc, unused-ignore]
    """The first one."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            "Item",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=40, unique=True)),
                ("price", models.DecimalField(decimal_places=2, max_digits=8)),
                ("stock", models.IntegerField(default=0)),
                ("code", models.UUIDField(default=uuid.UUID(int=7))),
                ("tags", models.JSONField(default=list)),
                ("picture", models.BinaryField(default=b"")),
                ("added", models.DateTimeField(null=True)),
                ("keeps", models.DurationField(null=True)),
            ],
            {"ordering": ("name",)},
        ),
        migrations.CreateModel(
            "Order",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False)),
                ("count", models.PositiveIntegerField()),
                ("placed", models.DateField(null=True)),
                (
                    "item",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="orders",
                        to="django_shop.item",
                    ),
                ),
            ],
        ),
    )
