"""Who asks for a connection: the places on the stack, and the library that they belong to."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple

__all__ = [
    "Place",
    "caller_of",
    "is_in_package",
    "is_in_transport",
    "is_own_plumbing",
    "is_telemetry",
    "library_of",
    "maker_of",
    "places",
]

_OWN = str(Path(__file__).parents[1]) + os.sep
_OWN_PACKAGE = f"{__name__.partition('.')[0]}."
_STDLIB = (str(Path(os.__file__).parent) + os.sep, "<frozen ")
_INSTALLED = ("site-packages" + os.sep, "dist-packages" + os.sep)
_CARRIERS = ("threading", "concurrent.futures", "asyncio")
"""Modules of the standard library that run other people's code, and connect for it."""
_OF_SOCKETS = (
    *((socket.socket, name) for name in ("connect", "connect_ex", "sendto", "sendmsg")),
    *((socket, name) for name in ("create_connection", "getaddrinfo", "gethostbyname")),
)


class Place(NamedTuple):
    """A line of code that runs."""

    package: str
    module: str
    file: str
    line: int
    function: str

    @property
    def is_installed(self) -> bool:
        """Whether it belongs to a package that was installed."""
        return any(folder in self.file for folder in _INSTALLED)

    @property
    def is_stdlib(self) -> bool:
        """Whether it belongs to the standard library."""
        return not self.is_installed and self.file.startswith(_STDLIB)

    def __str__(self) -> str:
        return f"{self.module} ({Path(self.file).name}:{self.line}, in {self.function})"


def places() -> list[Place]:
    """The places on the stack, innermost first, without our own.

    A function that somebody put in the place of a function of sockets is left out (pytest-socket and blockbuster do
    so): it asks for nothing itself.
    """
    found = []
    stand_ins = {getattr(getattr(holder, name, None), "__code__", None) for holder, name in _OF_SOCKETS}
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        is_stand_in = frame.f_code in stand_ins and not file.startswith(_STDLIB)
        if not file.startswith(_OWN) and not is_stand_in:
            module = str(frame.f_globals.get("__name__", "?"))
            found.append(Place(module.partition(".")[0], module, file, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return found


def maker_of(stack: Sequence[Place]) -> Place:
    """The innermost place that is not of the standard library."""
    return next((place for place in stack if not place.is_stdlib), stack[0])


def caller_of(stack: Sequence[Place]) -> Place | None:
    """The innermost place of the app's own code, where another one made the connection."""
    own = next((place for place in stack if not place.is_stdlib and not place.is_installed), None)
    return own if own != maker_of(stack) else None


def library_of(stack: Sequence[Place]) -> str:
    """The library that connects: an installed package, or the module of the standard library that the app called."""
    found = "socket"
    for place in stack:
        if place.is_installed:
            return place.package
        if not place.is_stdlib:
            break
        if not place.module.startswith(_CARRIERS):
            found = place.module
        elif place.package == "asyncio" and found == "socket":
            found = "asyncio"
    return found


def is_telemetry(stack: Sequence[Place], transports: tuple[str, ...]) -> bool:
    """Whether the connection carries telemetry: logs, traces, metrics. It is no call of the app's.

    Args:
        stack: The places, innermost first.
        transports: Modules by which telemetry is sent, besides the handlers of Python's logging.
    """
    # Its handlers send over sockets, and one of them by HTTP.
    makers = [place for place in stack if place.module not in ("socket", "http.client")]
    if makers and makers[0].module == "logging.handlers":
        return True
    return any(place.module.startswith(transports) for place in stack)


def is_in_package(packages: Container[str]) -> bool:
    """Whether code of one of these packages is on the stack. It makes no `Place` of each frame.

    Args:
        packages: Names of packages at the top, and of modules.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if type(module) is str and (module.partition(".")[0] in packages or module in packages):
            return True
        frame = frame.f_back
    return False


def is_in_transport(sends_telemetry: Callable[[str], bool]) -> bool:
    """Whether what is running sends telemetry, for each span that begins: it makes no `Place` of each frame.

    The frames of OpenTelemetry that begin the span are left out.

    Args:
        sends_telemetry: Whether a module, by its name, is one by which telemetry is sent.
    """
    frame: FrameType | None = sys._getframe(1)
    begins_span = True
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if type(module) is str:
            begins_span = begins_span and module.startswith((_OWN_PACKAGE, "opentelemetry."))
            if not begins_span and sends_telemetry(module):
                return True
        frame = frame.f_back
    return False


def is_own_plumbing(stack: Sequence[Place], *, is_path: bool) -> bool:
    """Whether the program connects to itself: Python makes a pair of sockets, or talks to its own workers."""
    if stack and stack[0].module == "socket" and stack[0].function.endswith("socketpair"):
        # Where the system has no `socketpair` (Windows), Python connects two sockets over the loopback interface.
        return True
    return is_path and any(place.package == "multiprocessing" for place in stack)
