"""The Django app of the workloads: its URLs, and what they call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from tests.suite_injection.incoming import django_servers, read

__all__ = ["urlpatterns"]


def user(_: Any, user: int) -> HttpResponse:
    return HttpResponse(read(django_servers[0], user))


def echo(request: Any) -> HttpResponse:
    return HttpResponse(request.read(5) + request.read())


def stream(_: Any) -> StreamingHttpResponse:
    def pieces() -> Iterator[str]:
        for number in range(2):
            yield read(django_servers[0], number)

    return StreamingHttpResponse(pieces())


def boom(_: Any) -> HttpResponse:
    raise KeyError("boom")


urlpatterns = [path("users/<int:user>", user), path("echo", echo), path("stream", stream), path("boom", boom)]
