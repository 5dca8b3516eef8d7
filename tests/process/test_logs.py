"""The app's own log records stand in the timeline of the recording, and its logging stays as it was."""

from __future__ import annotations

import io
import logging
import urllib.request
from pathlib import Path

import pytest

from tests.loopback import Loopback
from timetracer_otel import record
from timetracer_otel.cassette import read_cassette
from timetracer_otel.plugins import disable_urllib, enable_urllib
from timetracer_otel.report import json_view, log_detail, timeline
from timetracer_otel.types import Cassette

SECRET = "Bearer 7Jd93kfQ02mXpLz81"


class Asks:
    """An argument whose text asks a database, as that of a query of an ORM does."""

    asked = 0

    def __repr__(self) -> str:
        Asks.asked += 1
        return "[<Order: 1>]"


@pytest.fixture
def logger() -> logging.Logger:
    """A logger of an app, without handlers. It stands by itself, as pytest adds handlers of its own to others."""
    return logging.Logger("shop.orders", logging.DEBUG)  # noqa: LOG001


def logged(tmp_path: Path) -> Cassette:
    return read_cassette(tmp_path / "x.msgpack")


def test_records_stand_among_the_calls_in_order_of_time(logger: logging.Logger, tmp_path: Path) -> None:
    logger.addHandler(logging.NullHandler())
    enable_urllib()
    try:
        with Loopback() as upstream, record(tmp_path / "x.msgpack"):
            logger.info("asks for %s", "stock")
            request = urllib.request.Request(f"{upstream.url}/users/7", headers={"Authorization": SECRET})
            urllib.request.urlopen(request, timeout=20).close()
            logger.warning("got it with Authorization: %s", SECRET)
            logging.getLogger("timetracer_otel.inner").error("of ours")
            try:
                raise LookupError("no such item")
            except LookupError:
                logger.exception("failed")
    finally:
        disable_urllib()
    cassette = logged(tmp_path)
    assert [(each.level, each.severity, each.logger) for each in cassette.logs] == [
        ("INFO", 20, "shop.orders"),
        ("WARNING", 30, "shop.orders"),
        ("ERROR", 40, "shop.orders"),
    ]
    first, second, third = cassette.logs
    assert first.message == "asks for stock"
    assert third.error == "builtins.LookupError: no such item"
    assert 0 <= first.at_ms < cassette.events[0].start_offset_ms < second.at_ms < third.at_ms
    # What is secret in a call is secret in a record.
    assert SECRET.removeprefix("Bearer ") not in str(json_view(cassette))
    assert SECRET.removeprefix("Bearer ").encode() not in (tmp_path / "x.msgpack").read_bytes()
    assert second.message.startswith("got it with Authorization: Bearer ")
    lines = timeline(cassette, width=200)
    assert [
        "shop.orders: asks" in line or "urllib GET" in line or "shop.orders: got" in line for line in lines[2:5]
    ] == [True] * 3
    assert "shop.orders: failed (builtins.LookupError: no such item)" in lines[5]
    assert log_detail(cassette)[0].endswith(" ms INFO shop.orders: asks for stock")
    assert json_view(cassette)["logs"][0]["message"] == "asks for stock"


def test_the_logging_of_an_app_stays_as_it_was(
    logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    before = logging.Logger.callHandlers
    written = io.StringIO()
    with record(tmp_path / "x.msgpack"):
        assert root.handlers == []
        # Python's handler of last resort writes it, as there is no other one.
        logger.error("to standard error")
        logging.basicConfig(stream=written, format="%(levelname)s %(funcName)s %(message)s")
        logger.parent = root
        logger.warning("of %d", 2)
    assert capsys.readouterr().err == "to standard error\n"
    assert written.getvalue() == "WARNING test_the_logging_of_an_app_stays_as_it_was of 2\n"
    assert logging.Logger.callHandlers is before
    logger.warning("behind the block")
    assert [each.message for each in logged(tmp_path).logs] == ["to standard error", "of 2"]


def test_the_text_of_an_argument_is_made_by_the_app_alone(logger: logging.Logger, tmp_path: Path) -> None:
    logger.addHandler(logging.NullHandler())
    with record(tmp_path / "x.msgpack"):
        logger.debug("has %s", Asks())
        assert Asks.asked == 0
        logger.addHandler(logging.StreamHandler(io.StringIO()))
        logger.debug("has %s", Asks())
        assert Asks.asked == 1
        logger.debug({"an": "object"})  # type: ignore[arg-type]  # What is logged need not be a text.
    assert [each.message for each in logged(tmp_path).logs] == ["has %s", "has [<Order: 1>]", "{'an': 'object'}"]


def test_a_traceback_that_a_handler_has_formatted_is_kept(logger: logging.Logger, tmp_path: Path) -> None:
    logger.addHandler(logging.StreamHandler(io.StringIO()))
    with record(tmp_path / "x.msgpack"):
        try:
            raise LookupError("no such item")
        except LookupError:
            logger.exception("failed")
    (entry,) = logged(tmp_path).logs
    assert entry.error is not None
    assert entry.error.startswith("Traceback (most recent call last):\n")
    assert entry.error.endswith("\nLookupError: no such item")


def test_records_are_bounded_in_number_and_size_and_may_be_left_out(logger: logging.Logger, tmp_path: Path) -> None:
    logger.addHandler(logging.NullHandler())
    with record(tmp_path / "x.msgpack", log_records=2):
        logger.info("x" * 100_000)
        for number in range(3):
            logger.info("record %d \ud800", number)
    cassette = logged(tmp_path)
    assert [len(each.message) for each in cassette.logs] == [8192, len("record 0 \\ud800")]
    assert cassette.stats.dropped == {"log records over the limit": 2}
    with record(tmp_path / "x.msgpack", log_records=0):
        logger.info("not kept")
    assert logged(tmp_path).logs == ()
    assert logged(tmp_path).stats.dropped == {}
