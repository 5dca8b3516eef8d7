"""What a recording keeps of bodies is bounded: of each, and of all together, pieces included."""

from __future__ import annotations

from timetracer_otel.constants import BodyEnd
from timetracer_otel.session.body_taps import PIECE_BYTES, BodyLimits, BodyTap


def _noted(limits: BodyLimits, *pieces: bytes) -> BodyTap:
    tap = BodyTap(limits)
    for piece in pieces:
        tap.chunk(piece)
    tap.finish(BodyEnd.COMPLETE)
    return tap


def test_a_body_up_to_the_limit_is_kept_whole_and_a_longer_one_not_at_all() -> None:
    limits = BodyLimits(10)
    kept = _noted(limits, b"01234", b"56789").snapshot(0.0)
    assert (kept.data, kept.captured, kept.size_bytes) == (b"0123456789", True, 10)
    tap = _noted(limits, b"01234", b"56789", b"x", b"y")
    longer = tap.snapshot(0.0)
    assert (longer.data, longer.captured, longer.truncated, longer.size_bytes) == (None, False, True, 12)
    assert tap.chunks == []


def test_a_body_that_was_let_go_makes_room_for_others() -> None:
    limits = BodyLimits(10, 4 * (10 + PIECE_BYTES))
    left = limits.left_bytes
    _noted(limits, b"01234", b"56789", b"x")
    assert limits.left_bytes == left


def test_what_was_read_again_from_its_beginning_counts_once() -> None:
    limits = BodyLimits(1000, 1000)
    tap = BodyTap(limits)
    tap.chunk(b"some")
    tap.restart()
    tap.chunk(b"some")
    assert limits.left_bytes == 1000 - 4 - PIECE_BYTES
    assert tap.snapshot(0.0).data == b"some"


def test_tiny_and_empty_pieces_are_bounded_by_what_they_cost() -> None:
    for piece in (b"", b"x"):
        limits = BodyLimits(1 << 30, 100 * (PIECE_BYTES + 1))
        tap = BodyTap(limits)
        most = 0
        for _ in range(10_000):
            tap.chunk(piece)
            most = max(most, len(tap.chunks))
        assert 100 <= most <= 101
        assert (tap.chunks, tap.times_s, tap.size_bytes) == ([], [], 10_000 * len(piece))
        assert not tap.snapshot(0.0).captured


def test_what_is_held_in_any_case_takes_room_from_what_comes() -> None:
    limits = BodyLimits(1 << 30, 1000)
    limits.hold(900)
    assert not limits.full
    limits.hold(900)
    assert not _noted(limits, b"x").snapshot(0.0).captured
    assert (limits.full, limits.refused) == (True, 1)


def test_from_the_first_that_had_no_room_on_nothing_has() -> None:
    limits = BodyLimits(1 << 30, 1000)
    assert _noted(limits, b"x" * 100).snapshot(0.0).captured
    assert not _noted(limits, b"x" * 5000).snapshot(0.0).captured
    assert not _noted(limits, b"x").snapshot(0.0).captured
    assert (limits.full, limits.refused) == (True, 2)
