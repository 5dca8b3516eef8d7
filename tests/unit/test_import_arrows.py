"""Each rule of the source tree is one that can be broken. `make check` holds the tree against them."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tests.import_arrows import CLIENTS, NAMED_BY_DESIGN, PACKAGE, check, library_words, parse_package, read_package

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


@pytest.mark.parametrize("name", PUBLIC)
def test_every_exported_name_exists(name: str) -> None:
    module = importlib.import_module(name)
    # The front of a room that has nothing for others is a docstring.
    missing = [exported for exported in getattr(module, "__all__", ()) if not hasattr(module, exported)]
    assert missing == []


def test_importing_the_package_imports_no_client_library() -> None:
    # Within a library's folder, what is made of the library's classes is loaded when the library is there.
    modules = [
        name
        for name in PUBLIC
        if ".pytest_plugin" not in name and (".libraries." not in name or name.count(".") == 2 or ".kits" in name)
    ]
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
        ("cassette/stores/files.py", "def f():\n    from timetracer_otel.match import x\n"),
        ("session/trace.py", "def f():\n    from timetracer_otel.calls import x\n"),
        ("session/trace.py", "from ..plugins import x\n"),
        ("session/__init__.py", "from ..otel import x\n__all__ = []\n"),
        ("session/trace.py", "from timetracer_otel.report import x\n"),
        ("calls/flow.py", "from timetracer_otel.guard import network_guard\n"),
        ("libraries/httpx/call.py", "from timetracer_otel.libraries.requests import x\n"),
        ("libraries/kits/http/bodies.py", "from timetracer_otel.libraries.httpx import x\n"),
        ("otel/spans.py", "from timetracer_otel.process import x\n"),
        ("otel/a.py", "from timetracer_otel import record\n"),
        ("otel/a.py", "import importlib\nimportlib.import_module('timetracer_otel.plugins')\n"),
        ("report/a.py", "from timetracer_otel.calls import x\n"),
        ("plugins/a.py", "from timetracer_otel.report import x\n"),
        ("process/a.py", "from timetracer_otel.report import x\n"),
        ("config.py", "if TYPE_CHECKING:\n    from timetracer_otel.session import TraceSession\n"),
        ("current.py", "from timetracer_otel.calls import flow\n"),
        ("utils/a.py", ""),
    ],
)
def test_an_import_against_the_arrows_is_a_breach(path: str, source: str) -> None:
    assert "arrow" in rules({"config.py": EMPTY} | {path: source})


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("base/faults.py", "from timetracer_otel import constants\n"),
        ("cassette/codec.py", "from timetracer_otel.types import Cassette\nfrom .recorded_errors import x\n"),
        ("base/plugin_names.py", "import opentelemetry.context\n"),
        ("otel/a.py", "from timetracer_otel.base import faults\nfrom timetracer_otel import current\n"),
        ("otel/exporter.py", "from timetracer_otel.process import x\n"),
        ("libraries/httpx/call.py", "from timetracer_otel.libraries.kits.http import x\n"),
        ("report/a.py", "from timetracer_otel.session import x\nfrom timetracer_otel.cassette import y\n"),
        ("process/a.py", "def end():\n    from timetracer_otel.report import x\n"),
        ("cli/a.py", "from timetracer_otel import record, report\nfrom timetracer_otel.plugins import x\n"),
        ("current.py", "if TYPE_CHECKING:\n    from timetracer_otel.session import TraceSession\n"),
    ],
)
def test_an_import_along_the_arrows_is_none(path: str, source: str) -> None:
    known = dict.fromkeys(("current.py", "constants.py", "base/faults.py", "report/__init__.py"), EMPTY)
    assert rules({**known, path: EMPTY + source}) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("from timetracer_otel.session.b import x\n", "from timetracer_otel.session.a import x\n"),
        ("from . import b\n", "def f():\n    from timetracer_otel.session import a\n"),
        ("from .b import x\n", "if TYPE_CHECKING:\n    from timetracer_otel.session.a import x\n"),
    ],
)
def test_two_files_that_need_each_other_are_a_breach(one: str, other: str) -> None:
    assert rules({"session/a.py": EMPTY + one, "session/b.py": EMPTY + other, "session/__init__.py": ""}) == [
        "circle"
    ]
    assert rules({"session/a.py": EMPTY + one, "session/b.py": EMPTY, "session/__init__.py": ""}) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("session/a.py", "import httpx\n"),
        ("process/a.py", "def f():\n    import requests\n"),
        ("calls/flow.py", "def f():\n    from urllib3.response import HTTPResponse\n"),
        ("libraries/requests/call.py", "def f():\n    import httpx\n"),
        ("libraries/kits/http/bodies.py", "def f():\n    import httpx\n"),
        ("libraries/httpx/__init__.py", "__all__ = []\nimport httpx\n"),
        ("libraries/httpx/__init__.py", "__all__ = []\nfrom opentelemetry.instrumentation.httpx import X\n"),
        (
            "libraries/httpx/__init__.py",
            "__all__ = []\ntry:\n    import httpx2\nexcept ImportError:\n    httpx2 = None\n",
        ),
        ("libraries/redis/__init__.py", "__all__ = []\ndef f():\n    importlib.import_module('aiohttp.client')\n"),
    ],
)
def test_a_client_library_outside_its_folder_is_a_breach(path: str, source: str) -> None:
    assert "client" in rules({path: source})


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("match/rules.py", 'KINDS = {"httpx": 1}\n'),
        ("match/rules.py", 'KINDS = ("requests",)\n'),
        ("calls/flow.py", 'def f(lib):\n    return lib == "requests.adapters"\n'),
        ("session/events.py", "def f(call):\n    return call.is_sqlalchemy\n"),
        ("session/events.py", "def f(call, redis_url):\n    return call(REDIS=redis_url)\n"),
        ("guard/c_connections.py", "def _of_psycopg(): ...\n"),
        ("guard/network_guard.py", 'def f(name):\n    return f"{name} of asyncpg"\n'),
        ("otel/spans.py", "SKIPPED = b'aiohttp'\n"),
        ("cassette/a.py", "from timetracer_otel.base import x as sqlite\n"),
        ("config.py", "class Psycopg2Settings: ...\n"),
        # Named by design in another module than this one.
        ("base/settings.py", 'GROUPS = ("redis",)\n'),
    ],
)
def test_a_kernel_that_names_a_library_is_a_breach(path: str, source: str) -> None:
    assert "library" in rules({path: EMPTY + source})


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("match/rules.py", '"""Compares calls, for instance of httpx."""\n# and of redis\n'),
        ("match/rules.py", 'def f():\n    """Psycopg needs it."""\n'),
        ("match/rules.py", 'ATTRIBUTE = 1\n"""What psycopg2 has there."""\n'),
        ("session/trace.py", 'TEXT = "Share of requests that is recorded."\nrequests_seen = 1\n'),
        ("constants.py", 'class EventType:\n    REDIS = "redis"\n'),
        ("libraries/kits/dbapi/drivers/psycopg.py", 'NAME = "psycopg"\n'),
        ("incoming/asgi.py", 'NAME = "uvloop"\n'),
        ("plugins/httpx_plugin.py", 'NAME = "httpx"\n'),
    ],
)
def test_examples_words_and_libraries_themselves_may_name_one(path: str, source: str) -> None:
    assert "library" not in rules({path: EMPTY + source})


def test_every_name_that_the_kernel_has_by_design_is_there() -> None:
    found = {(name, word) for name, module in parse_package(FILES).items() for word, _ in library_words(module)}
    assert [named for named in NAMED_BY_DESIGN if named not in found] == []


def test_a_module_that_imports_its_client_is_loaded_in_functions_only() -> None:
    inner = {"libraries/httpx/internals.py": EMPTY + "import httpx\n"}
    late = "__all__ = []\ndef f():\n    from timetracer_otel.libraries.httpx.internals import x\n"
    early = "__all__ = []\nfrom timetracer_otel.libraries.httpx.internals import x\n"
    assert rules({**inner, "libraries/httpx/__init__.py": late}) == []
    assert rules({**inner, "libraries/httpx/__init__.py": early}) == ["client"]


def test_imports_for_type_checkers_may_name_clients() -> None:
    assert rules({"incoming/asgi.py": EMPTY + "if TYPE_CHECKING:\n    import httpx\n"}) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("process/runtime.py", "from opentelemetry.sdk.trace import Span\n"),
        ("calls/flow.py", "import opentelemetry.sdk\n"),
        ("otel/provider.py", "from timetracer_otel.otel.processor import x\n"),
    ],
)
def test_a_module_that_needs_the_sdk_is_loaded_in_functions_only(path: str, source: str) -> None:
    known = {"otel/processor.py": EMPTY, "otel/__init__.py": ""}
    assert rules({**known, path: EMPTY + source}) == ["sdk"]
    late = "\n".join(f"    {line}" for line in source.splitlines())
    assert rules({**known, path: f"{EMPTY}def f():\n{late}\n"}) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("session/a.py", "import yaml\n"),
        ("session/a.py", "import pytest\n"),
        ("cassette/a.py", "import zstandard\n"),
        ("plugins/a.py", "def f():\n    import zstandard\n"),
    ],
)
def test_an_import_of_something_that_is_no_dependency_is_a_breach(path: str, source: str) -> None:
    assert rules({path: EMPTY + source}) == ["third-party"]


@pytest.mark.parametrize(
    "source", ["import os\nos.environ['A']\n", "import os\nx = os.getenv('A')\n", "from os import environ\n"]
)
def test_reading_the_environment_outside_config_is_a_breach(source: str) -> None:
    assert rules({"session/a.py": EMPTY + source}) == ["environment"]
    assert rules({"config.py": EMPTY + source}) == []


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
    assert rules({"base/__init__.py": '"""The room."""\n'}) == []
