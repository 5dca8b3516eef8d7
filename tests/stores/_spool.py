"""Spools with cassettes, and the places that they are shipped to."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

from tests.sample_cassettes import checkout
from tests.servers._process import ServerProcess
from timetracer_otel.cassette import CassetteStore
from timetracer_otel.storage.finding import Question, download, rows_of
from timetracer_otel.storage.objects import Objects
from timetracer_otel.types import Cassette

__all__ = ["KEYS", "BUCKET", "aws_environment", "fill", "make_bucket", "remote_ids", "spooled_ids"]

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "recordings"


def fill(folder: Path, number: int, *, service: str = "shop", recorded_at: str | None = None) -> list[str]:
    """Put cassettes into a spool, and give the ids of their sessions."""
    store = CassetteStore(folder)
    ids = []
    for _ in range(number):
        cassette = checkout()
        session_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
        cassette.session = replace(
            cassette.session,
            id=session_id,
            trace_id=f"{random.getrandbits(128):032x}",
            service=service,
            recorded_at=recorded_at or cassette.session.recorded_at,
        )
        store.put(cassette)
        ids.append(session_id)
    return ids


def spooled_ids(folder: Path) -> list[str]:
    """The sessions whose cassettes lie in a spool."""
    return [head.session.id for head in CassetteStore(folder).heads() if isinstance(head, Cassette)]


def remote_ids(url: str, folder: Path) -> Counter[str]:
    """The sessions of which object storage gives whole cassettes, each as often as it does."""
    rows = rows_of(Objects(url), Question(), whole=True)
    files = download(url, rows, folder)
    found: Sequence[Cassette] = [CassetteStore(folder).get(file) for _, file in files]
    assert all(len(each.events) == 5 and each.complete for each in found)
    return Counter(each.session.id for each in found)


def aws_environment(port: int) -> dict[str, str]:
    """Where the drivers of S3 find a server of this machine, and keys for it."""
    endpoint = f"http://127.0.0.1:{port}"
    return {**KEYS, "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_EC2_METADATA_DISABLED": "true"}


def make_bucket(server: ServerProcess) -> None:
    """An empty bucket on a server that moto plays."""
    at = f"http://127.0.0.1:{server.port('aws')}"
    urlopen(Request(f"{at}/moto-api/reset", method="POST")).close()
    urlopen(Request(f"{at}/{BUCKET}", method="PUT")).close()
