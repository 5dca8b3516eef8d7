"""How a cassette, a session and a verdict show themselves in a notebook (Jupyter)."""

from __future__ import annotations

__all__ = ["html_of"]


def html_of(value: object) -> str:
    """The HTML of a cassette, a session or a verdict, without scripts."""
    # Whoever makes reports stands above the values: it is loaded when a notebook asks, and not before.
    from timetracer_otel.report.notebook import html_of as made_of

    return made_of(value)
