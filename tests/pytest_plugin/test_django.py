"""Tests of Django's own kinds, under pytest-django: recorded once, and replayed with no database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.children import ROOT
from tests.django_shop.serving import DATABASES, Shop, serving
from tests.pytest_plugin._suites import run
from timetracer_otel.cassette import read_cassette

pytest_plugins = ["pytester"]

SUITE = """
from decimal import Decimal

import pytest
from django.test import TestCase, TransactionTestCase
from tests.django_shop.models import Item, Order


@pytest.mark.timetracer
class ShopTests(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.tea = Item.objects.create(name="tea", price=Decimal("2.50"), stock=3)

    def setUp(self):
        self.milk = Item.objects.create(name="milk", price=1)

    def test_orders(self):
        assert Item.objects.count() == 2
        assert self.client.get("/items/tea/order?count=2").json()["left"] == 1

    def test_what_another_test_did_is_undone(self):
        assert Item.objects.get(name="tea").stock == self.tea.stock == 3
        with self.assertNumQueries(1):
            assert not list(Order.objects.all())
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            self.client.get("/items/tea/order?count=1")
        assert len(callbacks) == 1


@pytest.mark.timetracer("flushed")
class FlushedTests(TransactionTestCase):
    def test_tables_are_emptied(self):
        Item.objects.create(name="salt", price=1)
        assert Item.objects.count() == 1


@pytest.mark.timetracer
@pytest.mark.django_db
def test_a_function():
    Item.objects.create(name="salt", price=1)
    assert [item.name for item in Item.objects.all()] == ["salt"]


@pytest.mark.timetracer
@pytest.mark.django_db(transaction=True)
def test_a_function_with_transactions(client):
    Item.objects.create(name="salt", price=1)
    assert client.get("/raw").json()["rows"] == [["salt", 0]]


@pytest.mark.timetracer
def test_a_fixture(db, client):
    assert client.get("/items").json() == {"items": []}
"""
COUNT = SUITE.count("def test_")
BY_CONFIG = """
import pytest

@pytest.fixture(scope="session")
def timetracer_config(timetracer_config):
    return {**timetracer_config, "record_mode": "all"}
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The suite in its folder."""
    pytester.makepyfile(test_shop=SUITE)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return pytester


def _tell(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in shop.variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("database", [*DATABASES, "postgresql by psycopg2"])
def test_tests_of_django_replay_with_no_database(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: str
) -> None:
    database, _, driver = database.partition(" by ")
    with serving(database, tmp_path, SHOP_DRIVER=driver) as shop:
        _tell(shop, monkeypatch)
        run(suite, runner="django").assert_outcomes(passed=COUNT)
    run(suite, runner="django").assert_outcomes(passed=COUNT)
    for name in ("undone", "a_fixture"):
        chosen = run(suite, "-k", name, "--timetracer-record-mode=none", runner="django")
        chosen.assert_outcomes(passed=1, deselected=COUNT - 1)
    cassettes = suite.path / "cassettes"
    of_class = read_cassette(cassettes / "test_shop" / "ShopTests.setUpClass.msgpack")
    assert "INSERT" in {event.signature.method for event in of_class.events}
    assert (cassettes / "flushed.setUpClass.msgpack").exists()


def test_a_test_that_is_recorded_anew_has_a_database_beside_replayed_ones(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serving("sqlite", tmp_path) as shop:
        _tell(shop, monkeypatch)
        run(suite, runner="django").assert_outcomes(passed=COUNT)
        for name in ("test_a_function", "ShopTests.test_orders"):
            (suite.path / "cassettes" / "test_shop" / f"{name}.msgpack").unlink()
        # Data of a class that is replayed is in no database: the class is recorded as a whole.
        (suite.path / "cassettes" / "test_shop" / "ShopTests.setUpClass.msgpack").unlink()
        (suite.path / "cassettes" / "test_shop" / "ShopTests.test_what_another_test_did_is_undone.msgpack").unlink()
        run(suite, runner="django").assert_outcomes(passed=COUNT)
        suite.makeconftest(BY_CONFIG)
        chosen = run(suite, "-k", "a_fixture", runner="django")
        chosen.assert_outcomes(passed=1, deselected=COUNT - 1)
    suite.path.joinpath("conftest.py").unlink()
    run(suite, runner="django").assert_outcomes(passed=COUNT)
