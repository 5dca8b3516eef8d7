"""AWS by boto3 and aiobotocore: recorded against moto's server, and replayed without it and without credentials."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers._process import ServerProcess

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("botocore_program.py")
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}


@pytest.fixture
def aws() -> Iterator[ServerProcess]:
    server = ServerProcess("tests.servers.moto_server")
    yield server
    server.close()


def _run(aws: ServerProcess, keys: dict[str, str], *arguments: str) -> Any:
    known = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {
        **known,
        **keys,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.port('aws')}",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{aws.port('metadata')}",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": str(random.randrange(1 << 32)),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, *arguments],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_replay_needs_neither_server_nor_credentials(aws: ServerProcess, tmp_path: Path) -> None:
    there = _run(aws, KEYS, "record", str(tmp_path), "off")
    assert {name: one["verdict"] for name, one in there.items()} == dict.fromkeys(there, "[]")
    aws.stop()
    again = _run(aws, {}, "replay", str(tmp_path), "off")
    for name, one in there.items():
        assert again[name]["seen"] == one["seen"], name
        assert ", 0 missed, 0 unused, 0 live" in again[name]["verdict"], name


def test_a_recording_without_secrets_replays(aws: ServerProcess, tmp_path: Path) -> None:
    there = _run(aws, KEYS, "record", str(tmp_path), "default")
    aws.stop()
    again = _run(aws, {}, "replay", str(tmp_path), "default")
    for name in there:
        written = (tmp_path / f"{name}.msgpack").read_bytes()
        for secret in (*KEYS.values(), "pw-in-the-secret"):
            assert secret.encode() not in written, name
        assert ", 0 missed, 0 unused, 0 live" in again[name]["verdict"], name
