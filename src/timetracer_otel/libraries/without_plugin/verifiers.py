"""The functions of well-known packages that say whether a signature or the hash of a password is genuine."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from timetracer_otel.calls.registry import Verifier

__all__ = ["VERIFIERS"]


def _at(position: int, name: str) -> Callable[[tuple[Any, ...], Mapping[str, Any]], Any]:
    return lambda args, kwargs: args[position] if position < len(args) else kwargs.get(name)


def _of_fernet(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """The key, as it was given, and what is to be opened by it (cryptography 2 to 50)."""
    key, token = args[0], args[1] if len(args) > 1 else kwargs.get("token")
    halves = getattr(key, "_signing_key", b"") + getattr(key, "_encryption_key", b"")
    text = token.decode("latin-1") if isinstance(token, bytes) else token
    return f"{base64.urlsafe_b64encode(halves).decode()} {text}"


VERIFIERS: Final[Mapping[str, tuple[Verifier, ...]]] = {
    "argon2": (Verifier("PasswordHasher.verify", _at(1, "hash"), "VerificationError"),),
    "bcrypt": (Verifier("checkpw", _at(1, "hashed_password")),),
    "cryptography.fernet": (Verifier("Fernet.decrypt", _of_fernet, "InvalidToken"),),
    "django.contrib.auth.hashers": (Verifier("check_password", _at(1, "encoded")),),
    "django.core.signing": (Verifier("Signer.unsign", _at(1, "signed_value"), "BadSignature"),),
    "itsdangerous.signer": (Verifier("Signer.unsign", _at(1, "signed_value"), "BadSignature"),),
    "jose.jws": (Verifier("verify", _at(0, "token"), "JWSSignatureError"),),
    "jwt.api_jws": (Verifier("PyJWS.decode_complete", _at(1, "jwt"), "InvalidSignatureError"),),
    "passlib.context": (Verifier("CryptContext.verify", _at(2, "hash")),),
    "pwdlib": (Verifier("PasswordHash.verify", _at(2, "hash")),),
    "werkzeug.security": (Verifier("check_password_hash", _at(0, "pwhash")),),
}
"""By module. Most of what verifies tokens and passwords for a framework stands on one of these."""
