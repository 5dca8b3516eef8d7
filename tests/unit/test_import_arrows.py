"""The source tree keeps its rules, and each rule is one that can be broken."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tests.import_arrows import CLIENTS, PACKAGE, check, read_package

SOURCE = Path(__file__).parents[2] / "src" / PACKAGE
FILES = read_package(SOURCE)
PUBLIC = sorted(
    ".".join([PACKAGE, *path.removesuffix(".py").removesuffix("__init__").rstrip("/").split("/")]).rstrip(".")
    for path in FILES
    if not any(part.startswith("_") and part != "__init__.py" for part in path.split("/"))
)

EMPTY = "__all__ = []\n"


def rules(files: dict[str, str]) -> list[str]:
    return [breach.rule for breach in check(files)]


def test_the_source_tree_keeps_every_rule() -> None:
    assert len(FILES) > 10
    assert [str(breach) for breach in check(FILES)] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_every_exported_name_exists(name: str) -> None:
    module = importlib.import_module(name)
    missing = [exported for exported in module.__all__ if not hasattr(module, exported)]
    assert missing == []


def test_importing_the_package_imports_no_client_library() -> None:
    modules = [name for name in PUBLIC if not name.endswith("pytest_plugin")]
    clients = sorted({client for names in CLIENTS.values() for client in names} - {"sqlite3"})
    code = (
        f"import sys\nfor name in {modules!r}: __import__(name)\n"
        f"print([client for client in {clients!r} if client in sys.modules])"
    )
    # -I: nothing but what is installed, whatever the folder and the environment of the test run
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_test_run_uses_the_installed_package() -> None:
    if '"editable": true' in (importlib.metadata.distribution("timetracer-otel").read_text("direct_url.json") or ""):
        pytest.skip("an editable install, made by hand: `make test` installs the wheel")
    package = importlib.import_module(PACKAGE)
    assert package.__file__ is not None
    assert SOURCE not in Path(package.__file__).parents, "tests run against the built wheel, not the source tree"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("types.py", "from timetracer_otel import config\n"),
        ("config.py", "from timetracer_otel.cassette import read_cassette\n"),
        ("cassette/codec.py", "import timetracer_otel.redact.redactor\n"),
        ("session/_store.py", "def f():\n    from timetracer_otel.bridge import x\n"),
        ("session/_store.py", "from ..plugins import x\n"),
        ("session/__init__.py", "from ..bridge import x\n__all__ = []\n"),
        ("session/_store.py", "from timetracer_otel.report import x\n"),
        ("bridge/_a.py", "from timetracer_otel import record\n"),
        ("bridge/_a.py", "import importlib\nimportlib.import_module('timetracer_otel.plugins')\n"),
        ("report/_a.py", "from timetracer_otel.bridge import x\n"),
        ("plugins/_a.py", "from timetracer_otel.report import x\n"),
        ("bridge/_a.py", "from timetracer_otel.report import x\n"),
        ("config.py", "if TYPE_CHECKING:\n    from timetracer_otel.session import TraceSession\n"),
        ("context.py", "from timetracer_otel.session import TraceSession\n"),
        ("context.py", "from timetracer_otel.config import TraceConfig\n"),
        ("context.py", "if TYPE_CHECKING:\n    from timetracer_otel.config import TraceConfig\n"),
        ("utils/_a.py", ""),
    ],
)
def test_an_import_against_the_arrows_is_a_breach(path: str, source: str) -> None:
    assert "arrow" in rules({"config.py": EMPTY} | {path: source})


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("_faults.py", "from timetracer_otel import constants\n"),
        ("cassette/codec.py", "from timetracer_otel.types import Cassette\nfrom ._errors import x\n"),
        ("_names.py", "import opentelemetry.context\n"),
        ("bridge/_a.py", "from timetracer_otel import _faults, context\n"),
        ("report/_a.py", "from timetracer_otel.session import x\nfrom timetracer_otel.cassette import y\n"),
        ("bridge/_a.py", "def end():\n    from timetracer_otel.report import x\n"),
        ("cli/_a.py", "from timetracer_otel import record, report\nfrom timetracer_otel.plugins import x\n"),
        ("context.py", "__all__ = []\nif TYPE_CHECKING:\n    from timetracer_otel.session import TraceSession\n"),
    ],
)
def test_an_import_along_the_arrows_is_none(path: str, source: str) -> None:
    known = {"context.py": EMPTY, "constants.py": EMPTY, "_faults.py": "", "report/__init__.py": EMPTY}
    assert rules({**known, path: source}) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("session/_a.py", "import httpx\n"),
        ("bridge/_a.py", "def f():\n    import requests\n"),
        ("calls/flow.py", "def f():\n    from urllib3.response import HTTPResponse\n"),
        ("plugins/requests_plugin.py", "def f():\n    import httpx\n"),
        ("plugins/httpx_plugin.py", "__all__ = []\nimport httpx\n"),
        ("plugins/httpx_plugin.py", "__all__ = []\nfrom opentelemetry.instrumentation.httpx import X\n"),
        (
            "plugins/httpx_plugin.py",
            "__all__ = []\ntry:\n    import httpx2\nexcept ImportError:\n    httpx2 = None\n",
        ),
        ("plugins/redis_plugin.py", "__all__ = []\ndef f():\n    importlib.import_module('aiohttp.client')\n"),
    ],
)
def test_a_client_library_outside_its_plugin_is_a_breach(path: str, source: str) -> None:
    assert "client" in rules({path: source})


def test_a_private_module_that_imports_its_client_is_loaded_in_functions_only() -> None:
    inner = {"libraries/httpx/internals.py": "import httpx\n"}
    late = "__all__ = []\ndef f():\n    from timetracer_otel.libraries.httpx.internals import x\n"
    early = "__all__ = []\nfrom timetracer_otel.libraries.httpx.internals import x\n"
    assert rules({**inner, "plugins/httpx_plugin.py": late}) == []
    assert rules({**inner, "plugins/httpx_plugin.py": early}) == ["client"]


def test_imports_for_type_checkers_may_name_clients() -> None:
    assert rules({"calls/flow.py": "if TYPE_CHECKING:\n    import httpx\n"}) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("session/_a.py", "import yaml\n"),
        ("session/_a.py", "import pytest\n"),
        ("cassette/_a.py", "import zstandard\n"),
        ("plugins/_a.py", "def f():\n    import zstandard\n"),
    ],
)
def test_an_import_of_something_that_is_no_dependency_is_a_breach(path: str, source: str) -> None:
    assert rules({path: source}) == ["third-party"]


@pytest.mark.parametrize(
    "source", ["import os\nos.environ['A']\n", "import os\nx = os.getenv('A')\n", "from os import environ\n"]
)
def test_reading_the_environment_outside_config_is_a_breach(source: str) -> None:
    assert rules({"session/_a.py": source}) == ["environment"]
    assert rules({"config.py": EMPTY + source}) == []


def test_a_module_of_more_than_400_lines_is_a_breach() -> None:
    assert rules({"session/_a.py": "x = 1\n" * 400}) == []
    assert rules({"session/_a.py": "x = 1\n" * 401}) == ["length"]


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n",
        "__all__ = ['missing']\n",
        "__all__ = ['x', 'x']\nx = 1\n",
        "__all__ = ['X']\nif TYPE_CHECKING:\n    from timetracer_otel.constants import X\n",
    ],
)
def test_an_inexact_all_is_a_breach(source: str) -> None:
    assert rules({"types.py": source}) == ["exports"]


def test_an_exact_all_is_none() -> None:
    source = "__all__ = ['A', 'b', 'c', 'd', 'e']\nclass A: ...\ndef b(): ...\nc: int = 1\n"
    source += "try:\n    import d\nfinally:\n    e = 1\n"
    assert "exports" not in rules({"types.py": source})
    assert rules({"_names.py": "x = 1\n"}) == []
