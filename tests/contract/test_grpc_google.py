"""Google's clients of Pub/Sub and Firestore, recorded against servers of the tests, and replayed with these stopped.

Each side is a process of its own, under a hash seed of its own: the entries of a map have another order in each.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.children import told_under_hash_seed
from tests.servers._process import ServerProcess

if find_spec("google.cloud") is not None and find_spec("google.cloud.firestore") is not None:

    @pytest.mark.timeout(600)
    def test_pubsub_and_firestore_run_without_their_servers(tmp_path: Path) -> None:
        seen = {}
        verdict = ""
        program = Path(__file__).with_name("grpc_google_program.py")
        for seed, mode in enumerate(("bare", "record")):
            server = ServerProcess("tests.servers.google_server")
            try:
                address = f"127.0.0.1:{server.port('google')}"
                seen[mode], _ = told_under_hash_seed(
                    seed, program, mode, str(tmp_path / "x.msgpack"), address, folder=tmp_path
                )
                server.stop()
                if mode == "record":
                    seen["replay"], verdict = told_under_hash_seed(
                        7, program, "replay", str(tmp_path / "x.msgpack"), address, folder=tmp_path
                    )
            finally:
                server.close()
        assert seen["record"] == seen["bare"]
        assert seen["replay"] == seen["bare"]
        assert "hit, 0 missed, 0 unused, 0 live" in verdict
