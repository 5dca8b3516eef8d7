"""Writes what the documentation says of settings from the code that has them: ``python docs/make_settings.py``.

That is ``settings.md`` as a whole, and the names in ``redaction.md``. With ``--check`` it writes nothing and exits
with 1 where a file is not up to date.
"""

from __future__ import annotations

import dataclasses
import sys
from enum import Enum
from pathlib import Path

from timetracer_otel.config import CONCERNS, OTEL_ENV_PREFIX, SETTINGS, Setting, TraceConfig
from timetracer_otel.redact.secret_names import HEADER_FIELDS, SECRET_FIELDS, SECRET_HEADERS, SECRET_QUERY

DOCS = Path(__file__).parent
BEGIN, END = "<!-- names: made by docs/make_settings.py -->\n", "<!-- end of names -->\n"

HEAD = f"""\
# Settings

<!-- Made by docs/make_settings.py from the table in base/settings.py: change that, and run it. -->

Each setting is a field of `timetracer_otel.config.TraceConfig` and a variable of the environment. Each variable also
goes by a longer name with the prefix `{OTEL_ENV_PREFIX}` (`TIMETRACER_MODE` is `{OTEL_ENV_PREFIX}MODE`), for which
`opentelemetry-instrument` has a flag (`--timetracer_mode`). The shorter name wins; an empty value counts as not set.
A value that is not allowed is a `ConfigurationError` that names the variable, the value and what is allowed.

In [a configuration file of OpenTelemetry](distributions.md#a-configuration-file) and for
`TimetracerInstrumentor().instrument(...)` in code, a setting is an option: the variable's name without prefix, in
small letters (`TIMETRACER_DIR` is `dir`). A variable that is set wins over an option.

`record(...)`, `replay(...)` and the pytest marker take the same fields by name, but for `mode`: `record` and `replay`
are modes themselves. `mode` (`off`, `record`, `replay`) says what is done with calls; `record_mode` says what a
replay does with calls that its cassette does not hold. The defaults below hold everywhere, with one exception: the
pytest marker and the fixture `timetracer_auto` have the `record_mode` `once`, unless the environment has `CI=true`.
"""

TABLE = """
| variable | field | default | allowed | meaning |
|---|---|---|---|---|
"""

TAIL = """
## Other variables

Without `TIMETRACER_MODE`, the name `timetracer` in `OTEL_TRACES_EXPORTER` means `record`. A mode that is set wins:
`TIMETRACER_MODE=off` records nothing.

Of OpenTelemetry's own variables these count as well: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
`OTEL_SDK_DISABLED`, `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS` (`timetracer` switches us off, a library's name its
plugin), `OTEL_PYTHON_EXCLUDED_URLS` and `OTEL_PYTHON_<LIBRARY>_EXCLUDED_URLS`, for calls by the client's name
(`HTTPX`) and for requests that come in by the framework's (`FASTAPI`, `STARLETTE`, `FLASK`, `DJANGO`).

OpenTelemetry's variables are about telemetry, so they count only where the environment decides what is recorded.
`record(...)` and `replay(...)` in code and in tests, and the replay of a whole process, are for every plugin all the
same: a library that a replay left out would call for real. To leave a library out, use `TIMETRACER_CAPTURE` or
`TIMETRACER_LIVE_PLUGINS`.
"""


def settings_page() -> str:
    """The text of ``settings.md``."""
    by_field = {setting.field: setting for setting in SETTINGS}
    tables = (
        f"\n## {title}\n{TABLE}" + "".join(_row(by_field[field]) for field in concern)
        for title, concern in CONCERNS.items()
    )
    return HEAD + "".join(tables) + TAIL


def _row(setting: Setting) -> str:
    default = _default(getattr(TraceConfig(), setting.field))
    return f"| `{setting.env}` | `{setting.field}` | {default} | {_allowed(setting)} | {setting.meaning} |\n"


def _default(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, list):
        value = ",".join(value)
    return "" if value is None or value == "" else f"`{value}`"


def _allowed(setting: Setting) -> str:
    return setting.allowed + (f", in {setting.unit}" if setting.unit else "")


def redaction_page(text: str) -> str:
    """The text of ``redaction.md`` with the names that the code has."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    groups = {
        "Headers": SECRET_HEADERS,
        "Fields": SECRET_FIELDS - HEADER_FIELDS,
        "Query parameters": SECRET_QUERY - SECRET_FIELDS,
    }
    more = {
        "Fields": ", and the headers with a hyphen in their names, also written with underscores",
        "Query parameters": ", and the names of the fields",
    }
    names = [
        f"{title}: {', '.join(f'`{name}`' for name in sorted(group))}{more.get(title, '')}.\n"
        for title, group in groups.items()
    ]
    return before + BEGIN + "\n" + "\n".join(names) + "\n" + END + after


def pages() -> dict[Path, str]:
    """What the files must hold."""
    redaction = DOCS / "redaction.md"
    return {DOCS / "settings.md": settings_page(), redaction: redaction_page(redaction.read_text("utf-8"))}


def main() -> int:
    """Write the files, or check them."""
    assert {setting.field for setting in SETTINGS} == {field.name for field in dataclasses.fields(TraceConfig)}
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if "--check" in sys.argv:
            print(f"{path.name} is not up to date: run python docs/make_settings.py", file=sys.stderr)
        else:
            path.write_text(pages()[path], "utf-8")
            print(f"wrote {path.name}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
