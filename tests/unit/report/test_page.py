"""The page of ``timetracer-otel view``: what it holds, and that nothing of a recording is markup or code in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any

import pytest

from tests.sample_cassettes import cassette, http_event
from tests.sample_pages import HOSTILE, many, of_everything, sql_event
from timetracer_otel.exceptions import ReplayMismatchError
from timetracer_otel.report import event_detail, timeline
from timetracer_otel.report.page import Account, comparison_data, document, recording_data
from timetracer_otel.report.page.document import _MODULES
from timetracer_otel.types import Cassette, LogEntry, Verdict

FILES = files("timetracer_otel.report.page") / "files"


def data_in(page: str) -> dict[str, Any]:
    """What the page's script reads."""
    found: dict[str, Any] = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    return found


def hostile() -> Cassette:
    made = cassette(
        [
            http_event(1, "http://a/" + HOSTILE[0], status=200),
            sql_event(2, HOSTILE[1], start_ms=1.0, description=[[HOSTILE[2], 1]], rows=[(text,) for text in HOSTILE]),
        ]
    )
    made.request.method, made.request.path = "GET", HOSTILE[0]
    made.logs = tuple(LogEntry(1.0, "INFO", 20, text, text, text) for text in HOSTILE)
    made.session.service = HOSTILE[1]
    return made


def test_the_lines_are_those_of_show() -> None:
    made = of_everything()
    data = data_in(document(recording_data(made)))
    assert [row["name"] for row in data["rows"]] == [
        re.sub(r"^#?\d* +[│├└─ ]*", "", line[: line.index("  ", 12)] if "  " in line[12:] else line).strip()
        for line in timeline(made, width=1000)[2 : 2 + len(data["rows"])]
    ]
    assert [event["eid"] for event in data["events"]] == [1, 2, 3, 6, 7, 8, 4, 5]
    select = next(event for event in data["events"] if event["eid"] == 6)
    assert (select["start_ms"], select["took_ms"], select["ended_ms"], select["kind"]) == (40.0, 12.0, 35.0, "sql")
    assert select["reply"]["rows"][0] == [1, {"type": "Decimal", "value": "19.90"}, "Ada"]
    first = data["events"][0]
    assert first["start_ms"] == 0.0
    body = "\n".join(first["response"]["body"])
    assert body
    assert all(line.strip() in "\n".join(event_detail(made.events[0])) for line in body.split("\n"))
    assert data["logs"][2]["error"].endswith("timed out")
    assert data["pseudonyms"] == ["tok-5f2c9a77"]


def test_a_replay_marks_the_calls_that_it_answered_and_those_that_nobody_made() -> None:
    made = of_everything()
    error = ReplayMismatchError("no recorded answer")
    verdict = Verdict(hits=(made.events[0],), misses=(error,), unused=(made.events[1],), live={"redis": 2})
    data = recording_data(made, Account.of(verdict))
    states = {event["eid"]: event.get("state") for event in data["events"]}
    assert (states[1], states[2], states[5]) == ("hit", "unused", "observed")
    account = data["account"]
    assert (account["hits"], account["unused"], account["live"]) == (1, 1, {"redis": 2})
    assert account["misses"] == [str(error)]


def test_two_recordings_are_paired_and_compared_as_diff_does() -> None:
    before, after = of_everything(), of_everything()
    after.events = [event for event in after.events if event.eid != 2]
    after.response.status = 500
    data = data_in(document(comparison_data(before, after)))
    assert [change["kind"] for change in data["comparison"]["calls"]] == ["gone"]
    assert data["comparison"]["answer"] == ["status: 200 -> 500"]
    assert [was for was, now in data["pairs"] if was != now] == []
    assert {was for was, _ in data["pairs"]} == {1, 3, 4, 5, 6, 7, 8}


def test_no_text_of_a_recording_is_markup() -> None:
    page = document(recording_data(hostile()))
    # Two scripts, that of the data and ours, and nothing between the data and its end.
    assert page.count("<script") == page.count("</script") == 2
    for text in ("window.pwned", "<img", "<svg", "\u2028", "\u202e]]"):
        outside = page.replace(page.partition('id="data">')[2].partition("</script>")[0], "")
        assert text not in outside.replace(page[: page.index("<style>")], "")
    head = page[: page.index("<style>")]
    assert "<title>GET &lt;/script&gt;&lt;script&gt;window.pwned=1" in head
    inside = page.partition('id="data">')[2].partition("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(inside)
    data = data_in(page)
    assert [log["message"] for log in data["logs"]][:2] == list(HOSTILE[:2])
    page.encode()


def test_the_policy_allows_our_script_and_style_alone_and_no_connection() -> None:
    page = document(recording_data(of_everything()))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    style = page.partition("<style>")[2].partition("</style>")[0]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    assert policy[1] == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"https?://|//[a-z]+\.|url\(|@import|\bsrc=|<link", script + style)


def test_the_modules_stand_behind_what_they_import_and_share_no_name() -> None:
    assert sorted(f"{name}.js" for name in _MODULES) == sorted(
        each.name for each in FILES.iterdir() if each.name.endswith(".js")
    )
    names: list[str] = []
    for at, module in enumerate(_MODULES):
        text = (FILES / f"{module}.js").read_text("utf-8")
        imported = re.findall(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', text, re.MULTILINE)
        assert len(imported) == len(re.findall(r"^import ", text, re.MULTILINE))
        for asked, other in imported:
            assert other in _MODULES[:at], f"{module} imports {other}"
            exported = re.findall(
                r"^export (?:function|class|const) (\w+)", (FILES / f"{other}.js").read_text("utf-8"), re.MULTILINE
            )
            assert {name.strip() for name in asked.split(",") if name.strip()} <= set(exported)
        names += re.findall(r"^(?:export )?(?:function|class|const|let) (\w+)", text, re.MULTILINE)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("number", [3000])
def test_long_rows_and_bodies_are_cut_and_say_so(number: int) -> None:
    made = cassette(
        [sql_event(1, "SELECT 1", start_ms=0.0, description=[["n", 23]], rows=[(n,) for n in range(number)])]
    )
    made.events[0].result.reply["text"] = "x" * 300_000
    reply = recording_data(made)["events"][0]["reply"]
    assert len(reply["rows"]) == 1001
    assert reply["rows"][-1] == "… 2000 more"
    assert len(reply["text"]) == 200_001
    assert len(document(recording_data(many(number)))) < 1500 * number
