"""Private keys that take the place of secret ones: of the same kind and size, so that an app can still load them."""

from __future__ import annotations

import base64
import binascii
import importlib
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

__all__ = ["like_private_key"]

_ED25519: Final = bytes.fromhex("302e020100300506032b657004220420")
_X25519: Final = bytes.fromhex("302e020100300506032b656e04220420")
"""RFC 8410: what stands before the 32 bytes of a key. Any bytes are a key."""
_FEW: Final = 8
_made: dict[tuple[str, str], list[str]] = {}
"""Keys that were made for recordings of this process, by kind. To make one may take a tenth of a second."""
_lock = threading.Lock()


def like_private_key(pem: str, draw: Callable[[int], bytes]) -> str | None:
    """A private key of the same kind in PEM; None where it cannot be read, or not be made here.

    Kinds other than those of RFC 8410 need the package ``cryptography``. An app that loads such a key mostly has it.
    """
    pem = pem.replace("\\n", "\n")
    lines = [line for line in pem.strip().splitlines() if ":" not in line]
    try:
        content = base64.b64decode("".join(line.strip() for line in lines[1:-1]), validate=True)
    except (ValueError, binascii.Error):
        return None
    for head in (_ED25519, _X25519):
        if content.startswith(head) and len(content) == len(head) + 32:
            return f"{lines[0]}\n{base64.b64encode(head + draw(32)).decode()}\n{lines[-1]}"
    return _by_package(pem, lines[0], draw)


def _by_package(pem: str, first_line: str, draw: Callable[[int], bytes]) -> str | None:
    try:
        serialization: Any = importlib.import_module("cryptography.hazmat.primitives.serialization")
        asymmetric: Any = importlib.import_module("cryptography.hazmat.primitives.asymmetric")
        for kind in ("rsa", "ec"):
            importlib.import_module(f"cryptography.hazmat.primitives.asymmetric.{kind}")
    except ImportError:
        return None
    try:
        load = serialization.load_ssh_private_key if "OPENSSH" in first_line else serialization.load_pem_private_key
        key = load(pem.encode(), password=None)
    except Exception:
        # An encrypted key, a damaged one, or one of a kind that the package does not know.
        return None
    formats = serialization.PrivateFormat
    form = formats.OpenSSH if "OPENSSH" in first_line else formats.PKCS8
    if re.search(r"(?:RSA|EC) PRIVATE", first_line):
        form = formats.TraditionalOpenSSL
    make: Callable[[], Any]
    if isinstance(key, asymmetric.rsa.RSAPrivateKey):
        size, exponent = key.key_size, key.public_key().public_numbers().e
        name, make = f"rsa {size} {exponent}", partial(asymmetric.rsa.generate_private_key, exponent, size)
    elif isinstance(key, asymmetric.ec.EllipticCurvePrivateKey):
        curve = key.curve
        name, make = f"ec {curve.name}", partial(asymmetric.ec.generate_private_key, curve)
    elif "OPENSSH" in first_line and hasattr(type(key), "generate"):
        name, make = type(key).__name__, type(key).generate
    else:
        return None
    with _lock:
        keys = _made.setdefault((name, first_line), [])
        wanted = draw(1)[0] % _FEW
        # One that is made already does, so that a service which loads its key in each request costs one of them.
        if len(keys) <= wanted and (not keys or wanted % 2):
            made: Any = make()
            keys.append(made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())
        return keys[wanted % len(keys)]
