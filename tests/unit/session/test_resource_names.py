"""Who says the version and the revision of a service, where its resource names none."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import Resource

from timetracer_otel.session import resource_names
from timetracer_otel.session.resource_names import REVISION_VARIABLES, names_in

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def nobody_says_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*REVISION_VARIABLES, "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    resource_names._revision_of_the_build.cache_clear()


@pytest.mark.parametrize("name", REVISION_VARIABLES)
def test_each_variable_of_a_builder_says_the_revision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SHA)
    assert names_in(Resource({})) == ("", "", "", SHA)


@pytest.mark.parametrize("text", ["main", "refs/heads/main", "abc", "z" * 40, "0" * 65, ""])
def test_what_is_no_revision_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_VERSION", text)
    assert names_in(Resource({})).revision == ""


def test_the_resource_says_it_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SHA", "f" * 40)
    said = "service.version=1,vcs.ref.head.revision=from-the-environment"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", said)
    assert names_in(Resource({}))[2:] == ("1", "from-the-environment")
    named = Resource({"service.version": "2", "vcs.ref.head.revision": SHA, "service.name": "unknown_service:python"})
    assert names_in(named) == ("", "", "2", SHA)
