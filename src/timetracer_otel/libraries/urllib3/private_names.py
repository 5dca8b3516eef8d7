"""The names of urllib3 and http.client that the plugin relies upon, and that a release may rename.

They are apart from the other modules for the weight of imports: the declaration reads them.
"""

from __future__ import annotations

__all__ = ["ENTRY_POINTS", "RELIED_UPON"]

RELIED_UPON = (
    "urllib3.connection:HTTPConnection._new_conn",
    "urllib3.connection:HTTPSConnection.connect",
    "urllib3.connection:create_urllib3_context",
    "urllib3.connection:ssl_wrap_socket",
    "urllib3.connectionpool:ConnectionPool",
    "urllib3.connectionpool:HTTPConnectionPool._make_request",
    "urllib3.connectionpool:HTTPConnectionPool._new_conn",
    "urllib3.connectionpool:HTTPConnectionPool.urlopen",
    "urllib3.connectionpool:HTTPSConnectionPool._prepare_proxy",
    "urllib3.connectionpool:HTTPSConnectionPool._validate_conn",
    "urllib3.exceptions:HTTPError",
    "urllib3.util.proxy:connection_requires_http_tunnel",
    "urllib3.util.url:_encode_target",
    "urllib3.response:HTTPResponse._fp_bytes_read",
    "urllib3.response:HTTPResponse._original_response",
    "urllib3.response:HTTPResponse._request_url",
    "http.client:HTTPConnection.response_class",
    "http.client:HTTPConnection.sock",
    "http.client:HTTPMessage.raw_items",
    "http.client:HTTPResponse._method",
    "http.client:HTTPResponse.fp",
    "http.client:HTTPResponse.chunked",
    "http.client:HTTPResponse.length",
)
"""Names that the plugin cannot do without."""

ENTRY_POINTS = (("urllib3.connectionpool:HTTPConnectionPool.urlopen",),)
"""Where calls are refused in a replay if the plugin cannot see them."""
