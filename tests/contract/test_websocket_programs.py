"""Programs that stand on WebSockets: recorded, and replayed in another process with nobody there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.children import told_under_hash_seed
from tests.contract.websocket_program import PROGRAMS
from tests.examples import drawn, seeded
from tests.servers._process import ServerProcess
from timetracer_otel.cassette import read_cassette

_BY_CLIENT = [[name for name in sorted(PROGRAMS) if name.endswith(end)] for end in ("_aiohttp", "_client", "s")]
"""The programs by the client that they stand on: aiohttp, websocket-client, and websockets."""
if find_spec("openai") is not None:
    # Not with the oldest releases. It stands on websockets, too.
    _BY_CLIENT.append(["openai_realtime"])
_PROGRAM = Path(__file__).with_name("websocket_program.py")


@pytest.mark.sweep
@pytest.mark.parametrize("name", drawn(_BY_CLIENT, "programs on WebSockets"))
def test_a_program_replays_in_another_process(tmp_path: Path, name: str) -> None:
    cassette = tmp_path / "x.msgpack"
    server = ServerProcess("tests.servers.realtime_server")
    address = f"127.0.0.1:{server.port('http')}"

    def run(mode: str) -> Any:
        seed = seeded("hash seed of WebSockets", mode, name).randrange(2**32)
        return told_under_hash_seed(seed, _PROGRAM, mode, str(cassette), address, name, folder=tmp_path)

    try:
        bare = run("bare")
        recorded = run("record")
    finally:
        server.stop()
    assert recorded["seen"] == bare["seen"]
    events = read_cassette(cassette).events
    assert [event.not_replayable for event in events] == [None] * len(events)
    assert any("conversation" in (event.result.reply or {}) for event in events)
    replayed = run("replay")
    server.close()
    assert replayed["seen"] == recorded["seen"]
    # Times and identifiers of the clients are bound.
    assert replayed["account"].partition(" live")[0] == f"{len(events)} hit, 0 missed, 0 unused, 0"
