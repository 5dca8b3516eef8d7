"""The page as one HTML document: its data, its style and its code stand in it, and nothing is loaded from elsewhere.

A recording is a stranger's: its texts are data, and never markup. They stand in an element that no browser runs, with
every character escaped that could end it, and the page's code makes text nodes of them. Beyond that, the page's
Content-Security-Policy allows the one script and the one style sheet that are ours, by their hashes, and no
connection: a script that found its way into the page all the same would not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Final

from timetracer_otel.base.printable import printable

__all__ = ["document"]

_MODULES: Final = (
    *("text", "dom", "theme", "sql", "highlight", "values", "messages", "detail", "rows", "filters", "list", "head"),
    *("keys", "main"),
)
"""The modules of the page. Each imports only from those before it."""
_IMPORT: Final = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?=function |class |const )", re.MULTILINE)
_ESCAPED: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_TEMPLATE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<noscript>This page shows a recording by JavaScript that stands in the file itself. Please allow it.</noscript>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def document(data: dict[str, Any]) -> str:
    """The HTML document that shows ``data``, as `recording_data` or `comparison_data` gives it."""
    script, style = _script(), _file("page.css")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPED)
    # A lone surrogate has no UTF-8. What stands for it here is its escape in JSON.
    text = text.encode("utf-8", "backslashreplace").decode()
    return _TEMPLATE.format(
        policy=policy,
        title=escape(printable(f"{data['title']} - timetracer-otel")),
        style=style,
        data=text,
        script=script,
    )


@cache
def _script() -> str:
    """All modules as one script in a scope of its own. They are written as modules of the language."""
    parts = [_EXPORT.sub("", _IMPORT.sub("", _file(f"{name}.js"))) for name in _MODULES]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "})();\n"


@cache
def _file(name: str) -> str:
    return (files("timetracer_otel.report.page") / "files" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
