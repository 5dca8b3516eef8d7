"""Clients above http.client: slack_sdk's, httplib2, and that of Google's APIs.

They are recorded, and replayed in another process with the server stopped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.children import told_under_hash_seed
from tests.contract.observation import differences
from tests.examples import seeded
from tests.servers._process import ServerProcess

CLIENTS = ("google", "httplib2", "slack")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_is_replayed_in_another_process(client: str, tmp_path: Path) -> None:
    server = ServerProcess("tests.servers.sdk_server")
    try:
        url = f"http://127.0.0.1:{server.port('http')}"
        bare = _told(client, "bare", url, tmp_path)
        recorded = _told(client, "record", url, tmp_path)
        server.stop()
        replayed = _told(client, "replay", url, tmp_path)
    finally:
        server.close()
    assert not differences(bare["seen"], recorded["seen"])
    assert not differences(recorded["seen"], replayed["seen"])
    assert recorded["libraries"] == ["urllib"]
    assert replayed["account"] == {"missed": 0, "unused": 0, "live": {}, "blocked": 0}


def _told(client: str, mode: str, url: str, folder: Path) -> Any:
    program = Path(__file__).with_name("urllib_clients_program.py")
    seed = seeded("hash seed", client, mode).randrange(2**32)
    return told_under_hash_seed(seed, program, client, mode, url, str(folder), folder=folder, given=json.dumps({}))
