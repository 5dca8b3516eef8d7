"""The functions of well-known packages that say whether a signature or the hash of a password is genuine."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from timetracer_otel.calls.registry import Compared, Maker, Verifier

__all__ = ["VERIFIERS"]

_Given: TypeAlias = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]


def _at(position: int, name: str) -> _Given:
    return lambda args, kwargs: args[position] if position < len(args) else kwargs.get(name)


def _all(*given: _Given) -> _Given:
    return lambda args, kwargs: tuple(one(args, kwargs) for one in given)


def _key(position: int, name: str) -> _Given:
    """The bytes of a key, as they are and as a text has them from which they were decoded."""
    found = _at(position, name)

    def given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        key = found(args, kwargs)
        if not isinstance(key, (bytes, bytearray, memoryview)):
            return key
        data = bytes(key)
        return data, base64.b64encode(data), base64.urlsafe_b64encode(data), data.hex(), data.hex().upper()

    return given


def _of(position: int, *names: str) -> _Given:
    """Attributes of an argument: the keys that an object was made with."""
    return lambda args, _: tuple(getattr(args[position], name, None) for name in names if position < len(args))


def _of_fernet(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    """The key, as it was given, and what is to be opened by it (cryptography 2 to 50)."""
    key, token = args[0], args[1] if len(args) > 1 else kwargs.get("token")
    halves = getattr(key, "_signing_key", b"") + getattr(key, "_encryption_key", b"")
    text = token.decode("latin-1") if isinstance(token, bytes) else token
    return f"{base64.urlsafe_b64encode(halves).decode()} {text}"


_SELF: Final = _at(0, "self")
_CIPHERS: Final = ("AESCCM", "AESGCM", "AESGCMSIV", "AESOCB3", "AESSIV", "ChaCha20Poly1305")
_KEYS: Final = ("dsa.DSA", "ec.EC", "ed25519.Ed25519", "ed448.Ed448", "rsa.RSA")

VERIFIERS: Final[Mapping[str, tuple[Verifier | Maker, ...]]] = {
    "argon2": (Verifier("PasswordHasher.verify", _at(1, "hash"), "VerificationError"),),
    "bcrypt": (Verifier("checkpw", _at(1, "hashed_password")),),
    "cryptography.fernet": (Verifier("Fernet.decrypt", _of_fernet, "InvalidToken"),),
    # Keys that are loaded, what is derived of them, and what they verify. A signature by a pseudonym is one of the
    # same kind as by the key: the call that sends it is compared as any other.
    "cryptography.hazmat.bindings._rust": (
        *(Maker(f"openssl.{kind}PrivateKey.public_key", _SELF) for kind in _KEYS),
        *(
            Verifier(
                f"openssl.{kind}PublicKey.verify",
                _all(_SELF, _key(1, "signature"), _at(2, "data")),
                "InvalidSignature",
            )
            for kind in _KEYS
        ),
        Verifier("openssl.rsa.RSAPrivateKey.decrypt", _SELF, "ValueError"),
    ),
    "cryptography.hazmat.primitives.ciphers.aead": tuple(
        one
        for name in _CIPHERS
        for one in (
            Maker(f"{name}.__init__", _key(1, "key")),
            Verifier(f"{name}.decrypt", _all(_SELF, _key(2, "data")), "InvalidTag"),
        )
    ),
    "cryptography.hazmat.primitives.hmac": (
        Maker("HMAC.__init__", _key(1, "key")),
        Verifier("HMAC.verify", _all(_SELF, _key(1, "signature")), "InvalidSignature"),
    ),
    "cryptography.hazmat.primitives.serialization": tuple(
        Maker(name, _key(0, "data"))
        for name in (
            "load_der_private_key",
            "load_der_public_key",
            "load_pem_private_key",
            "load_pem_public_key",
            "load_ssh_private_key",
        )
    ),
    **{
        f"cryptography.hazmat.primitives.kdf.{module}": tuple(
            Maker(f"{name}.derive", _key(1, "key_material")) for name in names
        )
        for module, names in (
            ("hkdf", ("HKDF", "HKDFExpand")),
            ("pbkdf2", ("PBKDF2HMAC",)),
            ("scrypt", ("Scrypt",)),
        )
    },
    "django.contrib.auth.hashers": (Verifier("check_password", _at(1, "encoded")),),
    "django.core.signing": (
        Verifier("Signer.unsign", _all(_at(1, "signed_value"), _of(0, "key", "fallback_keys")), "BadSignature"),
    ),
    "hashlib": (Maker("pbkdf2_hmac", _key(1, "password")), Maker("scrypt", _key(0, "password"))),
    "hmac": (
        Maker("HMAC.__init__", _key(1, "key")),
        Maker("HMAC.copy", _SELF),
        Maker("HMAC.digest", _SELF),
        Maker("HMAC.hexdigest", _SELF),
        Maker("digest", _key(0, "key")),
        Verifier("compare_digest", lambda args, _: Compared(*args[:2])),
    ),
    "itsdangerous.signer": (
        Verifier("Signer.unsign", _all(_at(1, "signed_value"), _of(0, "secret_keys")), "BadSignature"),
    ),
    "jose.jws": (Verifier("verify", _all(_at(0, "token"), _at(1, "key")), "JWSError"),),
    "joserfc.jws": (
        Verifier("deserialize_compact", _all(_at(0, "value"), _of(1, "original_value")), "BadSignatureError"),
    ),
    "joserfc.jwt": (Verifier("decode", _all(_at(0, "value"), _of(1, "original_value")), "BadSignatureError"),),
    "jwt.api_jws": (
        Verifier(
            "PyJWS.decode_complete",
            _all(
                _at(1, "jwt"), _at(2, "key"), lambda args, kwargs: getattr(_at(2, "key")(args, kwargs), "key", None)
            ),
            "InvalidSignatureError",
        ),
    ),
    "passlib.context": (Verifier("CryptContext.verify", _at(2, "hash")),),
    "passlib.utils.handlers": (
        Verifier("GenericHandler.verify", _at(2, "hash")),
        Verifier("PrefixWrapper.verify", _at(2, "hash")),
    ),
    "pwdlib": (Verifier("PasswordHash.verify", _at(2, "hash")),),
    "werkzeug.security": (Verifier("check_password_hash", _at(0, "pwhash")),),
}
"""By module. Most of what verifies tokens and passwords for a framework stands on one of these."""
