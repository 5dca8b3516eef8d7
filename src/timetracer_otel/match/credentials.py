"""What of a call's credentials says who makes it, and what is only a signature.

A signature is another one in each call that it is made for: it holds the time, or a number that is used once. So
two calls of one caller differ in it. Who calls is said by what stands beside it: the identity of a key, a user's
name, the claims of a token that the app has signed itself.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

__all__ = ["callers_named", "claims_of", "holds_signature", "is_signature_header"]

_SIGNATURE_HEADER: Final = re.compile(r"(?:^|-)(?:signature|sign|sig|hmac|mac|dpop)(?:-|$)")
_SIGNATURE: Final = re.compile(r'(?i)(?:^|[\s,])(?:signature|oauth_signature|response)="?[^",\s]')
_CALLER: Final = re.compile(
    r'(?i)(?:^|[\s,])(credential|oauth_token|oauth_consumer_key|keyid|username)=(?:"([^"]*)"|([^",\s]+))'
)
"""The parameters of credentials that say who calls (AWS signature version 4, RFC 5849, RFC 9421, RFC 7616)."""
_JWT: Final = re.compile(r"(eyJ[\w-]+)\.(eyJ[\w-]+)\.[\w-]*")
_OF_ONE_CALL: Final = frozenset({"iat", "exp", "nbf", "auth_time", "jti", "nonce"})
"""The claims that are others in each token (RFC 7519 section 4.1)."""


@lru_cache(maxsize=1024)
def is_signature_header(name: str) -> bool:
    """Whether a header, by its name in any case, holds a signature of the call."""
    return _SIGNATURE_HEADER.search(name.lower()) is not None


_NAME: Final = itemgetter(0)
_other_names: set[bytes] = set()
"""Names of headers that hold no signature, as far as they were met. It is asked of every call, and the set answers
for a call whose names were all met."""
_MOST_NAMES: Final = 1024


def holds_signature(headers: Collection[tuple[bytes, bytes]]) -> bool:
    """Whether a call has a header with its signature."""
    if _other_names.issuperset(map(_NAME, headers)):
        return False
    for name, _ in headers:
        if is_signature_header(name.decode("latin-1")):
            return True
        if len(_other_names) < _MOST_NAMES:
            _other_names.add(name)
    return False


def callers_named(credentials: str) -> list[str] | None:
    """The parameters of signed credentials that say who calls, each with its name; None where nothing but the
    signature does.
    """
    if _SIGNATURE.search(credentials) is None:
        return None
    found = []
    for name, quoted, bare in _CALLER.findall(credentials):
        lowered, value = name.lower(), quoted or bare
        # AWS has the day, the region and the service behind the identity of the key.
        found.append(f"{lowered}={value.partition('/')[0] if lowered == 'credential' else value}")
    return sorted(found) or None


@lru_cache(maxsize=1024)
def claims_of(token: str) -> str | None:
    """What a JSON Web Token says, but for what is another in each token; None for any other text."""
    found = _JWT.fullmatch(token)
    if found is None:
        return None
    head, claims = map(_decoded, found.groups())
    if type(head) is not dict or type(claims) is not dict:
        return None
    lasting = {name: value for name, value in claims.items() if name not in _OF_ONE_CALL}
    return json.dumps([head, lasting], sort_keys=True)


def _decoded(part: str) -> Any:
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
