"""The names that are secret by default. Names are compared as a whole, ignoring case; none is a pattern.

A name is in these lists if its value alone lets somebody act as somebody else (credentials, session ids, keys), or if
it is card data that PCI DSS 4.0 forbids to store. Personal data is not in them: what is personal depends on the
service, and a rule that is too wide makes different calls look equal. A project names it with `redact_extra`.
"""

from __future__ import annotations

from typing import Final

__all__ = ["COOKIE_HEADERS", "SECRET_FIELDS", "SECRET_HEADERS", "SECRET_QUERY", "URL_HEADERS"]

SECRET_HEADERS: Final = frozenset(
    {
        "api-key",
        "apikey",
        "authorization",
        "proxy-authorization",
        "x-access-token",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
        "x-client-secret",
        "x-csrf-token",
        "x-goog-api-key",
        "x-refresh-token",
        "x-secret-key",
        "x-session-token",
        "x-vault-token",
        "x-xsrf-token",
    }
)
"""Headers whose whole value is replaced."""

COOKIE_HEADERS: Final = frozenset({"cookie", "set-cookie"})
"""Headers in which the values of cookies are replaced; names and attributes stay, so that jars keep working."""

URL_HEADERS: Final = frozenset({"location", "content-location", "referer"})
"""Headers that hold a URL, treated as one."""

SECRET_FIELDS: Final = frozenset(
    {
        "access_key",
        "access_token",
        "accesstoken",
        "api_key",
        "api_secret",
        "apikey",
        "auth_token",
        "authtoken",
        "authorization",
        "card_number",
        "cardnumber",
        "client_assertion",
        "client_secret",
        "clientsecret",
        "credit_card",
        "csrf_token",
        "csrfmiddlewaretoken",
        "cvc",
        "cvv",
        "cvv2",
        "id_token",
        "jwt",
        "new_password",
        "old_password",
        "passphrase",
        "passwd",
        "password",
        "private_key",
        "pwd",
        "refresh_token",
        "refreshtoken",
        "secret",
        "secret_key",
        "secretkey",
        "session_token",
        "sessionid",
        "token",
    }
)
"""JSON and form fields whose value is replaced."""

SECRET_QUERY: Final = SECRET_FIELDS | {
    "sig",
    "signature",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
}
"""Query parameters whose value is replaced: the fields, and the signatures of presigned URLs."""
