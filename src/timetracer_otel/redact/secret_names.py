"""The names that are secret by default. Names are compared as a whole, ignoring case; none is a pattern.

A value under such a name is judged once more: a ``token`` of a language model's answer is a word, not a secret.

A name is in these lists if its value alone lets somebody act as somebody else (credentials, session ids, keys), or if
it is card data that PCI DSS 4.0 forbids to store. Personal data is not in them: what is personal depends on the
service, and a rule that is too wide makes different calls look equal. A project names it with `redact_extra`.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "COOKIE_HEADERS",
    "FIRST_FIELDS",
    "FIRST_HEADERS",
    "FIRST_QUERY",
    "HASH_FIELDS",
    "HEADER_FIELDS",
    "SECRET_FIELDS",
    "SECRET_HEADERS",
    "SECRET_QUERY",
    "URL_HEADERS",
]

FIRST_HEADERS: Final = frozenset(
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
"""The names of the first recordings, which hold one constant text for every secret. Such a recording is matched by
these names for ever: both sides of a match must be masked by the same ones."""

SECRET_HEADERS: Final = FIRST_HEADERS | {
    "authentication",
    "circle-token",
    "dd-api-key",
    "dd-application-key",
    "ocp-apim-subscription-key",
    "private-token",
    "x-amz-server-side-encryption-customer-key",
    "x-api-token",
    "x-auth-key",
    "x-authorization",
    "x-aws-ec2-metadata-token",
    "x-consul-token",
    "x-figma-token",
    "x-forwarded-access-token",
    "x-functions-key",
    "x-gitlab-token",
    "x-honeycomb-team",
    "x-insert-key",
    "x-jwt-assertion",
    "x-nomad-token",
    "x-parse-master-key",
    "x-parse-session-token",
    "x-rapidapi-key",
    "x-registry-auth",
    "x-service-token",
    "x-session-id",
    "x-shopify-access-token",
    "x-subject-token",
    "x-user-token",
}
"""Headers whose value is replaced; the name of its scheme (``Bearer``) stays."""

COOKIE_HEADERS: Final = frozenset({"cookie", "set-cookie"})
"""Headers in which the values of cookies are replaced; names and attributes stay, so that jars keep working."""

URL_HEADERS: Final = frozenset({"location", "content-location", "referer"})
"""Headers that hold a URL, treated as one."""

FIRST_FIELDS: Final = frozenset(
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
"""The fields of the first recordings (see `FIRST_HEADERS`)."""

HASH_FIELDS: Final = frozenset(
    {
        "authentication_string",
        "crypted_password",
        "encrypted_password",
        "encryptedpassword",
        "hashed_password",
        "hashedpassword",
        "pass_hash",
        "passhash",
        "passwd_hash",
        "passwdhash",
        "password_digest",
        "password_hash",
        "passworddigest",
        "passwordhash",
        "pw_hash",
        "pwd_hash",
        "pwdhash",
        "pwhash",
        "rolpassword",
    }
)
"""Fields for the hash of a password. Only what looks like one is a secret under them: ``"password_hash": "bcrypt"``
says how passwords are hashed."""

HEADER_FIELDS: Final = frozenset(
    {form for name in SECRET_HEADERS if "-" in name for form in (name, name.replace("-", "_"))}
)
"""Headers among the values of a document: of a message, of an event that a gateway gives. A header that is a plain
word is not among them: "authentication" says as a field which kind is used."""

SECRET_FIELDS: Final = (
    FIRST_FIELDS
    | HASH_FIELDS
    | HEADER_FIELDS
    | {
        "accesskey",
        "account_key",
        "accountkey",
        "admin_password",
        "api-key",
        "api_token",
        "apisecret",
        "apitoken",
        "app_secret",
        "appsecret",
        "assertion",
        "auth_key",
        "authkey",
        "aws_secret_access_key",
        "aws_session_token",
        "bearer_token",
        "bot_token",
        "clientassertion",
        "code_verifier",
        "connection_string",
        "connectionstring",
        "consumer_secret",
        "creditcard",
        "csrf-token",
        "csrftoken",
        "current_password",
        "db_password",
        "device_code",
        "encryption_key",
        "idtoken",
        "master_key",
        "newpassword",
        "oauth_signature",
        "oauth_token",
        "oauth_token_secret",
        "oldpassword",
        "otp_secret",
        "pass_phrase",
        "passcode",
        "password1",
        "password2",
        "password_confirmation",
        "personal_access_token",
        "privatekey",
        "secret_access_key",
        "secret_hash",
        "secret_id",
        "secret_token",
        "secretaccesskey",
        "secretbinary",
        "secrethash",
        "secretstring",
        "security_code",
        "service_key",
        "session_key",
        "session_secret",
        "sessionkey",
        "sessiontoken",
        "shared_secret",
        "signing_key",
        "signing_secret",
        "subject_token",
        "totp_secret",
        "user_password",
        "webhook_secret",
        "x-api-key",
        "xsrf-token",
        "xsrf_token",
    }
)
"""JSON and form fields, XML elements, columns and bound values whose value is replaced."""

_SIGNED: Final = frozenset(
    {
        "sig",
        "signature",
        "x-amz-credential",
        "x-amz-security-token",
        "x-amz-signature",
        "x-goog-credential",
        "x-goog-signature",
    }
)
FIRST_QUERY: Final = FIRST_FIELDS | _SIGNED
SECRET_QUERY: Final = SECRET_FIELDS | _SIGNED | {"awsaccesskeyid", "hapikey", "subscription-key"}
"""Query parameters whose value is replaced: the fields, and the signatures of presigned URLs."""
