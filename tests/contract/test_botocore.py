"""AWS by boto3 and aiobotocore: recorded against moto's server, and replayed without it and without credentials."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import pytest

from tests import forks
from tests.examples import drawn
from tests.servers._process import ServerProcess

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("botocore_program.py")
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}


CREDENTIALS = PROGRAM.with_name("botocore_credentials_program.py")
SOURCES = drawn([["metadata", "role"]], "sources of credentials")


class Recorded(NamedTuple):
    """What a program saw while it was recorded, and the folder of its cassettes."""

    seen: Any
    folder: Path
    again: Callable[..., Any]
    """Replays it without the server, given the variables of its credentials."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Recorded]]:
    """By name of a recording. One server, which takes seconds to start, makes all of them, and is then stopped."""
    server = ServerProcess("tests.servers.moto_server")
    made: dict[str, Recorded] = {}

    def make(name: str, keys: dict[str, str], *arguments: str, program: Path = PROGRAM) -> None:
        folder = tmp_path_factory.mktemp(name)
        urlopen(Request(f"http://127.0.0.1:{server.port('aws')}/moto-api/reset", method="POST")).close()
        seen = _run(server, keys, "record", str(folder), *arguments, program=program)

        def again(keys: dict[str, str]) -> Any:
            return _run(server, keys, "replay", str(folder), *arguments, program=program)

        made[name] = Recorded(seen, folder, again)

    make("off", KEYS, "off")
    make("default", KEYS, "default")
    if "metadata" in SOURCES:
        make("metadata", {}, program=CREDENTIALS)
    if "role" in SOURCES:
        make("role", _roles(tmp_path_factory.mktemp("roles")), program=CREDENTIALS)
    make("without credentials", {"AWS_EC2_METADATA_DISABLED": "true"}, program=CREDENTIALS)
    server.stop()
    yield made
    server.close()


def _run(aws: ServerProcess, keys: dict[str, str], *arguments: str, program: Path = PROGRAM) -> Any:
    known = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {
        **known,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.port('aws')}",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{aws.port('metadata')}",
        "BUSY": f"http://127.0.0.1:{aws.port('busy')}",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": str(ROOT),
        **keys,
    }
    # A replay has another hash seed than its recording.
    turn = int("replay" in arguments)
    done = forks.run("-W", "ignore", str(program), *arguments, cwd=ROOT, env=environment, turn=turn)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_replay_needs_neither_server_nor_credentials(recorded: dict[str, Recorded]) -> None:
    there = recorded["off"].seen
    assert {name: one["verdict"] for name, one in there.items()} == dict.fromkeys(there, "[]")
    again = recorded["off"].again({})
    for name, one in there.items():
        assert again[name]["seen"] == one["seen"], name
        assert ", 0 missed, 0 unused, 0 live" in again[name]["verdict"], name


def test_a_recording_without_secrets_replays(recorded: dict[str, Recorded]) -> None:
    there, folder, replay = recorded["default"]
    # A request is one event, of the client beneath botocore. The span of botocore around it is no call of its own.
    assert {name: one["verdict"] for name, one in there.items()} == dict.fromkeys(there, "[]")
    others = {"aiobotocore": ["aiohttp"], "presigned": ["requests", "urllib", "urllib3"]}
    assert {name: one["made_by"] for name, one in there.items()} == {
        name: others.get(name, ["urllib3"]) for name in there
    }
    again = replay({})
    for name in there:
        written = (folder / f"{name}.msgpack").read_bytes()
        for secret in (*KEYS.values(), "pw-in-the-secret"):
            assert secret.encode() not in written, name
        assert ", 0 missed, 0 unused, 0 live" in again[name]["verdict"], name
        assert again[name]["spans"] == there[name]["spans"], name
    # OpenTelemetry's instrumentation of botocore makes the spans of a replay.
    assert "SQS.ListQueues" in [name for name, *_ in there["sqs"]["spans"]]
    for name in ("attempts", "presigned"):
        assert again[name]["seen"] == there[name]["seen"]
    content = "b'by requests'"
    assert [text for _, text in there["presigned"]["seen"][1]][:4] == ["200", content, content, "204"]
    assert [text for _, text in there["attempts"]["seen"][1]][1] == "1"
    # A chunk of Bedrock's stream has a token in it.
    assert again["streams_of_events"]["seen"] == there["streams_of_events"]["seen"]
    assert "EventStreamError" in str(there["streams_of_events"]["seen"])
    assert "a record" in str(there["streams_of_events"]["seen"])


def _roles(folder: Path) -> dict[str, str]:
    """A role that STS gives, by a configuration file."""
    config = folder / "config"
    lines = ["[default]", "role_arn = arn:aws:iam::123456789012:role/app", "credential_source = Ec2InstanceMetadata"]
    config.write_text("\n".join(lines))
    return {"AWS_CONFIG_FILE": str(config)}


@pytest.mark.sweep
@pytest.mark.parametrize("source", SOURCES)
def test_what_is_asked_for_credentials_is_not_unused(recorded: dict[str, Recorded], source: str) -> None:
    there = recorded[source].seen
    again = recorded[source].again({})
    assert {name: one["seen"] for name, one in again.items()} == {name: one["seen"] for name, one in there.items()}
    assert there["new"]["seen"] == ["123456789012"] * 2
    # The calls of the app, and those that botocore made for itself.
    assert there["new"]["events"] > 2


@pytest.mark.sweep
@pytest.mark.parametrize("keys", drawn([[{}, KEYS]], "keys of a replay"), ids=lambda keys: "some" if keys else "none")
def test_a_recording_without_credentials_replays_without(recorded: dict[str, Recorded], keys: dict[str, str]) -> None:
    there = recorded["without credentials"].seen
    again = recorded["without credentials"].again(keys)
    missing = ["NoCredentialsError", "Unable to locate credentials"]
    assert {name: one["seen"] for name, one in there.items()} == {
        "new": [missing] * 2,
        "older": [missing] * 2,
        "asyncio": missing,
    }
    assert again["new"]["seen"] == there["new"]["seen"]
    assert again["asyncio"]["seen"] == there["asyncio"]["seen"]
    if not keys:
        # Otherwise, the client found some before the replay began.
        assert again["older"]["seen"] == there["older"]["seen"]
