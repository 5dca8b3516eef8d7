"""The rules of the source tree: who may import whom, and who may read the environment.

``python -m tests.import_arrows`` prints each breach and ends with 1 where there is one. Tests call `check`.
The rules, by the name a breach is reported:

- ``arrow``: a module imports only from its own room and from rooms on lower floors;
- ``circle``: no two files need each other, not even for type checkers only;
- ``client``: a client library is imported only by modules of its own folder in ``libraries``, and importing the
  package imports none (a module that imports one at its top is only loaded inside functions of its own folder);
- ``library``: no identifier and no text constant of the kernel (the rooms on the floor of ``libraries`` and below it)
  has the name of a library or driver in it: the kernel asks what the libraries declare. Docstrings and comments may
  name examples, and `NAMED_BY_DESIGN` lists the exceptions;
- ``sdk``: OpenTelemetry's SDK is imported at the top by the modules of `SDK_MODULES` alone, which others load inside
  functions: who traces nothing pays nothing for it;
- ``third-party``: nothing is imported that the distribution does not depend on;
- ``environment``: only ``config`` reads the environment;
- ``exports``: modules have an ``__all__``, and every name in one exists.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PACKAGE = "timetracer_otel"

FLOORS: tuple[tuple[str, ...], ...] = (
    # the contract
    ("constants", "exceptions", "notebooks"),
    ("types",),
    ("base",),
    ("config",),
    # bytes, and what must not stand in them
    ("cassette", "redact"),
    ("match",),
    ("session", "storage"),
    ("threads",),
    ("current",),
    # one call
    ("calls",),
    ("guard", "logs", "otel", "libraries"),
    ("incoming",),
    # a process, and what OpenTelemetry loads of us
    ("process",),
    ("otel.by_hand", "otel.instrumentor"),
    ("otel.exporter",),
    # the front door
    ("context",),
    ("blocks", "testing"),
    ("", "plugins"),
    ("integrations", "verification"),
    ("cli", "pytest_plugin"),
    ("__main__",),
)
"""The rooms from the ground up; a module belongs to the longest name that fits. `READERS` have rules of their own."""

READERS: dict[str, tuple[str, ...]] = {"report": (), "verify": ("report",), "audit": (), "exchange": ("report",)}
"""Rooms that only read what the others made, and which of each other they may import."""

READERS_SEE = "session"
"""They import from this room's floor and below. Only ``verification``, ``cli`` and ``pytest_plugin`` import
them, and functions of ``blocks`` and ``process``, for the account at the end."""

SHOWN_IN_NOTEBOOKS = ("notebooks", "report.notebook")
"""The one module that loads what stands above it, inside a function, and what it loads.

A notebook asks a value for its HTML: the lowest floor has the values, and a reader makes the HTML.
"""

ALWAYS_ALLOWED = frozenset({"opentelemetry", "msgpack", "wrapt"})
ALLOWED_IN = {
    "asgiref": ("integrations",),
    "pytest": ("pytest_plugin",),
    "tqdm": ("verify",),
    "junitparser": ("verify",),
    "kingfisher_sdk": ("audit",),
    "rich": ("cli",),
    "shtab": ("cli",),
    "time_machine": ("process",),
    "duckdb": ("storage",),
    "fsspec": ("storage",),
    "obstore": ("storage",),
    "pyarrow": ("storage",),
}
OPTIONAL = frozenset({"brotli", "brotlicffi", "lz4", "zstandard", "compression", "cryptography"})
OPTIONAL_ROOMS = ("cassette", "redact", "report", "storage")
"""Decoders that need not be there (``compression`` came with Python 3.14), and the rooms whose functions may ask."""

SDK_MODULES = ("otel.by_hand", "otel.exporter", "otel.processor", "otel.sampler")

CLIENTS: dict[str, tuple[str, ...]] = {
    "httpx": ("httpx", "httpx2", "httpcore", "httpcore2", "h2", "anyio"),
    "requests": ("requests",),
    "urllib3": ("urllib3",),
    "botocore": ("aiobotocore", "boto3", "botocore"),
    "aiohttp": ("aiohttp", "multidict", "yarl"),
    "django_orm": ("django",),
    "sqlalchemy": ("sqlalchemy",),
    "sqlite3": ("sqlite3", "_sqlite3"),
    "aiomysql": ("aiomysql",),
    "aio_pika": ("aio_pika", "aiormq", "pamqp"),
    "aiokafka": ("aiokafka",),
    "asyncmy": ("asyncmy",),
    "confluent_kafka": ("confluent_kafka", "cimpl"),
    "kafka_python": ("kafka",),
    "mysqlclient": ("MySQLdb", "mysqlclient"),
    "mysqlconnector": ("mysql", "_mysql_connector"),
    "pika": ("pika",),
    "psycopg": ("psycopg",),
    "aiosqlite": ("aiosqlite",),
    "psycopg2": ("psycopg2",),
    "pymysql": ("pymysql",),
    "asyncpg": ("asyncpg",),
    "grpc": ("grpc",),
    "pymongo": ("pymongo", "bson", "dns", "gridfs", "motor"),
    "redis": ("redis", "fakeredis"),
    "websocket_client": ("websocket",),
    "websockets": ("websockets",),
}
"""Which modules belong to which folder of ``libraries``."""

DRIVERS = (
    "databricks",
    "oracledb",
    "pg8000",
    "pyodbc",
    "sqlite",
    "uvloop",
)
"""Drivers and loops that no folder of ``libraries`` imports."""

PLAIN_WORDS = frozenset({"h2", "requests", "responses"})
"""Names that are words of their own too ("requests under way"): they count as the whole of a name or of its first
part (``requests.adapters``, ``requests:Session``)."""

NAMED_BY_DESIGN: dict[tuple[str, str], str] = {
    ("base.plugin_names", "redis"): "a group of the mock and live lists; the contract has it",
    (
        "base.settings",
        "Groups (http, db, nosql, redis, rpc, ws, messaging) or libraries that a replay answers; empty: all.",
    ): "text for users",
    ("cassette.recorded_errors", "sqlite3"): "a module of Python itself, whose errors any library may raise",
    ("constants", "REDIS"): "a kind of event; the cassette format has it",
    ("constants", "redis"): "the same, as it stands in files",
    ("guard.c_connections", "uvloop"): "an event loop, no client: no library declares it",
    ("session.observed", "REDIS"): "the kind of event",
    ("session.observed", "rpc.grpc.status_code"): "an attribute of the semantic conventions",
    ("session.observed", "redis"): "the value of the semantic convention's db.system.name",
    ("storage.rows", "REDIS"): "the kind of event",
    ("storage.rows", "redis_calls"): "a column of the index: how many events are of that kind",
}
"""By module and word: why the kernel may name it."""

_FILES_OF_DRIVERS = "libraries.kits.dbapi.drivers."
_USED_DIRECTLY = frozenset(
    {"aiomysql", "asyncmy", "asyncpg", "mysqlclient", "mysqlconnector", "psycopg", "psycopg2", "pymysql", "sqlite3"}
)
"""Drivers with a folder of their own, and a file in the kit, which SQLAlchemy stands on as well."""
_ABOVE_URLLIB3 = ("libraries.kits.urllib3", "libraries.requests")
"""Who imports urllib3 besides its own folder: what libraries above it share, and such a library."""
_OWNER = {module: plugin for plugin, modules in CLIENTS.items() for module in modules}
_INSTRUMENTATIONS = {"aiohttp_client": "aiohttp", "urllib3": "urllib3"}


@dataclass(frozen=True, slots=True)
class Import:
    """One import of a module, wherever in the file it stands."""

    target: str
    line: int
    at_top: bool
    """It runs when the module is imported (and is not for type checkers only)."""
    typing_only: bool


@dataclass(slots=True)
class Module:
    """One source file: its place in the package and what was read from it."""

    name: str
    """Dotted, below the package; empty for the front door."""
    path: str
    source: str
    tree: ast.Module
    imports: list[Import] = field(default_factory=list)

    @property
    def room(self) -> str:
        return self.name.split(".", 1)[0]

    @property
    def library(self) -> str | None:
        """The folder of ``libraries`` that it lies in, whose client libraries it may import."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "libraries" and len(parts) > 1 else None

    @property
    def is_declaration(self) -> bool:
        """Whether it is the front of its library's folder, which is loaded where the library may be missing."""
        return self.library is not None and self.name.count(".") == 1


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a line breaks."""

    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def check(files: dict[str, str]) -> list[Breach]:
    """Every breach in a package given as its files: path below the package folder, and text."""
    modules = parse_package(files)
    for module in modules.values():
        module.imports = list(_imports(module, frozenset(modules)))
    heavy = _heavy(modules)
    breaches: list[Breach] = []
    for module in modules.values():
        breaches += _arrows(module)
        breaches += _third_parties(module, heavy.get(module.name))
        breaches += _library_names(module)
        breaches += _sdk(module)
        breaches += _environment(module)
        breaches += _exports(module)
    return [*breaches, *_circles(modules)]


def parse_package(files: dict[str, str]) -> dict[str, Module]:
    """The modules of a package by dotted name, without their imports."""
    return {module.name: module for module in (_parse(path, source) for path, source in sorted(files.items()))}


def read_package(folder: Path) -> dict[str, str]:
    """The files of a package, as `check` takes them."""
    return {str(path.relative_to(folder).as_posix()): path.read_text("utf-8") for path in folder.rglob("*.py")}


def _parse(path: str, source: str) -> Module:
    parts = path.removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return Module(".".join(parts), path, source, _tree(path, source))


@cache
def _tree(path: str, source: str) -> ast.Module:
    """It is only read: parsing takes half of the time."""
    return ast.parse(source, path)


def _imports(module: Module, known: frozenset[str]) -> Iterator[Import]:
    package = module.name if module.path.endswith("__init__.py") else module.name.rpartition(".")[0]
    full_package = f"{PACKAGE}.{package}".rstrip(".")
    for node, at_top, typing_only in _walk(module.tree, True, False):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                outer = full_package.split(".")[: len(full_package.split(".")) - node.level + 1]
                base = ".".join([*outer, base]).rstrip(".")
            targets = [_submodule(base, alias.name, known) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"import_module", "importlib.import_module"}:
            targets = [
                arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
        for target in dict.fromkeys(targets):
            yield Import(target, getattr(node, "lineno", 0), at_top, typing_only)


def _submodule(base: str, name: str, known: frozenset[str]) -> str:
    """``from base import name`` imports a module of ours where there is one of that name, otherwise from ``base``."""
    if base != PACKAGE and not base.startswith(PACKAGE + "."):
        return f"{base}.{name}"
    inner = f"{base}.{name}".removeprefix(PACKAGE + ".")
    return f"{base}.{name}" if inner in known else base


def _walk(node: ast.AST, at_top: bool, typing_only: bool) -> Iterator[tuple[ast.AST, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, at_top and not typing_only, typing_only
        inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for statement in child.body:
                yield statement, False, True
                yield from _walk(statement, False, True)
            for statement in child.orelse:
                yield statement, at_top, typing_only
                yield from _walk(statement, at_top, typing_only)
        else:
            yield from _walk(child, at_top and not inside, typing_only)


def _own(target: str) -> str | None:
    """The dotted name below the package, or None for a module that is not ours."""
    if target == PACKAGE:
        return ""
    return target.removeprefix(PACKAGE + ".") if target.startswith(PACKAGE + ".") else None


def _place(name: str) -> tuple[str, int] | None:
    """The entry of `FLOORS` that a module belongs to, and its floor; None where no room has it."""
    parts = name.split(".") if name else []
    for length in range(len(parts), -1, -1):
        entry = ".".join(parts[:length])
        if length == 0 and name:
            return None
        for floor, entries in enumerate(FLOORS):
            if entry in entries:
                return entry, floor
    return None


def _reader(name: str) -> str | None:
    room = name.split(".", 1)[0]
    return room if room in READERS else None


def _floor(room: str) -> int:
    return next(floor for floor, entries in enumerate(FLOORS) if room in entries)


def _arrows(module: Module) -> Iterator[Breach]:
    reader, place = _reader(module.name), _place(module.name)
    if reader is None and place is None:
        yield Breach(module.path, 1, "arrow", f"{module.room!r} is no room of the design")
        return
    for found in module.imports:
        name = _own(found.target)
        if name is None or (name == "" and module.name == ""):
            continue
        other_reader, other = _reader(name), _place(name)
        if other_reader is None and other is None:
            continue
        if reader is not None:
            allowed = other_reader == reader or other_reader in READERS[reader]
            allowed = allowed or (other is not None and other[1] <= _floor(READERS_SEE))
        elif other_reader is not None:
            assert place is not None
            asks_at_the_end = place[0] in {"blocks", "process"} and not found.at_top
            shows = (module.name, name) == SHOWN_IN_NOTEBOOKS and not found.at_top
            allowed = place[1] >= _floor("verification") or asks_at_the_end or shows
        else:
            assert place is not None
            assert other is not None
            # Facades of a room load what lies on another floor inside functions.
            is_facade = name.startswith(module.name + ".") and not found.at_top
            allowed = other[0] == place[0] or other[1] < place[1] or is_facade
            if place[0] == other[0] == "libraries":
                theirs = name.split(".")[1] if "." in name else None
                allowed = theirs in {None, module.library, "kits"}
        if not allowed:
            who = module.name or "the front door"
            yield Breach(module.path, found.line, "arrow", f"{who} may not import {found.target}")


def _circles(modules: dict[str, Module]) -> Iterator[Breach]:
    """Files that need each other, wherever in them the imports stand; the way that a reader would go."""
    needs = {
        module.name: sorted(
            {name for found in module.imports if (name := _own(found.target)) in modules and name != module.name}
            # The front door, and the front of a room, load their own modules when a name is asked for.
            - ({""} if module.name else set())
            - ({SHOWN_IN_NOTEBOOKS[1]} if module.name == SHOWN_IN_NOTEBOOKS[0] else set())
        )
        for module in modules.values()
    }
    done: set[str] = set()
    for start in needs:
        way: list[str] = []

        def walk(name: str, way: list[str] = way) -> Iterator[Breach]:
            if name in way:
                circle = [*way[way.index(name) :], name]
                yield Breach(modules[name].path, 1, "circle", " -> ".join(circle))
                return
            if name in done:
                return
            way.append(name)
            for other in needs[name]:
                yield from walk(other)
            way.pop()
            done.add(name)

        yield from walk(start)


def _sdk(module: Module) -> Iterator[Breach]:
    for found in module.imports:
        if not found.at_top:
            continue
        if found.target.startswith("opentelemetry.sdk") and module.name not in SDK_MODULES:
            yield Breach(module.path, found.line, "sdk", f"importing {module.name} imports {found.target}")
        name = _own(found.target)
        if name in SDK_MODULES and module.name not in SDK_MODULES:
            yield Breach(module.path, found.line, "sdk", f"{name} imports the SDK; load it in a function")


def _client(target: str) -> str | None:
    """The plugin that a module belongs to, where it is a client library or its instrumentation."""
    if target.startswith("opentelemetry.instrumentation."):
        name = target.split(".")[2]
        return _INSTRUMENTATIONS.get(name, _OWNER.get(name))
    return _OWNER.get(target.split(".", 1)[0])


def _heavy(modules: dict[str, Module]) -> dict[str, tuple[str, int]]:
    """Modules whose import imports a client library: the library, and the line that begins it."""
    heavy: dict[str, tuple[str, int]] = {}
    while True:
        before = len(heavy)
        for module in modules.values():
            for found in module.imports:
                if module.name in heavy or not found.at_top:
                    continue
                name = _own(found.target)
                if name is None:
                    if _client(found.target):
                        heavy[module.name] = (found.target, found.line)
                elif name in heavy and name != module.name:
                    heavy[module.name] = (heavy[name][0], found.line)
        if len(heavy) == before:
            return heavy


def _third_parties(module: Module, heavy: tuple[str, int] | None) -> Iterator[Breach]:
    if heavy is not None and (module.library is None or module.is_declaration):
        yield Breach(
            module.path, heavy[1], "client", f"importing this module imports {heavy[0]}; do it in a function"
        )
    for found in module.imports:
        top = found.target.split(".", 1)[0]
        if found.typing_only or top == PACKAGE:
            continue
        owner = _client(found.target)
        if owner is not None:
            is_driver_file = module.name.startswith(_FILES_OF_DRIVERS) and owner in _USED_DIRECTLY
            is_above = owner == "urllib3" and module.name.startswith(_ABOVE_URLLIB3)
            if module.library != owner and not is_driver_file and not is_above:
                yield Breach(module.path, found.line, "client", f"only libraries/{owner} may import {found.target}")
        elif top in OPTIONAL:
            if found.at_top or module.room not in OPTIONAL_ROOMS:
                yield Breach(module.path, found.line, "third-party", f"{top} may be missing; import it in a function")
        elif top in ALLOWED_IN and module.room in ALLOWED_IN[top]:
            continue
        elif top not in ALWAYS_ALLOWED and top not in sys.stdlib_module_names:
            yield Breach(module.path, found.line, "third-party", f"{top} is no dependency of this room")


_NAMES = frozenset({name for names in CLIENTS.values() for name in names} | {*DRIVERS})
_LIBRARY = re.compile("|".join(sorted(map(re.escape, _NAMES - PLAIN_WORDS))), re.IGNORECASE)
_WORD_FIELDS = frozenset({"id", "attr", "name", "arg", "asname", "module", "value"})


def library_words(module: Module) -> Iterator[tuple[str, int]]:
    """Identifiers and text constants that name a library or driver, each with its line; docstrings left out."""
    texts = {
        id(node.value)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(module.tree):
        if id(node) in texts:
            continue
        for field_name in _WORD_FIELDS.intersection(node._fields):
            word = getattr(node, field_name)
            if isinstance(word, bytes):
                word = word.decode("latin-1")
            if isinstance(word, str) and _names_a_library(word):
                yield word, getattr(node, "lineno", 1)


@cache
def _names_a_library(word: str) -> bool:
    return bool(_LIBRARY.search(word)) or re.split(r"[.:]", word)[0] in PLAIN_WORDS


def _library_names(module: Module) -> Iterator[Breach]:
    place = _place(module.name)
    if place is None or place[0] == "libraries" or place[1] > _floor("libraries"):
        return
    for word, line in library_words(module):
        if (module.name, word) not in NAMED_BY_DESIGN:
            yield Breach(module.path, line, "library", f"the kernel names {word!r}; let the library declare it")


def _environment(module: Module) -> Iterator[Breach]:
    if module.name == "config":
        return
    words = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in words and ast.unparse(node.value) in {"os", "posix"}:
            yield Breach(module.path, node.lineno, "environment", f"os.{node.attr} belongs to config")
        elif (
            isinstance(node, ast.ImportFrom) and node.module == "os" and words & {alias.name for alias in node.names}
        ):
            yield Breach(module.path, node.lineno, "environment", "the environment belongs to config")


def _exports(module: Module) -> Iterator[Breach]:
    exported: list[str] | None = None
    line = 1
    for statement in module.tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            line = statement.lineno
            try:
                exported = list(ast.literal_eval(statement.value))  # type: ignore[attr-defined]
            except ValueError:
                return  # computed: a test that imports the module looks for the names
    if exported is None:
        # The front of a room may have nothing for others: a docstring, and no more.
        if len(module.tree.body) > 1 or not module.path.endswith("__init__.py"):
            yield Breach(module.path, 1, "exports", "a module states its __all__")
        return
    bound = set(_bound(module.tree))
    for name in sorted({name for name in exported if exported.count(name) > 1}):
        yield Breach(module.path, line, "exports", f"{name} stands twice in __all__")
    if "__getattr__" in bound:
        return  # names made on demand: a test that imports the module looks for them
    for name in exported:
        if name not in bound:
            yield Breach(module.path, line, "exports", f"{name} stands in __all__ and nowhere else")


def _bound(tree: ast.AST) -> Iterator[str]:
    """Names that importing a module binds (TYPE_CHECKING blocks bind none)."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield child.name
        elif isinstance(child, (ast.Import, ast.ImportFrom)):
            for alias in child.names:
                yield alias.asname or alias.name.split(".", 1)[0]
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        elif isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for statement in child.orelse:
                yield from _bound(ast.Module([statement], []))
        elif not isinstance(child, ast.Lambda):
            yield from _bound(child)


def main() -> int:
    """Check the package beside this folder; 1 where a rule is broken."""
    folder = Path(__file__).parent.parent / "src" / PACKAGE
    files = read_package(folder)
    breaches = check(files)
    for breach in breaches:
        print(f"src/{PACKAGE}/{breach}")
    print(f"import arrows: {len(files)} modules, {len(breaches) or 'no'} breach{'es' if len(breaches) > 1 else ''}")
    return 1 if breaches or not files else 0


if __name__ == "__main__":
    sys.exit(main())
