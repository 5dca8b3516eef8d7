"""Run in a process of its own: clients of APIs that stand on urllib3, bare, recorded or replayed.

Usage: ``sdk_program.py bare|record|replay CASSETTE URL``. Prints, by client, what the app sees.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import timetracer_otel


def _tried(call: Callable[[], Any]) -> Any:
    try:
        return repr(call())
    except timetracer_otel.TimetracerError:
        raise
    except Exception as error:
        return [type(error).__name__, str(error)]


def elasticsearch(url: str) -> Any:
    from elasticsearch import Elasticsearch, helpers

    options: Any = {"http_compress": True, "retry_on_status": [503], "node_class": "urllib3"}
    with Elasticsearch(f"{url}/es", **options) as client:
        seen = [
            _tried(lambda: client.index(index="books", id="1", document={"title": "Faust", "n": 1.5}).body),
            _tried(lambda: client.get(index="books", id="1").body),
            _tried(lambda: client.get(index="books", id="2")),
            _tried(lambda: client.exists(index="books", id="1")),
            _tried(lambda: client.search(index="books", query={"match_all": {}}).body),
            _tried(lambda: client.search(index="books", query={"match_all": {}}).body),
            _tried(lambda: client.indices.refresh(index="busy").meta.status),
        ]
        actions = [{"_index": "books", "_id": str(n), "_source": {"n": n}} for n in range(20)]
        return [*seen, _tried(lambda: list(helpers.streaming_bulk(client, actions, chunk_size=7)))]


def kubernetes(url: str) -> Any:
    from kubernetes import client, watch  # type: ignore[import-untyped]

    where = client.Configuration(host=f"{url}/k8s")
    with client.ApiClient(where) as api:
        core = client.CoreV1Api(api)
        pod = client.V1Pod(metadata=client.V1ObjectMeta(name="job"), spec=client.V1PodSpec(containers=[]))
        return [
            _tried(lambda: [each.metadata.name for each in core.list_namespaced_pod("shop").items]),
            _tried(lambda: core.create_namespaced_pod("shop", pod).metadata.name),
            _tried(lambda: core.delete_namespaced_pod("gone", "shop")),
            _tried(lambda: core.read_namespaced_pod_log("web-1", "shop", _preload_content=False).data),
            _tried(
                lambda: [
                    (event["type"], event["object"].status.phase)
                    for event in watch.Watch().stream(core.list_namespaced_pod, "shop", timeout_seconds=5)
                ][:3]
            ),
        ]


def minio(url: str) -> Any:
    from minio import Minio

    client = Minio(url.removeprefix("http://"), access_key="app", secret_key="s3cret-of-the-app", secure=False)

    def read(name: str) -> Any:
        answer = client.get_object("shelf", name)
        try:
            return [answer.read(2), answer.read(), answer.headers["ETag"]]
        finally:
            answer.close()
            answer.release_conn()

    return [
        _tried(lambda: client.bucket_exists("shelf")),
        _tried(lambda: client.put_object("shelf", "a.txt", io.BytesIO(b"abc"), 3).etag),
        _tried(lambda: read("a.txt")),
        _tried(lambda: read("none.txt")),
        _tried(lambda: [each.object_name for each in client.list_objects("shelf")]),
        _tried(lambda: client.stat_object("shelf", "a.txt").last_modified),
    ]


def opensearch(url: str) -> Any:
    from opensearchpy import OpenSearch, helpers  # type: ignore[import-untyped]

    client = OpenSearch(f"{url}/es", http_compress=True, retry_on_status=[503])
    actions = [{"_index": "plays", "_id": str(n), "_source": {"n": n}} for n in range(3)]
    try:
        return [
            _tried(lambda: client.index(index="plays", id="1", body={"title": "Faust"})),
            _tried(lambda: client.get(index="plays", id="1")),
            _tried(lambda: client.get(index="plays", id="2")),
            _tried(lambda: client.search(index="plays", body={"query": {"match_all": {}}})),
            _tried(lambda: client.indices.refresh(index="busy-too")),
            _tried(lambda: list(helpers.streaming_bulk(client, actions))),
        ]
    finally:
        client.close()


def main(mode: str, cassette: str, url: str) -> None:
    session: Any = nullcontext() if mode == "bare" else getattr(timetracer_otel, mode)(cassette)
    with session as current:
        seen = {each.__name__: each(url) for each in (elasticsearch, kubernetes, minio, opensearch)}
    print(json.dumps({"seen": seen, "account": str(current.verdict()) if mode == "replay" else ""}))


if __name__ == "__main__":
    main(*sys.argv[1:])
