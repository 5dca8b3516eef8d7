"""Responses of replays are made without their constructor only where that comes to the same."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

from timetracer_otel.libraries.httpx.internals import responses_of

MODULES = [httpx, httpx2]


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__)
def module(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = request.param
    return found


def state(response: Any) -> dict[str, Any]:
    return {**vars(response), "headers": vars(response.headers)}


def test_a_response_is_as_its_constructor_makes_it(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = module.ByteStream(b"")
    expected, make = state(module.Response(404, stream=stream)), responses_of(module)
    with monkeypatch.context() as patch:
        patch.setattr(module.Headers, "__init__", lambda *_: pytest.fail("the constructor was asked"))
        one, other = make(404, stream), make(404, stream)
    assert type(one) is module.Response
    assert state(one) == expected
    one.headers["a"], one.extensions["a"] = "1", 1
    one.history.append(one)
    assert state(other) == expected


@pytest.mark.parametrize("before", [True, False])
def test_a_constructor_that_somebody_replaced_is_asked(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    made, constructor, make = [], module.Response.__init__, responses_of(module)

    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        constructor(self, *args, **kwargs)

    monkeypatch.setattr(module.Response, "__init__", noting)
    if before:
        make = responses_of(module)
        made.clear()
    response = make(200, module.ByteStream(b""))
    assert made == [response]


def test_a_release_whose_responses_have_more_is_asked(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Response(module.Response):  # type: ignore[misc, name-defined]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.trailers = "new"

    monkeypatch.setattr(module, "Response", Response)
    # As if the class stood in the package.
    monkeypatch.setitem(globals(), "__name__", f"{module.__name__}._models")
    made = responses_of(module)(200, module.ByteStream(b""))
    assert made.trailers == "new"
