"""New uploads in a replay with ``new_episodes``: the server gets what it gets without us, and the cassette too."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.servers._upstream import Upstream
from timetracer_otel import record, replay
from timetracer_otel.plugins import disable_aiohttp


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    yield
    disable_aiohttp()


async def _pieces(fails: bool = False) -> AsyncIterator[bytes]:
    yield b"x"
    yield b"y" * 70_000
    if fails:
        raise RuntimeError("the app's own")


def _form() -> aiohttp.FormData:
    with pytest.MonkeyPatch.context() as patched:
        # What its boundary is made of.
        patched.setattr(uuid, "uuid4", lambda: uuid.UUID(int=1))
        form = aiohttp.FormData()
    form.add_field("f", io.BytesIO(b"bin"), filename="n")
    return form


def _multipart() -> aiohttp.MultipartWriter:
    writer = aiohttp.MultipartWriter("form-data", boundary="b0undary")
    writer.append("text")
    return writer


BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"b",
    "fields": lambda: {"a": "1"},
    "file": lambda: io.BytesIO(b"abc"),
    "text file": lambda: io.StringIO("äbc"),
    "form with a file": _form,
    "multipart": _multipart,
    "generator": _pieces,
}


async def _post(url: str, body: Any, **options: Any) -> Any:
    async with aiohttp.ClientSession() as client, client.post(url, data=body, **options) as response:
        return response.status, response.headers.getall("Content-Type"), await response.json()


@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}, {"chunked": True}], ids=str)
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("known", [b"", b"another body"], ids=["new", "known otherwise"])
def test_an_upload_is_made_and_added(
    upstream: Upstream, tmp_path: Path, kind: str, known: bytes, options: dict[str, Any]
) -> None:
    path = tmp_path / "new.msgpack"
    url = upstream.url("/echo")

    def run() -> Any:
        return asyncio.run(_post(url, BODIES[kind](), **options))

    bare = run()
    with record(path):
        if known:
            asyncio.run(_post(url, known))
    with replay(path, record_mode="new_episodes"):
        assert run() == bare
    upstream.stop()
    with replay(path):
        assert run() == bare


def test_an_upload_beyond_what_a_session_records_is_whole_as_well(upstream: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "new.msgpack"
    url = upstream.url("/echo")
    bare = asyncio.run(_post(url, _pieces()))
    with record(path):
        pass
    with replay(path, record_mode="new_episodes", max_events=1):
        assert asyncio.run(_post(url, b"first"))[0] == 200
        assert asyncio.run(_post(url, _pieces())) == bare


def test_an_upload_that_the_app_breaks_off_is_not_made(upstream: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "new.msgpack"

    def run() -> Any:
        with pytest.raises(aiohttp.ClientConnectionError) as caught:
            asyncio.run(_post(upstream.url("/echo"), _pieces(fails=True)))
        return type(caught.value), str(caught.value), type(caught.value.__cause__)

    bare = run()
    with record(path):
        pass
    with replay(path, record_mode="new_episodes", fail_on_miss=False):
        assert run() == bare
