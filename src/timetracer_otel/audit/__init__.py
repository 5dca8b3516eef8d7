"""Secrets in recordings that are there already: finding them (command ``audit``), and replacing them (``scrub``)."""

from __future__ import annotations

from timetracer_otel.audit.files import files_of, is_cassette
from timetracer_otel.audit.findings import OWN, Finding, in_cassette, in_text
from timetracer_otel.audit.scrubbing import Scrubbed, redacted, scrub
from timetracer_otel.audit.second_scanner import INSTALL, SecondScanner, second_scanner

__all__ = [
    "INSTALL",
    "OWN",
    "Finding",
    "Scrubbed",
    "SecondScanner",
    "files_of",
    "in_cassette",
    "in_text",
    "is_cassette",
    "redacted",
    "scrub",
    "second_scanner",
]
