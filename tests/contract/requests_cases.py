"""The cases that only requests has: its sessions, adapters, hooks, and the urllib3 response below it."""

from __future__ import annotations

import io
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import requests
import urllib3
from cachecontrol import CacheControl
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3.util.retry import Retry

from tests.contract.framework import CaseList
from tests.contract.http_flavour import Pieces
from tests.contract.observation import attempt, observe_error, plain
from tests.contract.requests_flavour import (
    RequestsFlavour,
    observe_failure,
    observe_jar,
    observe_request,
    observe_response,
    observe_retries,
    steady,
)
from timetracer_otel import ReplayMismatchError

__all__ = ["REQUESTS_CASES", "case"]

case = CaseList()
REQUESTS_CASES = case.cases

SHORT = 0.4


def _try(function: Any) -> Any:
    """What a call returns or raises, observed."""
    try:
        value = function()
    except ReplayMismatchError:
        raise
    except Exception as error:
        return observe_failure(error)
    return observe_response(value) if isinstance(value, requests.Response) else steady(plain(value))


# The ways to call


@case(8)
async def top_level_functions(f: RequestsFlavour) -> Any:
    verify = f.session().verify
    seen = [
        _try(lambda name=name: getattr(requests, name)(f.url(f"/echo?{name}"), verify=verify))
        for name in ("get", "options", "head", "delete")
    ]
    seen += [
        _try(lambda name=name: getattr(requests, name)(f.url("/echo"), json={"by": name}, verify=verify))
        for name in ("post", "put", "patch")
    ]
    return [*seen, _try(lambda: requests.request("GET", f.url("/echo"), headers={"X": b"bytes"}))]


@case(4)
async def defaults_of_the_session(f: RequestsFlavour) -> Any:
    with f.session() as s:
        s.params = {"always": "1"}
        s.headers = requests.structures.CaseInsensitiveDict({"X-A": "1"})
        s.auth = ("user", "pass")
        s.cookies.set("c", "1")
        return [
            _try(lambda: s.get(f.url("/echo"), params={"b": ["2", "3"]})),
            _try(lambda: s.get(f.url("/echo"), headers={"X-A": None})),
            _try(lambda: s.get(f.url("/auth/basic"))),
            _try(lambda: s.get(f.url("/echo"), cookies={"d": "2"})),
            observe_jar(s.cookies),
        ]


@case(3)
async def prepared_request_sent_by_hand(f: RequestsFlavour) -> Any:
    with f.session() as s:
        plainly = requests.Request("POST", f.url("/counter/p"), json={"a": 1}).prepare()
        of_session = s.prepare_request(requests.Request("GET", f.url("/echo"), hooks={"response": [_mark]}))
        return [
            _try(lambda: s.send(plainly)),
            _try(lambda: s.send(plainly, timeout=5)),
            _try(lambda: s.send(of_session, verify=True)),
            observe_request(plainly),
            observe_request(of_session),
        ]


@case(1)
async def adapter_called_directly(f: RequestsFlavour) -> Any:
    request = requests.Request("GET", f.url("/headers/duplicate")).prepare()
    return [_try(lambda: HTTPAdapter().send(request, False, 5, True, None, None)), observe_request(request)]


@case(1)
async def timeout_object_and_response_context(f: RequestsFlavour) -> Any:
    timeout = urllib3.Timeout(connect=2, read=5)
    with f.session() as s, s.get(f.url("/lines"), timeout=timeout, stream=True) as response:
        seen = [bool(response), list(response)]
    return [seen, response.raw.closed]


@case(2)
async def pickled_session_and_response(f: RequestsFlavour) -> Any:
    with f.session() as s:
        first = s.get(f.url("/cookies/set?a=1"))
        copy = pickle.loads(pickle.dumps(s))
        again = pickle.loads(pickle.dumps(first))
    with copy:
        return [_try(lambda: copy.get(f.url("/echo"))), again.text, again.url, observe_jar(again.cookies)]


# Request bodies


@case(6)
async def bodies_of_many_kinds(f: RequestsFlavour) -> Any:
    text = io.StringIO("from a text file ä")
    half_read = io.BytesIO(b"skip the rest")
    half_read.seek(5)
    bodies = [bytearray(b"array"), memoryview(b"view"), "text ä", text, half_read, [("a", "1"), ("a", "2")]]
    with f.session() as s:
        seen = [_try(lambda body=body: s.post(f.url("/echo"), data=body)) for body in bodies]
    return [seen, text.tell(), half_read.tell()]


class _Iterable:
    """An iterable with a length, which is no file."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.times = 0

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __iter__(self) -> Iterator[bytes]:
        self.times += 1
        return iter(self.pieces)


@case(2)
async def iterable_body_that_can_be_sent_again(f: RequestsFlavour) -> Any:
    body = _Iterable([b"one", b"two"])
    with f.session() as s:
        return [_try(lambda: s.post(f.url("/redirect/307?to=/echo"), data=body)), body.times]


@case(2)
async def file_body_that_is_sent_again_behind_a_redirect(f: RequestsFlavour) -> Any:
    file = io.BytesIO(b"first part, file " * 2000)
    file.seek(12)
    with f.session() as s:
        return [_try(lambda: s.put(f.url("/redirect/308?to=/echo"), data=file)), file.tell()]


@case(2)
async def generator_body_is_empty_behind_a_redirect(f: RequestsFlavour) -> Any:
    pieces = Pieces([b"a", b"b"])
    with f.session() as s:
        return [_try(lambda: s.post(f.url("/redirect/307?to=/echo"), data=iter(pieces))), pieces.pulled]


@case(1)
async def real_file_is_uploaded_from_disk(f: RequestsFlavour) -> Any:
    with TemporaryDirectory() as folder:
        path = Path(folder, "upload.bin")
        path.write_bytes(b"0123456789" * 5000)
        with f.session() as s, path.open("rb") as file:
            response = s.post(f.url("/echo"), data=file)
            return [observe_request(response.request)["headers"], len(response.content), file.tell(), file.closed]


# Response bodies


def _drain(read: Callable[[], bytes]) -> list[bytes]:
    return list(iter(read, b""))


def _copy(raw: Any, out: io.BytesIO) -> Any:
    shutil.copyfileobj(raw, out, 11)
    return out.tell()


_READERS: dict[str, Callable[[Any], Any]] = {
    "read": lambda raw: [raw.read(), raw.read()],
    "read decoded": lambda raw: [raw.read(decode_content=True), raw.read(decode_content=True)],
    "read 7": lambda raw: _drain(lambda: raw.read(7)),
    "read 700 decoded": lambda raw: _drain(lambda: raw.read(700, decode_content=True)),
    "read 0": lambda raw: [raw.read(0), raw.read(4), raw.read()],
    "stream": lambda raw: list(raw.stream()),
    "stream 5": lambda raw: list(raw.stream(5, decode_content=False)),
    "stream decoded": lambda raw: list(raw.stream(50, decode_content=True)),
    "read_chunked": lambda raw: list(raw.read_chunked()),
    "read_chunked 2": lambda raw: list(raw.read_chunked(2, decode_content=True)),
    "data": lambda raw: [raw.data, raw.data],
    "lines": list,
    "readinto": lambda raw: (lambda buffer: [raw.readinto(buffer), bytes(buffer), raw.read()])(bytearray(6)),
    "buffered": lambda raw: [io.BufferedReader(raw).read(12)],
    "original": lambda raw: [raw._original_response.read(4), raw._original_response.read()],
    "original read1": lambda raw: [raw._original_response.read1(4), raw._original_response.read()],
    "original readline": lambda raw: [raw._original_response.readline(), raw._original_response.read()],
    "original readinto": lambda raw: (
        lambda buffer: [raw._original_response.readinto(buffer), bytes(buffer), raw.read()]
    )(bytearray(5)),
    "peek": lambda raw: [raw._original_response.peek(3)[:3], raw.read()],
    "drain": lambda raw: [raw.drain_conn(), raw.read()],
    "release": lambda raw: [raw.release_conn(), raw.read()],
    "copy": lambda raw: (lambda out: [_copy(raw, out), out.getvalue()])(io.BytesIO()),
    "close then read": lambda raw: [raw.close(), attempt(raw.read)],
}
if hasattr(urllib3.HTTPResponse, "read1"):
    _READERS |= {
        "read1": lambda raw: _drain(raw.read1),
        "read1 3": lambda raw: _drain(lambda: raw.read1(3)),
        "read1 decoded": lambda raw: _drain(lambda: raw.read1(decode_content=True)),
    }


@case(4 * len(_READERS))
async def raw_read_in_every_way(f: RequestsFlavour) -> Any:
    seen: dict[str, Any] = {}
    with f.session() as s:
        for target in ("/lines", "/bytes/50", "/encoded/gzip", "/until-close"):
            for name, reader in _READERS.items():
                with s.get(f.url(target), stream=True) as response:
                    raw = response.raw
                    seen[f"{target} {name}"] = [
                        attempt(lambda reader=reader, raw=raw: reader(raw)),
                        raw.tell(),
                        raw.closed,
                        raw.length_remaining,
                    ]
    return steady(seen)


@case(4)
async def framings(f: RequestsFlavour) -> Any:
    with f.session() as s:
        seen = [_try(lambda path=path: s.get(f.url(f"/{path}"))) for path in ("trailers", "until-close", "http10")]
    # http.client takes an early hint for the answer.
    with f.session() as s:
        return [*seen, _try(lambda: s.get(f.url("/hints")))]


@case(6)
async def content_in_every_way(f: RequestsFlavour) -> Any:
    seen = []
    with f.session() as s:
        for target in ("/lines", "/encoded/gzip", "/text/shift_jis"):
            for size in (None, 7):
                with s.get(f.url(target), stream=True) as response:
                    seen.append(list(response.iter_content(size)))
                    seen.append(attempt(lambda r=response: r.content))
                    seen.append(attempt(lambda r=response: list(r.iter_content(3))))
    return seen


@case(3)
async def content_then_pieces(f: RequestsFlavour) -> Any:
    seen = []
    with f.session() as s:
        for stream in (True, False):
            response = s.get(f.url("/text/utf-8"), stream=stream)
            seen.append([response.content, list(response.iter_content(9)), list(response.iter_lines())])
        response = s.get(f.url("/text/utf-8"))
        seen.append(list(response.iter_content(None)))
    return seen


@case(5)
async def decode_unicode(f: RequestsFlavour) -> Any:
    seen: list[Any] = []
    with f.session() as s:
        for target in ("/text/utf-8", "/text/shift_jis", "/text/latin-1/none"):
            with s.get(f.url(target), stream=True) as response:
                seen.append(list(response.iter_content(2, decode_unicode=True)))
        with s.get(f.url("/bytes/20"), stream=True) as response:
            seen.append(list(response.iter_content(6, decode_unicode=True)))
        with s.get(f.url("/lines"), stream=True) as response:
            response.encoding = "latin-1"
            seen.append(list(response.iter_lines(2, decode_unicode=True, delimiter="\n")))
    return seen


@case(4)
async def streams_left_in_different_places(f: RequestsFlavour) -> Any:
    seen: list[Any] = []
    with f.session() as s:
        with s.get(f.url("/bytes/1000"), stream=True) as response:
            seen.append(response.raw.read(10))
        with s.get(f.url("/lines"), stream=True) as response:
            seen.append([response.raw.read(2), response.raw.read(2)])
        with s.get(f.url("/lines"), stream=True) as response:
            seen.append(next(response.iter_content(2)))
        response = s.get(f.url("/bytes/1000"), stream=True)
        response.close()
        seen.append([attempt(lambda: response.content), response.raw.closed])
    return steady(seen)


@case(2)
async def stream_by_default_of_the_session(f: RequestsFlavour) -> Any:
    with f.session() as s:
        s.stream = True
        first = s.get(f.url("/lines"))
        seen = [first.raw.closed, first.text, first.raw.closed]
        return [*seen, _try(lambda: s.get(f.url("/echo"), stream=False))]


@case(2)
async def bodies_where_none_should_be(f: RequestsFlavour) -> Any:
    with f.session() as s:
        head = s.head(f.url("/encoded/gzip"))
        empty = s.get(f.url("/bytes/0"), stream=True)
        return [_try(lambda: head), empty.raw.read(), empty.content, observe_response(empty)]


# Hooks


def _mark(response: requests.Response, *_: Any, **kwargs: Any) -> None:
    response.headers["X-Hook"] = ",".join(sorted(kwargs))


@case(5)
async def response_hooks(f: RequestsFlavour) -> Any:
    log: list[Any] = []

    def note(response: requests.Response, *_: Any, **__: Any) -> None:
        log.append([response.status_code, response.raw.closed, attempt(lambda: response.elapsed), response.url])

    def other(response: requests.Response, *_: Any, **__: Any) -> requests.Response:
        made = requests.Response()
        made.status_code = 299
        made.raw = response.raw
        made.url, made.request = response.url, response.request
        made._content = b"made by a hook"
        return made

    with f.session() as s:
        s.hooks["response"] = [note, _mark]
        seen = [
            _try(lambda: s.get(f.url("/chain/2"))),
            _try(lambda: s.get(f.url("/echo"), hooks={"response": note})),
        ]
        made = s.get(f.url("/echo"), hooks={"response": [other]})
        return [seen, log, made.status_code, made.content, [len(r.request.hooks["response"]) for r in (made,)]]


@case(1)
async def hook_that_raises(f: RequestsFlavour) -> Any:
    def check(response: requests.Response, *_: Any, **__: Any) -> None:
        response.raise_for_status()

    with f.session() as s:
        return _try(lambda: s.get(f.url("/status/404"), hooks={"response": check}))


# Redirects, cookies, auth


@case(6)
async def cookies_at_each_hop(f: RequestsFlavour) -> Any:
    with f.session() as s:
        response = s.get(f.url("/cookies/login"))
        hops = [[observe_jar(hop.cookies), hop.headers.get("set-cookie")] for hop in [*response.history, response]]
        lines = [hop.raw._original_response.msg.get_all("Set-Cookie") for hop in response.history]
        odd = s.get(f.url("/cookies/odd"))
        lists = [odd.raw.headers.getlist("set-cookie"), odd.raw._original_response.headers.get_all("set-cookie")]
        dictionary = s.get(f.url("/cookies/set?x=1&y=2")).cookies.get_dict()
        return [hops, lines, lists, dictionary, observe_jar(s.cookies), _try(lambda: s.get(f.url("/echo")))]


@case(4)
async def redirects_by_hand(f: RequestsFlavour) -> Any:
    with f.session() as s:
        first = s.get(f.url("/chain/3"), allow_redirects=False)
        seen = [observe_response(first)]
        hops = s.resolve_redirects(first, first.request, verify=s.verify)
        return [*seen, *map(observe_response, hops)]


@case(3)
async def too_many_redirects(f: RequestsFlavour) -> Any:
    with f.session() as s:
        s.max_redirects = 2
        return _try(lambda: s.get(f.url("/chain/5")))


@case(5)
async def digest_auth_of_a_session(f: RequestsFlavour) -> Any:
    with f.session() as s:
        s.auth = requests.auth.HTTPDigestAuth("user", "pass")
        first = s.get(f.url("/auth/digest"))
        return [
            observe_response(first),
            [observe_response(earlier) for earlier in first.history],
            attempt(lambda: first.elapsed),
            _try(lambda: s.post(f.url("/auth/digest"), data=io.BytesIO(b"a file"))),
            _try(lambda: s.get(f.url("/auth/digest"), auth=requests.auth.HTTPDigestAuth("user", "pass"))),
        ]


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@case(3)
async def auth_from_netrc(f: RequestsFlavour) -> Any:
    with TemporaryDirectory() as folder:
        file = Path(folder, "netrc")
        file.write_text("machine 127.0.0.1 login user password pass\n")
        with _environment(NETRC=str(file)), f.session() as s:
            seen = [_try(lambda: s.get(f.url("/auth/basic"))), _try(lambda: s.get(f.url("/redirect/302?to=/echo")))]
            s.trust_env = False
            return seen


@case(1)
async def auth_in_the_url(f: RequestsFlavour) -> Any:
    with f.session() as s:
        return _try(lambda: s.get(f.url("/auth/basic").replace("//", "//user:pass@")))


@case(2)
async def proxies_from_the_environment(f: RequestsFlavour) -> Any:
    address = f"http://127.0.0.1:{f.upstream.port('proxy')}"
    with _environment(HTTP_PROXY=address, http_proxy=address), f.session() as s:
        first = _try(lambda: s.get(f.url("/echo")))
        with _environment(NO_PROXY="127.0.0.1", no_proxy="127.0.0.1"):
            return [first, _try(lambda: s.get(f.url("/echo")))]


# Adapters


class _Signing(HTTPAdapter):
    """A subclass that changes what goes through, in every place that is meant for it."""

    def add_headers(self, request: Any, **kwargs: Any) -> None:
        request.headers["X-Signed"] = ",".join(sorted(kwargs))

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        request.headers["X-Before"] = "1"
        kwargs["timeout"] = kwargs.get("timeout") or 5
        response = super().send(request, *args, **kwargs)
        response.headers["X-After"] = str(response.status_code)
        return response

    def build_response(self, req: Any, resp: Any) -> Any:
        response = super().build_response(req, resp)
        response.reason = f"built {response.reason}"
        return response


@case(4)
async def subclass_of_the_adapter(f: RequestsFlavour) -> Any:
    with f.session() as s:
        s.mount(f.url(""), _Signing())
        return [
            _try(lambda: s.get(f.url("/chain/1"))),
            _try(lambda: s.get(f.url("/echo"))),
            _try(lambda: s.get(f.url("/", "refused"))),
        ]


class _Handing(BaseAdapter):
    """An adapter of the user's that hands calls on to a real one, twice if need be."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = HTTPAdapter()
        self.log: list[Any] = []

    def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        response = self.inner.send(request, **kwargs)
        self.log.append([request.url, response.status_code])
        if response.status_code == 503:
            response.content  # noqa: B018 - read, so that the connection goes back
            return self.send(request, **kwargs)
        return response

    def close(self) -> None:
        self.inner.close()


@case(6)
async def adapter_of_the_user_around_the_real_one(f: RequestsFlavour) -> Any:
    with f.session() as s:
        adapter = _Handing()
        s.mount("http://", adapter)
        return [
            _try(lambda: s.get(f.url("/flaky"))),
            _try(lambda: s.get(f.url("/chain/1"))),
            _try(lambda: s.get(f.url("/", "refused"))),
            adapter.log,
        ]


class _Asking(BaseAdapter):
    """An adapter of the user's that asks the server through urllib3 itself."""

    def __init__(self) -> None:
        super().__init__()
        self.pools = urllib3.PoolManager()
        self.calls = 0

    def send(self, request: Any, stream: bool = False, **_: Any) -> Any:  # type: ignore[override]
        self.calls += 1
        try:
            raw = self.pools.urlopen(
                request.method,
                request.url,
                body=request.body,
                headers=request.headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                chunked=request.body is not None and "Content-Length" not in request.headers,
            )
        except urllib3.exceptions.HTTPError as error:
            raise requests.ConnectionError(error, request=request) from error
        return HTTPAdapter.build_response(self, request, raw)  # type: ignore[arg-type]

    def close(self) -> None:
        self.pools.clear()


@case(5)
async def adapter_of_the_user_that_asks_by_itself(f: RequestsFlavour) -> Any:
    with f.session() as s:
        s.mount("http://", _Asking())
        return [
            _try(lambda: s.get(f.url("/chain/1"))),
            _try(lambda: s.post(f.url("/echo"), data=iter([b"a", b"b"]))),
            _try(lambda: s.get(f.url("/", "refused"))),
            _try(lambda: s.get(f.url("/lines"), stream=True)),
        ]


@case(4)
async def cache_that_asks_whether_its_answer_is_still_true(f: RequestsFlavour) -> Any:
    """For a "not modified" the app gets the response that the cache keeps."""
    with f.session() as s:
        client: Any = CacheControl(s)
        answers = [client.get(f.url(path)) for path in ("/tagged", "/tagged", "/tagged/chunked", "/tagged/chunked")]
        return [(answer.from_cache, answer.status_code, answer.text) for answer in answers]


class _Replacing(_Asking):
    """Gives other responses than those that came, by a function of its own that calls may go through."""

    def send(self, request: Any, **_: Any) -> Any:  # type: ignore[override]
        raw = self.pools.urlopen("GET", request.url, redirect=False, retries=False, preload_content=False)
        return self.build_response(request, raw)

    def build_response(self, request: Any, raw: Any) -> Any:
        if raw.status == 200:
            raw = urllib3.HTTPResponse(io.BytesIO(raw.read()), raw.headers, 299, preload_content=False)
        return HTTPAdapter.build_response(self, request, raw)  # type: ignore[arg-type]


@case(5)
async def adapter_that_gives_another_response_than_came(f: RequestsFlavour) -> Any:
    with f.session() as s:
        s.mount("http://", _Replacing())
        answers = [s.get(f.url(path)) for path in ("/chain/1", "/lines", "/status/204", "/bytes/9")]
        return [(answer.status_code, list(answer.headers.items()), answer.content) for answer in answers]


class _InProcess(BaseAdapter):
    """Answers without a network, as the mocks of test suites do."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def send(self, request: Any, **_: Any) -> Any:  # type: ignore[override]
        self.calls.append(request.url)
        if request.path_url == "/boom":
            raise requests.ConnectionError("mocked", request=request)
        raw = urllib3.HTTPResponse(
            body=io.BytesIO(b"made up"), status=218, reason="Fine", headers={"X": "1"}, preload_content=False
        )
        response: Any = requests.Response()
        response.status_code, response.reason, response.raw = raw.status, raw.reason, raw
        response.url, response.request = request.url, request
        response.connection = self
        return response

    def close(self) -> None:
        self.calls.append("closed")


@case(1)
async def in_process_adapters_are_left_alone(f: RequestsFlavour) -> Any:
    adapter = _InProcess()
    with f.session() as s:
        s.mount("mock://", adapter)
        s.mount("http://mock.test/", adapter)
        seen = [[r.status_code, r.text, r.reason] for r in (s.get("mock://a/b"), s.get("http://mock.test/c"))]
        return [
            seen,
            steady(observe_error(_raised(lambda: s.get("http://mock.test/boom")))),
            _try(lambda: s.get(f.url("/echo"))),
            adapter.calls,
        ]


def _raised(function: Callable[[], Any]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of whatever kind
        function()
    return caught.value


@case(3)
async def adapter_that_blocks_on_its_pool(f: RequestsFlavour) -> Any:
    with f.session() as s:
        s.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1, pool_block=True))
        return [_try(lambda: s.get(f.url("/echo"))) for _ in range(3)]


# Retries


def _retrying(f: RequestsFlavour, **options: Any) -> Any:
    session = f.session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(backoff_factor=0, **options)))
    return session


@case(4)
async def retries_beneath_the_adapter(f: RequestsFlavour) -> Any:
    with _retrying(f, total=3, status_forcelist=[503]) as s:
        flaky = s.get(f.url("/flaky"))
        return [
            observe_response(flaky),
            observe_retries(flaky.raw.retries),
            flaky.raw.retries.total,
            _try(lambda: s.get(f.url("/status/503"))),
            _try(lambda: s.get(f.url("/echo"))),
            _try(lambda: s.get(f.url("/", "refused"))),
        ]


@case(3)
async def retries_of_broken_connections(f: RequestsFlavour) -> Any:
    with _retrying(f, total=2) as s:
        return [
            _try(lambda: s.get(f.url("/raw/no-answer"))),
            _try(lambda: s.get(f.url("/slow/2000"), timeout=SHORT)),
            _try(lambda: s.get(f.url("/", "backlog"), timeout=(SHORT, 5))),
        ]


@case(2)
async def retries_that_end_without_an_error(f: RequestsFlavour) -> Any:
    with _retrying(f, total=1, status_forcelist=[500], raise_on_status=False) as s:
        response = s.get(f.url("/status/500"))
        return [
            observe_response(response),
            [steady(plain(tuple(step))) for step in response.raw.retries.history],
            _try(lambda: s.get(f.url("/raw/reset"))),
        ]


@case(1)
async def retried_upload_of_a_file(f: RequestsFlavour) -> Any:
    file = io.BytesIO(b"again " * 10)
    with _retrying(f, total=3, status_forcelist=[503], allowed_methods=None) as s:
        return [_try(lambda: s.post(f.url("/flaky"), data=file)), file.tell()]


# Errors


@case(4)
async def errors_of_verify_and_cert(f: RequestsFlavour) -> Any:
    url = f.url("/echo", "tls")
    with f.session() as s:
        return [
            _try(lambda: s.get(url, verify="/nowhere/authority.pem")),
            _try(lambda: s.get(url, cert="/nowhere/client.pem")),
            _try(lambda: s.get(url, cert=("/nowhere/client.pem", "/nowhere/client.key"))),
            _try(lambda: s.get(url, verify=True)),
        ]


@case(1)
async def unverified_certificate(f: RequestsFlavour) -> Any:
    with f.session() as s, pytest.MonkeyPatch.context() as patch:
        patch.setattr("urllib3.connectionpool.warnings.warn", lambda *_, **__: None)
        return _try(lambda: s.get(f.url("/echo", "tls-other"), verify=False))


@case(2)
async def errors_before_anything_is_sent(f: RequestsFlavour) -> Any:
    with f.session() as s:
        return [
            _try(lambda: s.get("no scheme")),
            _try(lambda: s.get("http://")),
            _try(lambda: s.get("http://[broken")),
            _try(lambda: s.get("ftp://127.0.0.1/")),
            _try(lambda: s.get(f.url("/echo"), headers={"X": "a\nb"})),
            _try(lambda: s.get(f.url("/echo"), headers={"X": 1})),
            _try(lambda: s.get(f.url("/echo"), timeout=(1, 2, 3))),
            _try(lambda: s.get(f.url("/echo"), proxies={"http": "http:///nohost"})),
        ]


@case(4)
async def errors_while_a_stream_is_read(f: RequestsFlavour) -> Any:
    seen: dict[str, Any] = {}
    with f.session() as s:
        for path in ("cut-chunk", "bad-chunk", "short-body"):
            with s.get(f.url(f"/raw/{path}"), stream=True) as response:
                pieces: list[bytes] = []
                error = _try(lambda r=response, p=pieces: p.extend(r.iter_content(None)))
                again = _try(lambda r=response: r.content)
                seen[path] = [pieces, error, again, response.raw.tell(), response.raw.closed]
        with s.get(f.url("/slow-body/2000"), stream=True, timeout=SHORT) as response:
            raw = [attempt(lambda: response.raw.read(5)), attempt(lambda: response.raw.read(5))]
            seen["timeout"] = [raw, attempt(lambda: response.raw.read(5)), response.raw.closed]
    return steady(seen)


@case(3)
async def errors_while_raw_is_read(f: RequestsFlavour) -> Any:
    seen: dict[str, Any] = {}
    with f.session() as s:
        for path in ("cut-chunk", "bad-chunk", "short-body"):
            with s.get(f.url(f"/raw/{path}"), stream=True) as response:
                raw = response.raw
                seen[path] = [attempt(raw.read), raw.tell(), raw.closed, attempt(raw.read)]
    return steady(seen)


@case(2)
async def broken_encodings(f: RequestsFlavour) -> Any:
    with f.session() as s:
        seen = []
        for path in ("broken-gzip", "cut-gzip"):
            with s.get(f.url(f"/encoded/{path}"), stream=True) as response:
                seen.append([_try(lambda r=response: r.content), response.raw.closed])
        return seen


@case(1)
async def closed_session_still_calls(f: RequestsFlavour) -> Any:
    s = f.session()
    s.close()
    with s:
        return _try(lambda: s.get(f.url("/echo")))
