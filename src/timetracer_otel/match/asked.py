"""What the headers of a call ask for: another part, operation or method than its method and URL say.

AWS's JSON protocols and SOAP ask for every operation by POST at one URL, and name it in a header. The parts of a
large object are asked for at one URL as well, often several at once, and ``Range`` says which (RFC 9110 section
14.2). Two such calls are different ones, though their methods, URLs and bodies are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from operator import itemgetter
from typing import Final, TypeAlias

__all__ = ["Asked", "asked_by", "asks_by_header"]

Asked: TypeAlias = "tuple[tuple[str, str], ...]"
"""Headers by which something is asked for: names in lower case, in order, each with its value."""

_NAMES: Final = ("range", "soapaction", "x-amz-target", "x-http-method-override")
_NAME: Final = itemgetter(0)
_other_names: set[bytes] = set()
"""Names of headers by which nothing is asked for, as far as they were met. It is asked of every call, and the set
answers for a call whose names were all met. Safe from any thread: a name that two threads add is the same."""
_MOST_NAMES: Final = 1024


def asks_by_header(headers: Collection[tuple[bytes, bytes]]) -> bool:
    """Whether a call asks for something by a header."""
    if _other_names.issuperset(map(_NAME, headers)):
        return False
    for name, _ in headers:
        if name.decode("latin-1").lower() in _NAMES:
            return True
        if len(_other_names) < _MOST_NAMES:
            _other_names.add(name)
    return False


def asked_by(headers: Mapping[str, str], ignored: Collection[str] = ()) -> Asked:
    """What a call asks for by its headers.

    Args:
        headers: Of the call.
        ignored: Names in lower case that do not count.
    """
    found = []
    for name, value in headers.items():
        lowered = name.lower()
        if lowered in _NAMES and lowered not in ignored:
            found.append((lowered, value))
    return tuple(sorted(found))
