"""Google's clients of Pub/Sub and Firestore, recorded against servers of the tests, and replayed with these stopped.

Each side is a process of its own, under a hash seed of its own: the entries of a map have another order in each.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest

from tests.children import told_under_hash_seed
from tests.contract.framework import deadline
from tests.servers._process import ServerProcess
from timetracer_otel import record, replay

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

    @pytest.fixture
    def server() -> Iterator[ServerProcess]:
        server = ServerProcess("tests.servers.google_server")
        with deadline(60):
            yield server
        server.close()

    class Subscriber:
        """What Google's client does with gRPC, at times of our own: it pulls by a stream, and publishes beside it."""

        def __init__(self, channel: Any) -> None:
            from google.pubsub_v1 import types

            self._types = types
            self._channel = channel
            for name in ("shop", "unheard"):
                self._ask("Publisher", "CreateTopic", types.Topic(name=name))
            self._ask("Subscriber", "CreateSubscription", types.Subscription(name="all", topic="shop"))
            self._said: queue.Queue[Any] = queue.Queue()
            self.pulling = channel.stream_stream("/google.pubsub.v1.Subscriber/StreamingPull")(
                iter(self._said.get, None), timeout=20
            )
            self._said.put(self._bytes(types.StreamingPullRequest(subscription="all")))

        def beats(self) -> None:
            """Send what keeps the stream open."""
            self._said.put(b"")

        def publishes(self, topic: str, text: str) -> None:
            """Publish a message."""
            types = self._types
            message = types.PubsubMessage(data=text.encode())
            self._ask("Publisher", "Publish", types.PublishRequest(topic=topic, messages=[message]))

        def ends(self) -> None:
            """Pull no more."""
            self.pulling.cancel()
            self._said.put(None)

        def _ask(self, service: str, method: str, message: Any) -> None:
            self._channel.unary_unary(f"/google.pubsub.v1.{service}/{method}")(self._bytes(message), timeout=20)

        def _bytes(self, message: Any) -> bytes:
            made: bytes = type(message).serialize(message)
            return made

    def test_what_keeps_a_stream_open_may_come_at_other_times(server: ServerProcess, tmp_path: Path) -> None:
        def work(*beats: int) -> list[bytes]:
            with grpc.insecure_channel(f"127.0.0.1:{server.port('google')}") as channel:
                subscriber = Subscriber(channel)
                heard = []
                for text, count in zip(("one", "two"), beats, strict=True):
                    for _ in range(count):
                        subscriber.beats()
                    time.sleep(0.1)
                    subscriber.publishes("shop", text)
                    heard.append(next(subscriber.pulling))
                subscriber.ends()
                return heard

        with record(tmp_path / "x.msgpack"):
            found = work(1, 0)
        server.stop()
        for beats in ((1, 0), (0, 0), (0, 1), (2, 1)):
            with replay(tmp_path / "x.msgpack") as session:
                assert work(*beats) == found
            assert session.verdict().ok

    def test_a_replay_that_is_slow_gets_what_was_recorded(server: ServerProcess, tmp_path: Path) -> None:
        def work(pause_s: float) -> Any:
            heard: queue.Queue[Any] = queue.Queue()

            def hear() -> None:
                try:
                    for message in subscriber.pulling:
                        heard.put(message)
                except BaseException as error:
                    heard.put(type(error).__name__)

            with grpc.insecure_channel(f"127.0.0.1:{server.port('google')}") as channel:
                subscriber = Subscriber(channel)
                hearing = threading.Thread(target=hear)
                hearing.start()
                seen = []
                for text in ("one", "two"):
                    for topic in ("unheard", "shop"):
                        time.sleep(pause_s)
                        # Nothing comes before it is published, and the stream does not fail.
                        assert heard.empty()
                        subscriber.publishes(topic, text)
                    seen.append(heard.get(timeout=10))
                time.sleep(pause_s)
                subscriber.ends()
                hearing.join()
                return [*seen, heard.get(timeout=10), heard.empty()]

        with record(tmp_path / "x.msgpack"):
            found = work(0)
        server.stop()
        with replay(tmp_path / "x.msgpack") as session:
            assert work(0.6) == found
        assert session.verdict().ok
