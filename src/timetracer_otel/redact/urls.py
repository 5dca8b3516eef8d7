"""Taking URLs apart, for redaction and for comparison, without losing a character."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["UrlParts", "http_host_and_path", "same_target", "split_url", "values_by_name"]

# The expression of RFC 3986, appendix B. `urllib.parse` will not do: it refuses texts such as "http://[x", which
# servers send in headers and which must be redacted all the same. And it loses marks without text, such as a final
# "?".
_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)


class UrlParts(NamedTuple):
    """The parts of a URL, unchanged. None for a part that is missing together with its mark (``?``, ``#``)."""

    scheme: str | None
    netloc: str | None
    path: str
    query: str | None
    fragment: str | None

    def unsplit(self) -> str:
        """The URL again, the same to the letter."""
        scheme = f"{self.scheme}:" if self.scheme is not None else ""
        netloc = f"//{self.netloc}" if self.netloc is not None else ""
        query = f"?{self.query}" if self.query is not None else ""
        fragment = f"#{self.fragment}" if self.fragment is not None else ""
        return f"{scheme}{netloc}{self.path}{query}{fragment}"


def split_url(url: str) -> UrlParts:
    """The parts of a URL. Any text is accepted."""
    found = _PARTS.match(url)
    assert found is not None
    return UrlParts(*found.groups())


_HTTP = re.compile(r"(https?://)(?:[^/?#]*@)?([^/?#]*)(.*)", re.DOTALL)


def same_target(url: str) -> str:
    """The URL of a signature in the form in which URLs are compared: for HTTP, as it is sent.

    An empty path is sent as ``/`` (RFC 9110 section 7.1), and user information is not sent in the URL.
    """
    found = _HTTP.fullmatch(url)
    return url if found is None else f"{found[1]}{found[2]}{found[3] or '/'}"


def http_host_and_path(url: str) -> str | None:
    """The host and the path of an HTTP URL, as they stand in each one that has the same `same_target`; None of any
    other URL.
    """
    found = _HTTP.fullmatch(url)
    return None if found is None else f"{found[2]}{'' if found[3] == '/' else found[3]}"


def values_by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The value of each name of a query or a form, and a list of them where a name occurs more than once."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        known = values.get(name)
        values[name] = value if known is None else [*(known if isinstance(known, list) else [known]), value]
    return values
