"""Run in a process of its own: calls to AWS, recorded or replayed.

Usage: ``botocore_program.py record|replay FOLDER REDACT`` with ``AWS_ENDPOINT_URL`` in the environment. Prints what
the calls of each case gave as JSON, with the types of the values; the verdict of its replay; and, in a recording, the
libraries whose calls its events are.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from unittest import mock
from urllib.request import urlopen

import boto3
import requests
import urllib3
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from timetracer_otel import record, replay
from timetracer_otel.plugins import enable_aiohttp, enable_botocore, enable_requests

CONFIG = Config(region_name="us-east-1", s3={"addressing_style": "path"}, retries={"max_attempts": 2})
CASES: dict[str, Callable[[], Any]] = {}


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    """Add a case by the name of its function."""
    CASES[function.__name__] = function
    return function


def client(name: str, config: Config = CONFIG, **options: Any) -> Any:
    return boto3.session.Session().client(name, config=config, **options)


@case
def s3() -> Any:
    made = client("s3")
    large = bytes(range(256)) * 40_000
    found = [made.create_bucket(Bucket="shop"), made.put_object(Bucket="shop", Key="a/ü 1", Body=b"\x00\xff one")]
    # Parts go at the same time, in threads.
    made.upload_fileobj(io.BytesIO(large), "shop", "large")
    back = io.BytesIO()
    made.download_fileobj("shop", "large", back)
    found += [back.getvalue() == large, made.get_object(Bucket="shop", Key="a/ü 1")]
    found.append(made.get_object(Bucket="shop", Key="large", Range="bytes=5-9"))
    for number in range(5):
        made.put_object(Bucket="shop", Key=f"page/{number}", Body=str(number))
    pages = made.get_paginator("list_objects_v2").paginate(Bucket="shop", PaginationConfig={"PageSize": 2})
    found.append([each["Key"] for page in pages for each in page.get("Contents", [])])
    made.get_waiter("object_exists").wait(Bucket="shop", Key="large")
    found.append(made.generate_presigned_url("get_object", {"Bucket": "shop", "Key": "large"}).partition("?")[0])
    try:
        made.get_object(Bucket="shop", Key="none")
    except made.exceptions.NoSuchKey as error:
        found += [type(error).__qualname__, str(error), error.response]
    return found


@case
def presigned() -> Any:
    made = client("s3")
    made.create_bucket(Bucket="signed")
    where = {"Bucket": "signed", "Key": "a b"}
    put = requests.put(made.generate_presigned_url("put_object", where), data=b"by requests", timeout=30)
    got = made.generate_presigned_url("get_object", where, ExpiresIn=60)
    with urlopen(got, timeout=30) as answer:
        read = answer.read()
    form = made.generate_presigned_post("signed", "form")
    posted = requests.post(form["url"], data=form["fields"], files={"file": b"by a form"}, timeout=30)
    newer = client("s3", CONFIG.merge(Config(signature_version="s3v4")))
    other = urllib3.request("GET", newer.generate_presigned_url("get_object", where))
    none = urllib3.request("GET", newer.generate_presigned_url("get_object", {**where, "Key": "none"}))
    found = [put.status_code, read, urllib3.request("GET", got).data, posted.status_code]
    return [*found, other.data, none.status, none.data]


@case
def attempts() -> Any:
    """A call that is made again, and one that is given up."""
    made = client("dynamodb", endpoint_url=os.environ["BUSY"])
    found: list[Any] = []
    with mock.patch.object(time, "sleep"):
        answer = made.list_tables(Limit=1)
        found += [answer["TableNames"], answer["ResponseMetadata"]["RetryAttempts"]]
        try:
            made.list_tables(Limit=2)
        except ClientError as error:
            found += [type(error).__qualname__, str(error), error.response["ResponseMetadata"]["RetryAttempts"]]
    return found


def model(fails: bool) -> dict[str, Any]:
    """What a model of Bedrock's is asked."""
    return {"modelId": "m", "body": json.dumps({"say": ["tea", "token sk-" + "Q7x" * 16], "fails": fails})}


@case
def streams_of_events() -> Any:
    made = client("bedrock-runtime", endpoint_url=os.environ["BUSY"])
    found: list[Any] = [len(list(made.invoke_model_with_response_stream(**model(False))["body"]))]
    try:
        for event in made.invoke_model_with_response_stream(**model(True))["body"]:
            found.append(event["chunk"]["bytes"][:5])  # noqa: PERF401 - what came before the error counts
    except EventStreamError as error:
        found += [type(error).__qualname__, str(error)]
    shard = {
        "ConsumerARN": "arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1",
        "ShardId": "shardId-0",
        "StartingPosition": {"Type": "LATEST"},
    }
    records = client("kinesis", endpoint_url=os.environ["BUSY"]).subscribe_to_shard(**shard)["EventStream"]
    return [*found, list(records)]


@case
def s3_select() -> Any:
    made = client("s3")
    made.create_bucket(Bucket="tables")
    made.put_object(Bucket="tables", Key="t.json", Body=b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n')
    answer = made.select_object_content(
        Bucket="tables",
        Key="t.json",
        ExpressionType="SQL",
        Expression="SELECT * FROM S3Object",
        InputSerialization={"JSON": {"Type": "LINES"}},
        OutputSerialization={"JSON": {}},
    )
    return list(answer["Payload"])


@case
def sqs() -> Any:
    made = client("sqs")
    url = made.create_queue(QueueName="jobs")["QueueUrl"]
    found = [made.send_message(QueueUrl=url, MessageBody="one"), made.receive_message(QueueUrl=url)]
    handle = found[1]["Messages"][0]["ReceiptHandle"]
    return [*found, made.delete_message(QueueUrl=url, ReceiptHandle=handle), made.list_queues()]


@case
def dynamodb() -> Any:
    made = client("dynamodb")
    made.create_table(
        TableName="things",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    made.get_waiter("table_exists").wait(TableName="things")
    key = {"id": {"S": "1"}}
    item = {**key, "n": {"N": "3.14159265358979"}, "raw": {"B": b"\x00\xff"}, "set": {"SS": ["a", "b"]}}
    found = [made.put_item(TableName="things", Item=item), made.get_item(TableName="things", Key=key)]
    # The same URL and the same body as before: only a header names the operation.
    found += [made.delete_item(TableName="things", Key=key), made.get_item(TableName="things", Key=key)]
    try:
        made.get_item(TableName="none", Key=key)
    except ClientError as error:
        found += [type(error).__qualname__, error.response["Error"]]
    table = boto3.session.Session().resource("dynamodb", config=CONFIG).Table("things")
    table.put_item(Item={"id": "2", "password": "hunter2-is-no-password"})
    return [*found, table.get_item(Key={"id": "2"})["Item"].keys(), table.scan()["Count"]]


@case
def sts_and_secrets() -> Any:
    made = client("sts")
    role = made.assume_role(RoleArn="arn:aws:iam::123456789012:role/app", RoleSessionName="tests")["Credentials"]
    temporary = client(
        "secretsmanager",
        aws_access_key_id=role["AccessKeyId"],
        aws_secret_access_key=role["SecretAccessKey"],
        aws_session_token=role["SessionToken"],
    )
    # A token that makes the call idempotent is made anew by botocore each time.
    temporary.create_secret(Name="database", SecretString='{"user": "app", "password": "pw-in-the-secret"}')
    secret = temporary.get_secret_value(SecretId="database")
    return [made.get_caller_identity()["Account"], sorted(json.loads(secret["SecretString"])), sorted(role)]


@case
def aiobotocore() -> Any:
    async def work() -> Any:
        async with get_session().create_client("s3", config=CONFIG) as made:
            found = [await made.create_bucket(Bucket="async")]
            found.append(await made.put_object(Bucket="async", Key="k", Body=b"value"))
            answer = await made.get_object(Bucket="async", Key="k")
            async with answer["Body"] as stream:
                found.append(await stream.read())
            pages = made.get_paginator("list_objects_v2").paginate(Bucket="async")
            found.append([each["Key"] async for page in pages for each in page["Contents"]])
            await made.get_waiter("object_exists").wait(Bucket="async", Key="k")
            upload = {"Bucket": "async", "Key": "parts"}
            upload["UploadId"] = (await made.create_multipart_upload(**upload))["UploadId"]
            part = await made.upload_part(**upload, PartNumber=1, Body=b"a part")
            parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
            found.append((await made.complete_multipart_upload(**upload, MultipartUpload=parts))["Key"])
        async with get_session().create_client(
            "bedrock-runtime", config=CONFIG, endpoint_url=os.environ["BUSY"]
        ) as made:
            answer = await made.invoke_model_with_response_stream(**model(False))
            return [*found, [event["chunk"]["bytes"][:5] async for event in answer["body"]]]

    return asyncio.run(work())


OLDER: dict[str, Any] = {}
"""A client that is made before the recording or the replay begins."""


@case
def older_client() -> Any:
    return [OLDER["sts"].get_caller_identity()["Account"], OLDER["s3"].list_buckets()["Owner"]]


def typed(value: Any) -> Any:
    """A value with the types of all that is in it, for JSON."""
    kind = type(value).__qualname__
    if isinstance(value, dict):
        return [kind, {str(key): typed(item) for key, item in value.items()}]
    if isinstance(value, (list, tuple)) or kind == "dict_keys":
        return [kind, [typed(item) for item in value]]
    if hasattr(value, "read"):
        return [kind, str(value.read())]
    return [kind, repr(value)]


def traced() -> InMemorySpanExporter:
    """What keeps the spans of OpenTelemetry's own instrumentation, which sessions switch on then."""
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    return spans


def shown(spans: InMemorySpanExporter) -> Any:
    """The spans of a case: names, kinds, statuses, the spans around them, and the names of their attributes."""
    finished = spans.get_finished_spans()
    spans.clear()
    names = {span.context.span_id: span.name for span in finished if span.context is not None}
    return sorted(
        [
            span.name,
            span.kind.name,
            span.status.status_code.name,
            names.get(span.parent.span_id) if span.parent is not None else None,
            sorted({*(span.attributes or {})} - {"timetracer.replayed"}),
        ]
        for span in finished
    )


def main(mode: str, folder: Path, redact: Literal["default", "off"]) -> None:
    spans = traced() if redact == "default" else InMemorySpanExporter()
    OLDER.update(sts=client("sts"), s3=client("s3"))
    enable_botocore()
    enable_aiohttp()
    enable_requests()
    found = {}
    for name, work in CASES.items():
        if redact == "off" and work is presigned:
            # Such a recording compares a URL as it is, and the credentials of the replay are others.
            continue
        path = folder / f"{name}.msgpack"
        if mode == "record":
            with record(path, redact=redact) as recording:
                seen = typed(work())
            events = recording.events
            verdict = str([event.not_replayable for event in events if event.not_replayable])
        else:
            with replay(path) as session:
                seen = typed(work())
            verdict, events = str(session.verdict()).splitlines()[0], []
        made_by = sorted({event.signature.lib for event in events})
        found[name] = {"seen": seen, "verdict": verdict, "made_by": made_by, "spans": shown(spans)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), "off" if sys.argv[3] == "off" else "default")
