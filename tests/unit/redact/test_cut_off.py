"""A known secret of which an error shows only a part is replaced in part."""

from __future__ import annotations

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.examples import examples
from timetracer_otel.redact.occurrences import Occurrences
from timetracer_otel.redact.pseudonyms import Pseudonyms

SECRET = "Zq8vT41xKw0pLm7abcdefgh0123456789QWERTYUIOPlkjhgfds"
OTHER = "Ab7wU52yLx1qMn8bcdefghi1234567890RETYUIOPWmlkjhgfdr"
AWKWARD = "p/9\"Zq7Kx92025+='&<% \\ab\\'cdefghijklmnopqrs0123456"


def known(secret: str = SECRET, pseudonym: str = OTHER) -> Occurrences:
    """What knows one secret."""
    places = Occurrences()
    places.add(secret, pseudonym, surely=True)
    return places


@pytest.mark.parametrize(
    ("text", "made"),
    [
        # asyncpg
        (
            f"query argument $1: '{SECRET[:39]}... (expected str)",
            f"query argument $1: '{OTHER[:39]}... (expected str)",
        ),
        # SQLAlchemy
        (
            f"{{'a': '{SECRET[:20]} ... (99 characters truncated) ... {SECRET[-20:]}'}}",
            f"{{'a': '{OTHER[:20]} ... (99 characters truncated) ... {OTHER[-20:]}'}}",
        ),
        # Pydantic
        (
            f"input_value='{SECRET[:22]}...{SECRET[-21:]}', input",
            f"input_value='{OTHER[:22]}...{OTHER[-21:]}', input",
        ),
        # PostgreSQL
        (f"LINE 1: ...{SECRET[9:]}' LIMIT 1", f"LINE 1: ...{OTHER[9:]}' LIMIT 1"),
        # MySQL
        (f"syntax to use near '{SECRET[:30]}' at line 1", f"syntax to use near '{OTHER[:30]}' at line 1"),
        (f"Duplicate entry '{SECRET[:30]}' for key 'x'", f"Duplicate entry '{OTHER[:30]}' for key 'x'"),
        (f"it says {SECRET[:30]}\u2026", f"it says {OTHER[:30]}\u2026"),
        # What is short protects nothing; what is not cut off is another text.
        (f"'{SECRET[:7]}...", f"'{SECRET[:7]}..."),
        (f"'{SECRET[:30]}' is another", f"'{SECRET[:30]}' is another"),
        (f"{SECRET[:30]}x...{SECRET[30:]}", f"{SECRET[:30]}x...{OTHER[30:]}"),
    ],
)
def test_as_much_of_the_pseudonym_is_shown(text: str, made: str) -> None:
    places = known()
    assert places.text(text) == made
    assert places.may_be_in(text.encode()) == (made != text)


def test_the_prefix_that_all_keys_of_a_service_have_stays() -> None:
    places = known("sk_live_4eC39HqLyjWDarjtT1zdp7dc", "sk_live_9aB17XrZqkVCbpiuS2yeo8fd")
    assert places.text("it is 'sk_live_...") == "it is 'sk_live_..."
    assert places.text("it is 'sk_live_4eC39...") == "it is 'sk_live_9aB17..."


def test_more_secrets_than_a_few_are_found_when_they_are_cut_off() -> None:
    places = Occurrences()
    secrets = [f"{number:02}{SECRET}" for number in range(60)]
    for secret in secrets:
        places.add(secret, f"{secret[:2]}{OTHER}", surely=True)
    text = " ".join(f"'{secret[:20]}..." for secret in secrets)
    assert places.may_be_in(text.encode())
    assert places.text(text) == text.replace(SECRET[:18], OTHER[:18])


def test_a_cut_in_a_long_text_is_found() -> None:
    places = known()
    rest = "nothing at all " * 5_000
    for text in (f"{rest}'{SECRET[:30]}...{rest}", f"{rest}'{SECRET[:30]}...{rest[:99]}" + "." * 90_000):
        assert places.may_be_in(text.encode())
        assert places.text(text) == text.replace(SECRET[:30], OTHER[:30])


@examples(60)
@example(SECRET, 57, "base64")
@example(SECRET, 58, "base64")
@example(SECRET, 59, "base64")
@given(st.sampled_from([SECRET, AWKWARD]), st.integers(0, 70), st.sampled_from(["text", "bytes", "packed", "base64"]))
def test_no_part_of_a_secret_is_left_before_a_cut(secret: str, length: int, kind: str) -> None:
    """As asyncpg shows an argument: the first characters of what ``repr`` gives."""
    name = Pseudonyms().of(secret)
    value = {
        "text": secret,
        "bytes": secret.encode(),
        "packed": b"\x81\xa2of\xb8" + secret.encode(),
        "base64": base64.b64encode(b"of" + secret.encode()).decode(),
    }[kind]
    shown = repr(value)
    text = f"$1: {shown[: 14 + length]}..."
    made = known(secret, name).text(text)
    assert len(made) <= len(text) + 1, "the padding of base64 is made whole"
    core = "Zq8vT41xKw" if secret == SECRET else "Zq7Kx92025"
    assert core not in made
    assert base64.b64encode(b"of" + secret.encode())[3:13].decode() not in made
