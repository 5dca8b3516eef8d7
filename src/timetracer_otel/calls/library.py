"""`LibraryPlugin`: what a library declares, and installing and removing its seams.

A session needs the seams of every library, and most plugins are of libraries that the app does not use. So the open
sessions are counted once for all plugins (`activate_all`), and a session looks after the libraries that are imported.
The others ask whether a session is open when they are imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

from opentelemetry import trace

from timetracer_otel.base import faults, plugin_names
from timetracer_otel.base.otel_context import has_real_provider
from timetracer_otel.base.patching import SeamFailure, Seams, Undoable
from timetracer_otel.calls import hooks
from timetracer_otel.calls.own_spans import OwnSpans
from timetracer_otel.calls.refusals import Concerns, EntryPoint, refusing
from timetracer_otel.calls.registry import Activatable, Connectors, load_plugins
from timetracer_otel.exceptions import PluginNotFoundError
from timetracer_otel.redact import forms
from timetracer_otel.session.header import note_distributions
from timetracer_otel.threads import follow, holding

__all__ = ["LibraryPlugin", "activate_all", "deactivate_all"]

_lock = threading.RLock()
_sessions = 0
"""How many sessions are open that need the seams of all plugins."""


class _Known(NamedTuple):
    """The plugins that take part in sessions."""

    plugins: Sequence[Activatable] = ()
    libraries: Sequence[LibraryPlugin] = ()
    others: Sequence[Activatable] = ()
    """Those that are no `LibraryPlugin`."""
    modules: Mapping[str, None] = {}
    """The import names of the modules of all libraries. The keys of two mappings are compared without a call each."""


_known = _Known()
_joined: dict[int, LibraryPlugin] = {}
"""By identity: the plugins whose seams are in for open sessions."""


def _is_half_imported(module: ModuleType | None) -> bool:
    return getattr(getattr(module, "__spec__", None), "_initializing", False)


@dataclass
class LibraryPlugin:
    """Installs and removes the seams of one library. Safe from any thread.

    Three things keep the seams installed: an explicit `enable`, until `disable`; each `activate` (for the whole
    process), until its `deactivate`; and each open session (`activate_all`).

    Attributes:
        name: The plugin's name in the mock and live lists.
        group: Its group in these lists.
        modules: Import names of the library's modules. The seams of each are installed when it is imported.
        patches: Makes the patches of one such module.
        instrumentors: OpenTelemetry's own instrumentors for it, as ``module:class``.
    """

    name: str
    group: str
    modules: Sequence[str]
    patches: Callable[[ModuleType], Sequence[Undoable]]
    instrumentors: Sequence[str] = ()
    check: Callable[[ModuleType], Iterable[str]] | None = None
    """Gives the names that the plugin relies upon in such a module and that do not exist.

    Where it gives any, no patch is applied: a recording passes the calls through, a replay refuses them."""
    entry_points: Mapping[str, Sequence[EntryPoint]] = field(default_factory=dict)
    """By module: the library's public functions that refuse in a replay where the seams of that module could not be
    installed. Without any, the replay refuses connections."""
    concerns: Concerns | None = None
    """Whether calls of such a function on an object are this plugin's. Without it, all are."""
    packages: Collection[str] = ()
    """Top-level packages whose connections ``block_network`` lets pass while this plugin makes real calls. Without
    it, the packages of ``modules``."""
    connectors: Mapping[str, Connectors] = field(default_factory=dict)
    """By module: its functions by which Python asks C code for a connection. ``block_network`` refuses them."""
    captures: Callable[[], bool] | None = None
    """Whether the seams see the call whose span begins now. Asked in a replay, where the library has objects that are
    older than the seams, and that these cannot reach. Without it, they see all."""
    form: forms.CallForm | None = None
    """How arguments, results and errors of its calls are redacted and compared. Without it, as the group declares;
    and where the group declares nothing, as plain values."""
    newer_than_declared: bool = False
    """Whether our tests show that the instrumentors work with releases of the library that they do not declare."""
    import_first: Collection[str] = ()
    """Modules to import before an instrumentor is switched on. A module that is imported later would take functions
    of the library as the instrumentor has wrapped them, so that one call of the app gets two spans."""
    knows: Mapping[str, str] = field(default_factory=dict)
    """By package: the releases that the plugin is tried with, as a refusal names them (``3.12 to 3.14``)."""
    stands_on: Collection[str] = ()
    """Plugins of libraries that this one calls, which note its calls. They are switched on with it."""
    rests: bool = False
    """Whether the seams of an enabled plugin are out as long as no session is anywhere in the process. Calls of the
    library then cost what they cost without us. A patch that notes something outside sessions, too, is a `Staying`.

    Only for patches of methods that the library looks up at each call: whoever took a reference while the seams were
    out would go past them in a session."""
    _explicit: bool = field(default=False, init=False)
    _above: int = field(default=0, init=False)
    """How many enabled plugins stand on it."""
    _holds: int = field(default=0, init=False)
    _takes_part: bool = field(default=False, init=False)
    """Whether open sessions need the seams."""
    _seams: Seams = field(init=False)
    _switched_on: list[Any] = field(default_factory=list, init=False)
    _failed: set[str] = field(default_factory=set, init=False)
    """Instrumentors that raised when they were switched on."""

    def __post_init__(self) -> None:
        self.packages = frozenset(self.packages or (name.partition(".")[0] for name in self.modules))
        self._seams = Seams(
            self.name,
            self.modules,
            self._patches_of,
            check=None if self.check is None else self._missing_in,
            instead=lambda module, failure: refusing(
                self.entry_points.get(module.__name__, ()), self.concerns, module, failure
            ),
            knows=self.knows,
            said=f"Recordings pass calls of {self.name} through and lack them; replays refuse them.",
            needed=self._joins,
        )
        scopes = [path.partition(":")[0] for path in self.instrumentors]
        plugin_names.register(self.name, self.group, scopes, self.captures)
        forms.declare(self.name, self.form)
        note_distributions(*dict.fromkeys(name.partition(".")[0] for name in self.modules))
        if self.rests:
            follow(self._rest_or_wake)

    def _patches_of(self, module: ModuleType) -> Sequence[Undoable]:
        self._begin_anew()
        return self.patches(module)

    def _missing_in(self, module: ModuleType) -> Iterable[str]:
        assert self.check is not None
        self._begin_anew()
        return self.check(module)

    def _begin_anew(self) -> None:
        """Import those of the plugin's files again that are only half imported.

        Where nobody has imported the library before one of them, the library is imported by it, and the seams are
        installed meanwhile: they would find a module without most of its names.
        """
        package = f"{self.patches.__module__}."
        if _is_half_imported(sys.modules.get(f"{package}internals")):
            for name, found in [*sys.modules.items()]:
                if name.startswith(package) and _is_half_imported(found):
                    # Python gives who imports it the module that stands here in the end.
                    del sys.modules[name]

    def enable(self, **instrument_with: Any) -> None:
        """Install the seams until `disable`, and switch OpenTelemetry's own instrumentors on.

        An instrumentor is switched on where it is installed, the app has set a real tracer provider, and nobody has
        switched it on yet. Harmless when repeated.

        Args:
            instrument_with: Arguments for ``instrument()`` of an instrumentor that is switched on now.

        Raises:
            PluginNotFoundError: The library is not installed; the text has the line that installs it.
        """
        if not any(_is_there(module) for module in self.modules):
            raise PluginNotFoundError(self.name)
        with _lock:
            if not self._explicit:
                for plugin in self._beneath():
                    plugin.carry(1)
            self._explicit = True
            self._seams.install()
            self._rest_or_wake()
            hooks.watch_spans()
            self._switch_instrumentors_on(instrument_with)

    def disable(self) -> None:
        """Undo `enable`. Seams that a session needs stay until it ends. Harmless when repeated."""
        with _lock:
            if self._explicit:
                for plugin in self._beneath():
                    plugin.carry(-1)
            self._explicit = False
            while self._switched_on:
                self._switched_on.pop().uninstrument()
            self._remove_unused()

    def carry(self, more: int) -> None:
        """So many more enabled plugins stand on this one, or less: it is enabled as long as any does."""
        with _lock:
            self._above += more
            if self._above:
                self._seams.install()
                self._rest_or_wake()
            else:
                self._remove_unused()

    def activate(self) -> None:
        """Install the seams, now or when the library is imported."""
        with _lock:
            self._holds += 1
            self._seams.wake()
            self._seams.install()

    def deactivate(self) -> None:
        """Undo one `activate`."""
        with _lock:
            self._holds = max(self._holds - 1, 0)
            self._remove_unused()

    def take_part(self, takes_part: bool) -> None:
        """Whether open sessions have the seams from when the library is imported on (see `activate_all`)."""
        self._takes_part = takes_part
        if takes_part:
            self._seams.listen()
        else:
            self.leave()

    def join(self) -> None:
        """Install the seams for an open session, where the library is imported."""
        _joined[id(self)] = self
        self._seams.wake()
        self._seams.install_needed()

    def leave(self) -> None:
        """Remove the seams where no open session needs them, and nothing else does."""
        self._remove_unused()

    def left_out(self) -> Collection[str]:
        """The names of the instrumentors that may not declare the installed release of the library, and work with
        it: none where the library is not installed.
        """
        if not self.newer_than_declared or not any(_is_there(module) for module in self.modules[:1]):
            return ()
        return [path.partition(":")[0].rpartition(".")[2] for path in self.instrumentors]

    def instrument_left_out(self) -> None:
        """Switch on the instrumentors that ``opentelemetry-instrument`` left out, as they do not declare the
        installed release of the library.
        """
        if not self.left_out():
            return
        with _lock:
            for instrumentor in self._switch_instrumentors_on({}):
                faults.logger.info(
                    "timetracer-otel: %s does not declare the installed version of %s; switched on all the same.",
                    type(instrumentor).__module__,
                    self.name,
                )

    @property
    def failures(self) -> tuple[SeamFailure, ...]:
        """The modules whose seams could not be installed, with the reasons."""
        return self._seams.failures

    @property
    def is_wanted(self) -> bool:
        """Whether anything but an open session keeps the seams installed."""
        return self._explicit or self._above > 0 or self._holds > 0

    @property
    def is_on(self) -> bool:
        """Whether calls of the library are seen, as far as they go through its seams."""
        return self.is_wanted or self._is_needed

    def _beneath(self) -> Iterator[LibraryPlugin]:
        if self.stands_on:
            yield from (
                each for each in load_plugins() if isinstance(each, LibraryPlugin) and each.name in self.stands_on
            )

    def _joins(self) -> bool:
        """Whether the seams of a module that is imported now are needed by an open session."""
        # First this: the end of the last session sees it, or this sees the end.
        _joined[id(self)] = self
        return self._is_needed

    @property
    def _is_needed(self) -> bool:
        return self._takes_part and _sessions > 0

    def _remove_unused(self) -> None:
        if not self.is_wanted:
            if self._is_needed:
                _joined[id(self)] = self
                self._seams.leave_needed()
            else:
                self._seams.remove()
        self._rest_or_wake()

    def _rest_or_wake(self) -> None:
        """Let the seams rest where the plugin is enabled and no session needs them."""
        if not self.rests:
            return
        with _lock:
            if self._holds or _sessions or holding.present or not (self._explicit or self._above):
                self._seams.wake()
            else:
                self._seams.rest()

    def _switch_instrumentors_on(self, instrument_with: dict[str, Any]) -> list[Any]:
        switched_on: list[Any] = []
        if not has_real_provider():
            return switched_on
        own = {"tracer_provider": OwnSpans(trace.get_tracer_provider())}
        for path in (*self.instrumentors, *(path for plugin in self._beneath() for path in plugin.instrumentors)):
            module_name, _, class_name = path.partition(":")
            try:
                instrumentor = getattr(importlib.import_module(module_name), class_name)()
            except (ImportError, AttributeError):
                # The instrumentor is not installed, or too old for this library. The seams work without it.
                continue
            except Exception as error:
                # Some instrumentors read the environment at import, and raise for values that they cannot use.
                self._note_failed(path, error)
                continue
            needed = instrumentor.instrumentation_dependencies()
            # What is instrumented may be Python's own, which nobody installs: then nothing is needed.
            there = not needed or any(
                _is_installed(re.split(r"[^\w.-]", dependency, maxsplit=1)[0]) for dependency in needed
            )
            if there and not instrumentor.is_instrumented_by_opentelemetry and path not in self._failed:
                try:
                    for name in self.import_first:
                        importlib.import_module(name)
                    instrumentor.instrument(skip_dep_check=True, **{**own, **instrument_with})
                except Exception as error:
                    self._note_failed(path, error)
                    continue
                self._switched_on.append(instrumentor)
                switched_on.append(instrumentor)
        return switched_on

    def _note_failed(self, path: str, error: Exception) -> None:
        # An instrumentor cannot undo half of its work. What it did before it raised stays, and must not be done
        # twice.
        if path in self._failed:
            return
        self._failed.add(path)
        faults.logger.warning(
            "timetracer-otel: %s cannot be switched on: %s. Calls are recorded and replayed all the same; spans of "
            "theirs may be missing.",
            path,
            str(error).partition("\n")[0],
        )


def activate_all() -> Sequence[Activatable]:
    """Install the seams of all plugins for a session, now or when their libraries are imported.

    Returns:
        What `deactivate_all` needs to undo it.
    """
    global _sessions
    with _lock:
        # First this: what is imported from now on sees it, and what is imported by now is found.
        _sessions += 1
        known = _those_known()
        imported = sys.modules.keys() & known.modules.keys()
        for plugin in known.libraries if imported else ():
            if not imported.isdisjoint(plugin.modules):
                plugin.join()
        for other in known.others:
            other.activate()
        return known.others


def deactivate_all(others: Sequence[Activatable]) -> None:
    """Undo one `activate_all`, which gave these."""
    global _sessions
    with _lock:
        _sessions -= 1
        for other in others:
            other.deactivate()
        if not _sessions:
            joined = list(_joined.values())
            _joined.clear()
            for plugin in joined:
                plugin.leave()


def _those_known() -> _Known:
    """All plugins. One that was registered since takes part from now on, and one that it replaces no more."""
    global _known
    plugins = load_plugins()
    if plugins is not _known.plugins:
        replaced = [one for one in _known.libraries if all(one is not other for other in plugins)]
        libraries = [plugin for plugin in plugins if isinstance(plugin, LibraryPlugin)]
        others = [plugin for plugin in plugins if not isinstance(plugin, LibraryPlugin)]
        modules = dict.fromkeys(module for library in libraries for module in library.modules)
        _known = _Known(plugins, libraries, others, modules)
        for library in replaced:
            library.take_part(False)
        for library in libraries:
            library.take_part(True)
    return _known


def _is_installed(distribution: str) -> bool:
    """Whether a distribution is installed. Most are called as the module in them is, which is looked up quicker."""
    if _is_there(distribution):
        return True
    # Imported here: it costs milliseconds, and few distributions have another name (``grpcio``).
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _is_there(module: str) -> bool:
    # To find a module imports the packages that it is in.
    with suppress(ModuleNotFoundError):
        return module in sys.modules or importlib.util.find_spec(module) is not None
    return False
