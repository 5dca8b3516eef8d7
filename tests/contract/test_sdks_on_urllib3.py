"""Clients of APIs that stand on urllib3 and have no plugin of their own: recorded, and replayed with nobody there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.children import told_under_hash_seed
from tests.examples import seeded
from tests.servers.apis import Apis
from timetracer_otel.cassette import read_cassette

_PROGRAM = Path(__file__).with_name("sdk_program.py")


@pytest.mark.sweep
def test_clients_of_elasticsearch_kubernetes_s3_and_opensearch_replay_in_another_process(tmp_path: Path) -> None:
    cassette = tmp_path / "sdks.msgpack"

    def run(mode: str, url: str) -> Any:
        seed = seeded("hash seed of SDKs", mode).randrange(2**32)
        return told_under_hash_seed(seed, _PROGRAM, mode, str(cassette), url, folder=tmp_path)

    with Apis() as server:
        bare = run("bare", server.url)
        asked, url = Counter(server.hits), server.url
        server.reset()
        recorded = run("record", url)
        assert server.hits == asked
    assert recorded == bare
    events = read_cassette(cassette).events
    assert {event.signature.lib for event in events} == {"urllib3"}
    assert [event.not_replayable for event in events] == [None] * asked.total()
    replayed = run("replay", url)
    assert replayed["seen"] == recorded["seen"]
    assert replayed["account"] == f"{asked.total()} hit, 0 missed, 0 unused, 0 live"
    # What each of them is asked for, so that none of them failed before it asked.
    seen = recorded["seen"]
    assert "'result': 'created'" in seen["elasticsearch"][0]
    assert seen["elasticsearch"][2][0] == "NotFoundError"
    assert seen["elasticsearch"][6] == "200"
    assert seen["kubernetes"][2][0] == "ApiException"
    assert seen["kubernetes"][4] == repr([("MODIFIED", phase) for phase in ("Pending", "Running", "Succeeded")])
    assert seen["minio"][2] == repr([b"ab", b"c", '"e-1"'])
    assert seen["minio"][3][0] == "S3Error"
    assert "'result': 'created'" in seen["opensearch"][0]
    assert seen["opensearch"][2][0] == "NotFoundError"
    assert "acknowledged" in seen["opensearch"][4]
