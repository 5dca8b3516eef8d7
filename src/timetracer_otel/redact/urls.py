"""A URL as its parts, for those who look for what counts in it, or must not be kept of it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["UrlParts", "same_target", "split_url", "values_by_name"]

# RFC 3986, appendix B. What `urllib.parse` refuses ("http://[x") comes along in headers that servers send, and has to
# be redacted all the same; and what is put together again has each byte that it had.
_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)


class UrlParts(NamedTuple):
    """What a URL is made of, as it stands there; None for a part that is missing with its mark."""

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
    """The parts of any text as those of a URL: there is no text that this refuses."""
    found = _PARTS.match(url)
    assert found is not None
    return UrlParts(*found.groups())


_HTTP = re.compile(r"(https?://)(?:[^/?#]*@)?([^/?#]*)(.*)", re.DOTALL)


def same_target(url: str) -> str:
    """The form in which two URLs of signatures are one target: for HTTP, what goes over the wire.

    An empty path is sent as ``/`` (RFC 9110 section 7.1), and user information is not sent in the URL.
    """
    found = _HTTP.fullmatch(url)
    return url if found is None else f"{found[1]}{found[2]}{found[3] or '/'}"


def values_by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The value of each name of a query or a form, and a list of them where a name occurs more than once."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        known = values.get(name)
        values[name] = value if known is None else [*(known if isinstance(known, list) else [known]), value]
    return values
