"""A validator repeats the input that it refuses, beside its place: a secret there is found by the place."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Header, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from timetracer_otel.redact.log_texts import without_secrets
from timetracer_otel.redact.pseudonymiser import Pseudonymiser
from timetracer_otel.redact.pseudonyms import Pseudonyms
from timetracer_otel.redact.redactor import Redactor

SECRET = "zQ7'x\"\\9kWp"
WORD = "fish"


class Login(BaseModel):
    user: str
    password: str = Field(min_length=100)
    token: list[int] = []
    passcode: str = ""
    pin: int = 1


class Wrapped(BaseModel):
    login: Login


app = FastAPI()


@app.post("/login")
def login(wrapped: Wrapped, x_vault_token: int = Header(1), sig: int = Query(1), page: int = Query(1)) -> None:
    raise AssertionError("all of it is refused")


OPEN = "an open page"
GIVEN: dict[str, Any] = {
    "login": {"user": "ada", "password": SECRET, "token": [WORD + "-token"], "passcode": 734_215, "pin": OPEN}
}
HIDDEN = (SECRET, WORD, "734215", "header-of-ada", "query-of-ada")


async def refused() -> httpx.Response:
    """The answer of status 422."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
        return await client.post(
            "/login",
            json=GIVEN,
            headers={"X-Vault-Token": "header-of-ada"},
            params={"sig": "query-of-ada", "page": OPEN},
        )


def without(data: bytes) -> None:
    text = data.decode()
    for secret in HIDDEN:
        assert secret not in text
        assert json.dumps(secret)[1:-1] not in text
    assert OPEN in text


def test_the_input_of_an_answer_of_fastapi_is_secret_by_its_place() -> None:
    answer = asyncio.run(refused())
    assert answer.status_code == 422
    pairs = tuple(answer.headers.raw)
    shown = {tuple(each["loc"]): each["input"] for each in answer.json()["detail"]}
    assert shown["body", "login", "password"] == SECRET
    for redactor in (Redactor(), Pseudonymiser(Redactor(), Pseudonyms())):
        made = redactor.body(answer.content, pairs)
        without(made.data)
        after = {tuple(each["loc"]): each["input"] for each in json.loads(made.data)["detail"]}
        assert after.keys() == shown.keys()
        assert sum(after[place] != shown[place] for place in shown) == 5


def test_a_whole_object_that_lacks_a_field_stays_an_object() -> None:
    echo = {"detail": [{"type": "missing", "loc": ["body", "token"], "input": {"user": "ada", "password": SECRET}}]}
    made = Pseudonymiser(Redactor(), Pseudonyms()).body(
        json.dumps(echo).encode(), ((b"content-type", b"application/json"),)
    )
    (found,) = json.loads(made.data)["detail"]
    assert found["input"]["user"] == "ada"
    assert found["input"]["password"] != SECRET


@pytest.mark.parametrize("shown", ["str", "errors", "of fastapi"])
def test_the_text_of_an_error_shows_no_secret_input(shown: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Login(**(GIVEN["login"] | {"passcode": 73_421_599}))
    error: Any = caught.value
    if shown == "of fastapi":
        error = RequestValidationError(error.errors())
    text = f"failed: {error.errors()}" if shown == "errors" else str(error)
    kept = Redactor().text(text)
    without(kept.encode())
    assert SECRET not in kept
    assert repr(SECRET) not in kept
    assert "73421599" not in kept
    assert repr(SECRET) not in without_secrets(text)
