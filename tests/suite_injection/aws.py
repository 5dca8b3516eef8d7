"""Workloads of AWS: botocore's calls, with credentials that it asks the metadata service of EC2 for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.suite_injection.servers import Servers, seen, seen_async

__all__ = ["AWS"]


@contextmanager
def _as_raised() -> Iterator[None]:
    """botocore makes an error of its own of what its HTTP client raises. That one is looked at."""
    from botocore.exceptions import HTTPClientError

    from timetracer_otel.exceptions import ReplayMismatchError

    try:
        yield
    except HTTPClientError as error:
        if isinstance(error.__context__, ReplayMismatchError):
            raise error.__context__ from None
        raise


def _seen(call: Callable[[], Any]) -> str:
    with_miss = _as_raised()(call)
    return seen(with_miss)


async def _seen_async(call: Callable[[], Any]) -> str:
    async def with_miss() -> Any:
        with _as_raised():
            return await call()

    return await seen_async(with_miss)


def _session(made: Any, servers: Servers) -> Any:
    made.set_config_variable("ec2_metadata_service_endpoint", servers.metadata)
    return made


def _options(servers: Servers, config: Callable[..., Any]) -> dict[str, Any]:
    settings = config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
    return {"region_name": "us-east-1", "endpoint_url": servers.aws, "config": settings}


def botocore(servers: Servers) -> list[str]:
    from botocore.config import Config
    from botocore.session import Session

    session = _session(Session(), servers)
    s3 = session.create_client("s3", **_options(servers, Config))
    sts = session.create_client("sts", **_options(servers, Config))

    def got() -> Any:
        stream = s3.get_object(Bucket="shop", Key="a")["Body"]
        return stream.read(2), stream.read()

    return [
        _seen(lambda: s3.create_bucket(Bucket="shop")["ResponseMetadata"]["HTTPStatusCode"]),
        _seen(lambda: s3.put_object(Bucket="shop", Key="a", Body=b"\x00 one")["ETag"]),
        _seen(got),
        _seen(lambda: s3.get_object(Bucket="shop", Key="none")),
        _seen(lambda: [each["Key"] for each in s3.list_objects_v2(Bucket="shop")["Contents"]]),
        _seen(lambda: sts.get_caller_identity()["Account"]),
    ]


def aiobotocore(servers: Servers) -> list[str]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    async def work() -> list[str]:
        session = _session(AioSession(), servers)
        async with session.create_client("s3", **_options(servers, AioConfig)) as s3:

            async def got() -> Any:
                async with (await s3.get_object(Bucket="shop", Key="a"))["Body"] as stream:
                    return await stream.read()

            async def put() -> Any:
                return (await s3.put_object(Bucket="shop", Key="a", Body=b"\x00 one"))["ETag"]

            async def made() -> Any:
                return (await s3.create_bucket(Bucket="shop"))["ResponseMetadata"]["HTTPStatusCode"]

            return [await _seen_async(each) for each in (made, put, got)]

    return asyncio.run(work())


AWS: dict[str, Callable[[Servers], list[str]]] = {work.__name__: work for work in (botocore, aiobotocore)}
