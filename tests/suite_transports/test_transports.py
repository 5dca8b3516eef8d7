"""The transports of Logfire and Datadog: they send in a recording and in a replay, and are no part of either.

``make suite-transports`` has both clients in an environment of its own. Each loads a plugin of pytest wherever it is
installed, and Datadog's client is a compiled library of tens of megabytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lines._runs import Apps, Step, unlike
from tests.lines._servers import collecting, serving
from timetracer_otel.cassette import read_cassette

SPANS = {
    "logfire_transport": {"sold", "sold out"},
    "datadog_transport": {"sold", "requests.request", "http.request", "sold out"},
}
ASKED = {"logfire_transport": "GET /v1/info", "datadog_transport": "GET /info"}
"""What each of them asks its server before it sends."""


@pytest.fixture
def collector() -> Iterator[tuple[str, Callable[[], Counter[str]]]]:
    with collecting() as found:
        yield found


@pytest.mark.parametrize("way", ["process", "block"])
@pytest.mark.parametrize("name", list(SPANS))
def test_what_an_app_tells_of_itself_goes_on_and_counts_nowhere(
    name: str, way: str, collector: tuple[str, Callable[[], Counter[str]]], tmp_path: Path
) -> None:
    url, received = collector
    apps = Apps(name)
    told: dict[str, Counter[str]] = {}

    def run(step: str, **variables: str) -> Step:
        given = {**variables, "COLLECTOR": url}
        if way == "block" and step != "bare":
            # What the app does when it starts is done before the block, in the replay as well.
            done = apps.run_within("block", step, tmp_path, 1, **given, SERVERS="1")
        else:
            done = apps.run(step, tmp_path, 1, **given)
        told[step] = received()
        return done

    with serving(apps, tmp_path) as servers:
        bare = run("bare", **servers.variables)
        recorded = run("record", **servers.variables)
        assert servers.take_hits() == {"/users/1": 2, "/users/2": 2}
        variables = dict(servers.variables)
    replayed = run("replay", **variables)
    assert unlike(bare.seen, recorded.seen) == []
    assert unlike(bare.seen, replayed.seen) == []
    assert replayed.account == "2 hit, 0 missed, 0 unused, 0 live"
    cassette = read_cassette(apps.cassette(tmp_path))
    assert [event.signature.lib for event in cassette.events] == ["requests", "httpx"]
    assert cassette.stats.connections == {}
    assert "no replay can answer" not in recorded.said
    for step, counts in told.items():
        # Logfire sends a span that takes long when it begins, too.
        assert SPANS[name] <= counts.keys(), (step, counts)
        assert counts[ASKED[name]], (step, counts)
