"""The names of http.client that the plugin relies upon, and that a release of Python may rename.

They are apart from the other modules for the weight of imports: the declaration reads them.
"""

from __future__ import annotations

__all__ = ["ENTRY_POINTS", "RELIED_UPON"]

RELIED_UPON = (
    "http.client:HTTPConnection.send",
    "http.client:HTTPConnection.getresponse",
    "http.client:HTTPConnection.connect",
    "http.client:HTTPConnection.close",
    "http.client:HTTPConnection.auto_open",
    "http.client:HTTPConnection.sock",
    "http.client:HTTPConnection._tunnel_host",
    "http.client:HTTPConnection._tunnel_port",
    "http.client:HTTPConnection.response_class",
    "http.client:HTTPSConnection.connect",
    "http.client:HTTPMessage.raw_items",
    "http.client:HTTPResponse._method",
    "http.client:HTTPResponse.fp",
    "http.client:HTTPResponse.chunked",
    "http.client:HTTPResponse.length",
)
"""Names that the plugin cannot do without."""

ENTRY_POINTS = (("http.client:HTTPConnection.putrequest connect",),)
"""Where calls are refused in a replay if the plugin cannot see them."""
