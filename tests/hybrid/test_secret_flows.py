"""Flows that use the secrets which a server gave: each replays as it was live, or is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import forks
from tests.children import ROOT, environment
from tests.servers._process import ServerProcess

REPLAYED = (
    *("oauth", "csrf", "cookies", "digest", "presigned", "pages", "jwt_read", "base64_keys", "pem_keys"),
    *("number", "object_", "tenants", "signed_by_header", "signed_by_body", "signed_by_rsa", "asserted"),
    *("bucket_polled", "tenants_signing_tokens"),
)
_NOT_GENUINE = "was asked whether a pseudonym is genuine"
REFUSED = {
    **dict.fromkeys(("jwt_verified", "bcrypt_checked", "password_hash_checked", "signed_cookie"), _NOT_GENUINE),
    **dict.fromkeys(("sealed_text_opened", "sealed_by_aes_opened"), _NOT_GENUINE),
    **dict.fromkeys(("webhook_verified", "hash_under_no_name_checked"), _NOT_GENUINE),
    "sealed_by_word_opened": _NOT_GENUINE,
    # Nothing tells whose token, or whose signature, is whose.
    **dict.fromkeys(
        ("tenants_configured", "tenants_signing", "tenants_signing_urls"), "Several recorded calls match"
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By phase: what each flow came to. The server is gone in the replay."""
    folder = tmp_path_factory.mktemp("flows")
    server = ServerProcess("tests.servers.secret_upstream")
    found = {}
    for phase in ("bare", "record", "replay"):
        if phase == "replay":
            server.stop()
        arguments = (phase, str(folder), f"http://127.0.0.1:{server.port('http')}")
        env = environment({"httpx"}, PYTHONPATH=str(ROOT))
        done = forks.run("-m", "tests.hybrid._secret_flows", *arguments, env=env, cwd=folder)
        assert done.returncode == 0, done.stderr
        found[phase] = json.loads(done.stdout)
    server.close()
    assert sorted(found["bare"]) == sorted((*REPLAYED, *REFUSED))
    return found


@pytest.mark.parametrize("name", REPLAYED)
def test_a_flow_replays_as_it_was_live(outcomes: dict[str, Any], name: str) -> None:
    bare, recorded, replayed = (outcomes[phase][name] for phase in ("bare", "record", "replay"))
    assert bare[0][0] == "value"
    assert bare == recorded
    assert replayed == [bare[0], [0, 0]]


@pytest.mark.parametrize("name", REFUSED)
def test_a_flow_that_cannot_be_as_it_was_is_refused(outcomes: dict[str, Any], name: str) -> None:
    bare, recorded, (told, missed_and_left) = (outcomes[phase][name] for phase in ("bare", "record", "replay"))
    assert bare[0][0] == "value"
    assert bare == recorded
    assert told[:2] == ["error", "ReplayMismatchError"]
    assert REFUSED[name] in told[2]
    assert missed_and_left[0] == 1
