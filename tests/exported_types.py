"""Whether every name that users import has a type on which all type checkers agree.

``python -m tests.exported_types`` runs ``pyright --verifytypes`` on the installed package, prints each symbol of the
contract whose type is not known, and ends with 1 where there is one. Modules inside a room are no part of the
contract and are left out. A class that a module of the contract exports counts with all its members, wherever it is
defined.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = "timetracer_otel"

CONTRACT = (
    "",
    *("types", "constants", "exceptions", "config", "context", "session", "cassette", "otel"),
    "plugins",
    *(f"plugins.{library}_plugin" for library in ("aiohttp", "httpx", "redis", "requests", "sqlalchemy")),
    "integrations",
    *(f"integrations.{framework}" for framework in ("django", "fastapi", "flask", "starlette")),
    "testing",
    "exchange",
    "pytest_plugin",
)
"""The modules from which users import, below the package."""


def exported() -> Iterator[str]:
    """The full names of what the modules of the contract export, as their definitions have them."""
    for below in CONTRACT:
        module = importlib.import_module(f"{PACKAGE}.{below}".rstrip("."))
        for name in module.__all__:
            value = getattr(module, name)
            yield f"{module.__name__}.{name}"
            home, qualified = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
            if isinstance(home, str) and home.startswith(PACKAGE) and isinstance(qualified, str):
                yield f"{home}.{qualified}"


def main() -> int:
    """Print what has no known type; 1 where there is something, or where pyright looked at nothing."""
    command = [sys.executable, "-m", "pyright", "--verifytypes", PACKAGE, "--ignoreexternal", "--outputjson"]
    # In this mode pyright asks the first Python on the path where packages are, whatever else it is told.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
    try:
        symbols: list[dict[str, Any]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    except (ValueError, KeyError):
        print(done.stdout, done.stderr, sep="\n")
        return 1
    names = set(exported())
    # A member counts with its class: `a.b.Class.member` is there where `a.b.Class` is.
    of_contract = [one for one in symbols if one["isExported"] and not names.isdisjoint(_prefixes(one["name"]))]
    unknown = [one for one in of_contract if not one["isTypeKnown"] or one["isTypeAmbiguous"]]
    for one in unknown:
        said = "; ".join(diagnostic["message"].splitlines()[0] for diagnostic in one["diagnostics"])
        print(f"{one['name']}: {said}")
    print(f"exported types: {len(of_contract)} names, {len(unknown) or 'none'} without a known type")
    return 1 if unknown or len(of_contract) < len(names) // 2 else 0


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
