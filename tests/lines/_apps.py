"""Runs apps of this folder, one after the other: ``python -m tests.lines._apps APP ...``. It knows nothing of us.

Prints what their lines saw as JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from tests.lines._line import told

if __name__ == "__main__":
    apps: dict[str, Any] = {name: importlib.import_module(f"tests.lines.apps.{name}") for name in sys.argv[1:]}
    for app in apps.values():
        getattr(app, "before", lambda: None)()
    seen = {f"{name}.{line}": app.LINES.outcome(line) for name, app in apps.items() for line in app.LINES}
    seen |= {f"{name}.after": told(app.after()) for name, app in apps.items() if hasattr(app, "after")}
    print(json.dumps(seen))
