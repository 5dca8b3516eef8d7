"""What a notebook shows of a cassette, a session and a verdict, and what a prompt does."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tests.loopback import Loopback
from tests.sample_cassettes import checkout
from tests.sample_pages import HOSTILE, of_everything
from tests.unit.report.test_page import hostile
from timetracer_otel import record, replay
from timetracer_otel.cassette import read_cassette
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.plugins import disable_urllib, enable_urllib
from timetracer_otel.types import Verdict


class Tags(HTMLParser):
    """The tags of a text, whether they are closed, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def html_of(value: Any) -> str:
    made: str = value._repr_html_()
    return made


def test_a_cassette_shows_its_calls() -> None:
    made = of_everything()
    shown = Tags(html_of(made))
    assert shown.open == []
    assert not shown.seen & {"script", "img", "svg", "style"}
    for text in (
        "POST /checkout",
        "httpx GET http://127.0.0.1:8001/users/7",
        "ReadTimeout",
        "shop.stock: only 2 left",
    ):
        assert text in shown.text
    assert repr(made) == f"<Cassette {made.session.id[:8]}: POST /checkout -> 200, 8 calls>"


def test_no_text_of_a_cassette_is_markup() -> None:
    shown = Tags(html_of(hostile()))
    assert not shown.seen & {"script", "img", "svg"}
    assert HOSTILE[0] in shown.text


def test_a_verdict_shows_what_was_missed() -> None:
    events = checkout().events
    good = Verdict(hits=tuple(events), cassette_path="x.msgpack")
    bad = Verdict(hits=tuple(events), misses=(ReplayMismatchError("<b>no</b> answer"),))
    assert repr(good) == "<Verdict ok: 5 hit, 0 missed, 0 unused, 0 live, x.msgpack>"
    assert repr(bad) == "<Verdict not ok: 5 hit, 1 missed, 0 unused, 0 live>"
    assert Tags(html_of(good)).text.startswith("ok\n")
    shown = Tags(html_of(bad))
    assert "<b>no</b> answer" in shown.text
    assert shown.text.startswith("not ok\n")


def test_a_session_shows_what_it_has_by_now(tmp_path: Path) -> None:
    import urllib.request

    enable_urllib()
    try:
        with Loopback() as upstream, record(tmp_path / "x.msgpack") as recording:
            assert re.fullmatch(r"<TraceSession [0-9a-f]{8}: recording, 0 calls>", repr(recording))
            urllib.request.urlopen(f"{upstream.url}/users/7", timeout=20).close()
            assert repr(recording).endswith(": recording, 1 call>")
            assert f"{upstream.url}/users/7" in Tags(html_of(recording)).text
        with replay(tmp_path / "x.msgpack", fail_on_unused=False) as replayed:
            assert re.search(r" of .*x\.msgpack: 0 hit, 0 missed>$", repr(replayed))
            urllib.request.urlopen(f"{upstream.url}/users/7", timeout=20).close()
            assert re.search(r": 1 hit, 0 missed>$", repr(replayed))
            assert "1 hit" in Tags(html_of(replayed)).text
    finally:
        disable_urllib()
    # The repr of a cassette that is read in part reads no events.
    read = read_cassette(tmp_path / "x.msgpack")
    assert ", 1 call, " in repr(read)
