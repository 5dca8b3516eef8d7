"""Our own log: a fault's traceback is written without the secrets that it quotes."""

from __future__ import annotations

import logging

import pytest

import timetracer_otel.session  # noqa: F401 - recordings let the log have no secrets
from timetracer_otel.base import faults
from timetracer_otel.redact.log_texts import without_secrets


def test_the_traceback_of_a_fault_holds_no_secret(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "raise_faults", False)
    secret = "ghp_" + "x7Qr" * 9
    try:
        try:
            raise ValueError(f"no such user: {secret}")
        except ValueError as inner:
            raise RuntimeError(
                "connecting to postgres://app:hunter2hunter2@db failed, password='tr0ub4dor'"
            ) from inner
    except RuntimeError as error:
        with caplog.at_level(logging.ERROR, "timetracer_otel"):
            faults.contain("a place of this test", error)
    (record,) = caplog.records
    assert record.exc_info is None
    logged = caplog.text
    assert "RuntimeError: connecting to postgres://app:[REDACTED]@db failed, password='[REDACTED]'" in logged
    assert "ValueError: no such user: [REDACTED]" in logged
    assert "test_log_texts.py" in logged
    for text in (secret, "hunter2hunter2", "tr0ub4dor"):
        assert text not in logged.replace(f"password='{text}'", "")


def test_other_texts_stay() -> None:
    text = "File \"a.py\", line 3, in f\nKeyError: 'user'"
    assert without_secrets(text) == text
