"""Cookies of header lines as HAR objects (``cookies``)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from timetracer_otel.types import header_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["request_cookies", "response_cookies"]

_TEXT_ATTRIBUTES = {"path": "path", "domain": "domain", "samesite": "sameSite"}
_FLAG_ATTRIBUTES = {"httponly": "httpOnly", "secure": "secure"}


def request_cookies(cookie_header: str) -> list[dict[str, Any]]:
    """The cookies of a ``Cookie`` header (RFC 6265 section 4.2)."""
    return [{"name": name, "value": value} for name, value in map(_pair, cookie_header.split(";")) if name or value]


def response_cookies(headers: Mapping[str, str]) -> list[dict[str, Any]]:
    """The cookies of the ``Set-Cookie`` lines (RFC 6265 section 4.1), which must not be joined by commas."""
    return [
        _set_cookie(value.decode("latin-1")) for name, value in header_pairs(headers) if name.lower() == b"set-cookie"
    ]


def _set_cookie(line: str) -> dict[str, Any]:
    first, *attributes = line.split(";")
    name, value = _pair(first)
    cookie: dict[str, Any] = {"name": name, "value": value}
    for attribute, text in map(_pair, attributes):
        key = attribute.lower()
        if key in _TEXT_ATTRIBUTES:
            cookie[_TEXT_ATTRIBUTES[key]] = text
        elif key in _FLAG_ATTRIBUTES:
            cookie[_FLAG_ATTRIBUTES[key]] = True
        elif key == "expires":
            try:
                cookie["expires"] = parsedate_to_datetime(text).isoformat()
            except ValueError:
                continue  # no date: browsers ignore the attribute as well
    return cookie


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip()
