"""``python -m timetracer_otel`` is the command ``timetracer-otel``."""

from __future__ import annotations

import sys

from timetracer_otel.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
