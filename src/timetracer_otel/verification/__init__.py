"""Verifying one recording, as a function: for machines and engines that verify many of them side by side.

from timetracer_otel.verification import verify_one

verdict = verify_one("cassettes/2026-03-01/GET_users_id_120000_5a4d2c1e.msgpack", app="shop:app")
assert verdict.passed, verdict
"""

from __future__ import annotations

from timetracer_otel.verification.one import Verdict, verify_one

__all__ = ["Verdict", "verify_one"]
