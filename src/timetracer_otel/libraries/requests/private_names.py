"""The names of requests, urllib3 and http.client that the plugin relies upon, and that a release may rename.

They are apart from `internals` for the weight of imports: the declaration reads them, and internals imports
`http.client`, which takes longer to load than all of the declaration.
"""

from __future__ import annotations

__all__ = ["ENTRY_POINTS", "NOT_IN_ALL", "RELIED_UPON"]

RELIED_UPON = (
    "requests.adapters:HTTPAdapter.send",
    "requests.adapters:HTTPAdapter.build_response",
    "requests.adapters:BaseAdapter",
    "requests.sessions:Session.get_adapter",
    "requests:PreparedRequest.hooks",
    "urllib3:connection_from_url",
    "urllib3._collections:HTTPHeaderDict",
    "urllib3.connectionpool:ConnectionPool",
    "urllib3.connectionpool:HTTPConnectionPool._new_conn",
    "urllib3.exceptions:HTTPError",
    "urllib3.response:HTTPResponse._fp_bytes_read",
    "urllib3.response:HTTPResponse._original_response",
    "urllib3.response:HTTPResponse._pool",
    "urllib3.response:HTTPResponse._request_url",
    "urllib3.util.retry:RequestHistory",
    "urllib3.util.retry:Retry.new",
    "http.client:HTTPMessage.raw_items",
    "http.client:HTTPResponse._method",
    "http.client:HTTPResponse.fp",
    "http.client:HTTPResponse.chunked",
    "http.client:HTTPResponse.length",
)
"""Names that the plugin cannot do without."""

NOT_IN_ALL: dict[str, str] = {
    "requests.structures:CaseInsensitiveDict._store": "headers are taken by the method `items`",
}
"""Names that a release may lack, and what is done without them."""

ENTRY_POINTS = (("requests.sessions:Session.send",), ("requests.adapters:HTTPAdapter.send",))
"""Where calls are refused in a replay if the plugin cannot see them: also those by an adapter of the user's."""
