"""The page of ``timetracer-otel view`` in a real browser: ``make suite-browser``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sample_pages import HOSTILE, many, of_everything
from tests.suite_browser.chromium import Page, browser
from tests.unit.report.test_page import hostile
from timetracer_otel.report.page import Account, comparison_data, document, recording_data


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages are. With ``TEST_PICTURES``, that folder, to look at what was drawn."""
    named = os.environ.get("TEST_PICTURES")
    return Path(named) if named else tmp_path_factory.mktemp("pages")


def opened(
    page: Page, folder: Path, name: str, data: dict[str, Any], *, dark: bool = False, width: int = 1400
) -> None:
    path = folder / f"{name}.html"
    path.write_text(document(data), "utf-8")
    page.window(width, 860, dark=dark)
    page.open(path)
    page.run("try { localStorage.clear() } catch {}")


def names(page: Page) -> list[str]:
    """The calls, log records and spans on the screen."""
    found: list[str] = page.run(
        "[...document.querySelectorAll('.scroller .row')].sort((one, other) => "
        "one.dataset.at - other.dataset.at).map((row) => row.querySelector('.name').textContent)"
    )
    return found


def detail(page: Page) -> str:
    text: str = page.run("document.querySelector('.detail').innerText")
    return text


def quiet(page: Page) -> None:
    """Nothing went wrong, and nothing was asked for but the file."""
    assert page.troubles == []
    assert [url for url in page.requests if not url.startswith("file:")] == []


def test_a_click_gives_everything_of_a_call(page: Page, folder: Path) -> None:
    opened(page, folder, "everything", recording_data(of_everything()))
    assert page.run("document.querySelector('h1').textContent") == "POST /checkout"
    assert "httpx GET http://127.0.0.1:8001/users/7" in names(page)
    page.click(".row.sql")
    text = detail(page)
    assert "SELECT o.id, o.total, c.name\nFROM orders AS o\nLEFT JOIN customers c ON" in text
    assert "WHERE o.user_id = %(user_id)s\n  AND o.made BETWEEN '2026-01-01' AND now()\nORDER BY" in text
    assert "19.90" in text
    assert "NULL" in text
    assert "user_id" in text
    assert "took 12 ms, was read until 75 ms" in text
    assert "shop.stock: only 2 left" in text
    page.click(".row.redis")
    assert "SET cart:7 '{\"items\": []}' EX 60" in detail(page).replace('"{\\"items\\": []}"', "'{\"items\": []}'")
    page.click(".row.http.failed")
    assert "httpx:ReadTimeout: timed out" in detail(page)
    page.click(".row.root")
    assert "checkout begun" in detail(page)
    assert page.run("document.querySelector('.detail mark.secret').textContent") == "tok-5f2c9a77"
    quiet(page)


def test_calls_are_searched_and_filtered_and_reached_by_the_keyboard(page: Page, folder: Path) -> None:
    opened(page, folder, "everything", recording_data(of_everything()))
    whole = names(page)
    page.press("/")
    page.write("left join")
    assert [name for name in names(page) if "psycopg" in name] == names(page)[1:]
    page.press("Escape")
    assert names(page) == whole
    page.press("End")
    assert "payment failed" in detail(page)
    page.press("Home")
    page.press("ArrowDown")
    assert "#1 httpx GET" in detail(page)
    page.press("n")
    assert "ReadTimeout" in detail(page)
    page.click(".chip.http")
    assert not [name for name in names(page) if name.startswith("httpx")]
    page.click(".chip.http")
    page.click(".chip.trouble")
    assert len(names(page)) < len(whole)
    page.click(".chip.trouble")
    assert names(page) == whole
    widths = "document.querySelector('.row.sql .answered').getBoundingClientRect().width"
    page.click(".row.sql")
    before = page.run(widths)
    page.press("+")
    assert page.run(widths) > before * 1.5
    page.press("0")
    assert page.run(widths) == before
    page.press("Escape")
    assert page.run("getComputedStyle(document.querySelector('.detail')).display") == "none"
    quiet(page)


@pytest.mark.parametrize("dark", [False, True])
def test_it_is_dark_or_light_as_the_system_or_the_reader_says(page: Page, folder: Path, dark: bool) -> None:
    opened(page, folder, "everything", recording_data(of_everything()), dark=dark)
    paper = "getComputedStyle(document.body).backgroundColor"
    by_system = page.run(paper)
    page.picture(folder / f"everything-{'dark' if dark else 'light'}.png")
    seen = {by_system}
    for _ in range(2):
        page.press("t")
        seen.add(page.run(paper))
    assert seen == {"rgb(255, 255, 255)", "rgb(18, 22, 29)"}
    assert by_system == ("rgb(18, 22, 29)" if dark else "rgb(255, 255, 255)")
    # Text can be read on what is below it.
    worst = page.run(_CONTRAST)
    assert worst["ratio"] >= 4.4, worst
    quiet(page)


_CONTRAST = """(() => {
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => [r, g, b].map((c) => linear(c / 255))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const below = (at) => {
    for (; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0.9) return color;
    }
    return [255, 255, 255];
  };
  let worst = { ratio: 99 };
  for (const at of document.querySelectorAll("header *, .calls *, .detail *, footer *")) {
    if (![...at.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim())) continue;
    const [one, other] = [light(channels(getComputedStyle(at).color)), light(below(at))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < worst.ratio) worst = { ratio, text: at.textContent.slice(0, 60), name: at.className };
  }
  return worst;
})()"""


def test_five_thousand_calls_are_in_the_list_and_a_few_lines_in_the_page(page: Page, folder: Path) -> None:
    opened(page, folder, "many", recording_data(many(5000)))
    drawn = "document.querySelectorAll('.scroller .row').length"
    assert page.run(drawn) < 80
    page.press("End")
    assert page.run(drawn) < 80
    assert any("item:4998" in name for name in names(page))
    page.run("document.querySelector('.scroller').scrollTop = 60000")
    page.settle()
    assert page.run(drawn) < 80
    page.press("/")
    page.write("items/4001")
    assert [name for name in names(page) if "4001" in name] == ["httpx GET http://api/items/4001"]
    page.press("Escape")
    # The line that was chosen before is still the chosen one, and on the screen.
    assert page.run("document.querySelector('.row[aria-selected=true] .number').textContent") == "#5000"
    assert "#5000" in detail(page)
    page.picture(folder / "many.png")
    quiet(page)


@pytest.mark.parametrize("open_at", [".row.http", ".row.sql", ".row.log"])
def test_a_recording_can_run_nothing(page: Page, folder: Path, open_at: str) -> None:
    opened(page, folder, "hostile", recording_data(hostile()))
    page.click(open_at)
    page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.run("window.pwned") is None
    assert (
        page.run("document.querySelectorAll('.detail :is(img, svg, script), .scroller :is(img, svg, script)').length")
        == 0
    )
    if open_at == ".row.log":
        assert HOSTILE[0] in detail(page)
    quiet(page)
    # And if a script found its way into the page, the policy would keep it from running.
    page.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.pwned = 9'}))"
    )
    page.run("document.querySelector('footer').setAttribute('onclick', 'window.pwned = 9')")
    page.click("footer")
    assert page.run("window.pwned") is None
    refused = page.run("fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => String(error))")
    assert "Failed to fetch" in refused
    assert any("Content Security Policy" in text for text in page.troubles)


def test_two_recordings_are_shown_beside_each_other(page: Page, folder: Path) -> None:
    before, after = of_everything(), of_everything()
    after.events = [event for event in after.events if event.eid != 2]
    next(event for event in after.events if event.eid == 1).result.status = 404
    after.response.status = 500
    opened(page, folder, "diff", comparison_data(before, after))
    assert "200" in detail(page)
    assert "500" in detail(page)
    assert page.run("document.querySelector('.row.gone .number').textContent") == "#2"
    page.click(".row.changed")
    text = detail(page)
    assert "status: 200 404" in " ".join(text.split()) or ("200" in text and "404" in text)
    assert "Before" in text
    assert "After" in text
    page.click(".chip.changed")
    assert (
        len(
            page.run(
                "[...document.querySelectorAll('.scroller .row .number')].map((at) => at.textContent).filter(Boolean)"
            )
        )
        == 2
    )
    page.picture(folder / "diff.png")
    quiet(page)


def test_what_a_replay_did_stands_beside_the_calls(page: Page, folder: Path) -> None:
    account = Account(
        6, ("no recorded answer for httpx GET http://a/",), ("refused: db:5432",), frozenset({2}), {"redis": 1}
    )
    opened(page, folder, "account", recording_data(of_everything(), account))
    told = " ".join(page.run("document.querySelector('.account').innerText").split())
    assert told == "6 hit 1 missed 1 unused 1 live 1 blocked"
    statuses = page.run(
        "[...document.querySelectorAll('.row.refused .status, .row.live .status')].map((at) => at.textContent)"
    )
    assert sorted(statuses) == ["blocked", "live", "missed"]
    assert page.run("document.querySelector('.row.unused .number').textContent") == "#2"
    page.click(".row.refused")
    assert "no recorded answer for httpx GET" in detail(page)
    quiet(page)


def test_a_narrow_window_shows_the_list_or_the_detail(page: Page, folder: Path) -> None:
    opened(page, folder, "narrow", recording_data(of_everything()), width=420)
    page.press("Escape")
    assert page.run("document.documentElement.scrollWidth") <= 420
    page.picture(folder / "narrow.png")
    page.click(".row.sql")
    assert "psycopg" in detail(page)
    assert page.run("getComputedStyle(document.querySelector('.calls')).display") == "none"
    assert json.loads(page.run("document.getElementById('data').textContent"))["view"] == "recording"
