"""The rules that the source tree keeps, checked from its text alone: ``python -m tests.import_arrows``.

Rooms and arrows are those of the design. What is checked, and under which name a breach is reported:

- ``arrow``: a module imports only from its own room and from rooms below it;
- ``client``: a client library is imported only by modules of its own plugin, and importing the package
  imports none (a module that imports one at its top is private to its plugin, and only loaded inside functions);
- ``third-party``: nothing is imported that the distribution does not depend on;
- ``environment``: only ``config`` reads the environment;
- ``length``: no module passes 400 lines;
- ``exports``: public modules have an ``__all__``, and every name in one exists.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "timetracer_otel"
MAX_LINES = 400

ROOMS: dict[str, int] = {
    **dict.fromkeys(("types", "constants", "exceptions", "_counters", "_faults", "_names"), 0),
    **dict.fromkeys(("_kept_functions", "_mappings", "_otel_internals", "_patching", "context"), 0),
    **dict.fromkeys(("_settings", "config"), 1),
    "cassette": 2,
    "session": 3,
    **dict.fromkeys(("bridge", "otel"), 4),
    "plugins": 5,
    **dict.fromkeys(("", "_scopes", "cli", "__main__"), 6),
    **dict.fromkeys(("pytest_plugin", "_pytest_contexts", "_pytest_paths", "_pytest_report", "_pytest_sessions"), 6),
}
"""Floor of each room; the front door is the package itself. ``context`` and `READERS` have rules of their own."""

READERS: dict[str, tuple[str, ...]] = {"report": (), "verify": ("report",)}
"""Rooms that only read what the others made, and which of each other they may import."""

READERS_SEE = 3
"""They import from this floor and below. Only the top floor imports them; the bridge `report` at the end."""

ALWAYS_ALLOWED = frozenset({"opentelemetry", "msgpack", "wrapt"})
ALLOWED_IN = {
    "pytest": ("pytest_plugin", "_pytest_contexts", "_pytest_paths", "_pytest_report", "_pytest_sessions"),
    "tqdm": ("verify",),
    "junitparser": ("verify",),
}
OPTIONAL = frozenset({"brotli", "brotlicffi", "zstandard", "compression"})
OPTIONAL_ROOMS = ("cassette", "session", "report")
"""Decoders that need not be there (``compression`` came with Python 3.14), and the rooms whose functions may ask."""

CLIENTS: dict[str, tuple[str, ...]] = {
    "httpx": ("httpx", "httpx2", "httpcore", "httpcore2", "h2", "anyio"),
    "requests": ("requests", "urllib3"),
    "aiohttp": ("aiohttp", "multidict", "yarl"),
    "sqlalchemy": ("sqlalchemy", "psycopg", "psycopg2", "asyncpg", "aiosqlite", "sqlite3"),
    "redis": ("redis", "fakeredis"),
}
"""Which modules belong to which plugin; a plugin's own modules are ``plugins/<name>…`` and ``plugins/_<name>…``."""

_OWNER = {module: plugin for plugin, modules in CLIENTS.items() for module in modules}
_INSTRUMENTATIONS = {"aiohttp_client": "aiohttp", "asyncpg": "sqlalchemy", "urllib3": "requests"}


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
    def is_private(self) -> bool:
        return any(part.startswith("_") for part in self.name.split("."))

    @property
    def plugin(self) -> str | None:
        """The plugin whose client libraries this module may import."""
        if self.room != "plugins" or "." not in self.name:
            return None
        stem = self.name.split(".")[1].lstrip("_")
        return next((plugin for plugin in CLIENTS if stem == plugin or stem.startswith(plugin + "_")), None)


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
    modules = {module.name: module for module in (_parse(path, source) for path, source in sorted(files.items()))}
    for module in modules.values():
        module.imports = list(_imports(module, frozenset(modules)))
    heavy = _heavy(modules)
    breaches: list[Breach] = []
    for module in modules.values():
        breaches += _arrows(module)
        breaches += _third_parties(module, heavy.get(module.name))
        breaches += _environment(module)
        breaches += _exports(module)
        lines = module.source.count("\n")
        if lines > MAX_LINES:
            breaches.append(Breach(module.path, lines, "length", f"{lines} lines, at most {MAX_LINES} are allowed"))
    return breaches


def read_package(folder: Path) -> dict[str, str]:
    """The files of a package, as `check` takes them."""
    return {str(path.relative_to(folder).as_posix()): path.read_text("utf-8") for path in folder.rglob("*.py")}


def _parse(path: str, source: str) -> Module:
    parts = path.removesuffix(".py").split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return Module(".".join(parts), path, source, ast.parse(source, path))


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


def _arrows(module: Module) -> Iterator[Breach]:
    room = module.room
    if room not in ROOMS and room not in READERS:
        yield Breach(module.path, 1, "arrow", f"{room!r} is no room of the design")
        return
    for found in module.imports:
        name = _own(found.target)
        if name is None:
            continue
        other = name.split(".", 1)[0]
        if other == room or (other not in ROOMS and other not in READERS):
            continue
        if room == "context":
            allowed = other == "_otel_internals" or (other == "session" and found.typing_only)
        elif room in READERS:
            allowed = other in READERS[room] or (other in ROOMS and ROOMS[other] <= READERS_SEE)
        elif other in READERS:
            allowed = ROOMS[room] == ROOMS[""] or (room == "bridge" and other == "report" and not found.at_top)
        elif other == "context":
            allowed = ROOMS[room] > ROOMS["context"]
        else:
            allowed = ROOMS[other] <= ROOMS[room]
        if not allowed:
            yield Breach(
                module.path, found.line, "arrow", f"{room or 'the front door'} may not import {found.target}"
            )


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
    if heavy is not None and not (module.plugin and module.is_private):
        yield Breach(
            module.path, heavy[1], "client", f"importing this module imports {heavy[0]}; do it in a function"
        )
    for found in module.imports:
        top = found.target.split(".", 1)[0]
        if found.typing_only or top == PACKAGE:
            continue
        owner = _client(found.target)
        if owner is not None:
            if module.plugin != owner:
                yield Breach(module.path, found.line, "client", f"only the {owner} plugin may import {found.target}")
        elif top in OPTIONAL:
            if found.at_top or module.room not in OPTIONAL_ROOMS:
                yield Breach(module.path, found.line, "third-party", f"{top} may be missing; import it in a function")
        elif top in ALLOWED_IN and module.room in ALLOWED_IN[top]:
            continue
        elif top not in ALWAYS_ALLOWED and top not in sys.stdlib_module_names:
            yield Breach(module.path, found.line, "third-party", f"{top} is no dependency of this room")


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
        if not module.is_private:
            yield Breach(module.path, 1, "exports", "a public module states its __all__")
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
