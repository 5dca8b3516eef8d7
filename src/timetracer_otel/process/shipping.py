"""Shipping what this process records to object storage, by a process beside it that lives no longer than this one.

A thread of ours looks after it. The work is not done here: packing takes processor time that the app's threads would
wait for, and drivers of object storage are clients that the app may use as well, or whose parts gevent has replaced.
So this process imports none of them, and a forked worker inherits nothing of theirs.

Of all processes that record into one folder, one has a shipper that goes on: a lock in the folder tells. It does its
last pass when its standard input ends, which is so as well when this process is killed. The others let one pass be
made when they end, where there is something left by then.

How far a shipper is stands in a file of the folder after each pass, and is counted by the process that started it. A
pipe would need somebody who reads it, or else stop the shipper when it is full.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry.context import Context

from timetracer_otel.base import counters, faults
from timetracer_otel.config import unrecorded_environment

__all__ = ["Shipping"]

_LAST_PASS_S: Final = 10.0
"""How long the end of this process waits for the last pass."""
_LOOK_S: Final = 5.0
"""How often at most it is looked whether the folder has a shipper, and how far that is.

Where another process has one, this one looks after each interval only: nobody misses a shipper before its next pass.
"""
_COUNTED: Final = ("cassettes", "pack_bytes", "failures")
"""What a shipper tells that only grows."""
_Watched: TypeAlias = Literal["ours", "another's", "nothing to ship"]


class Shipping:
    """Keeps a shipper beside this process. `wake` is for any thread; the others for the one that starts and stops.

    Args:
        spool: The folder that is recorded into, as an absolute path.
        url: Where to.
        interval_s: From one pass to the next.
    """

    def __init__(self, spool: str, url: str, interval_s: float) -> None:
        self.spool = spool
        self.url = url
        self._interval_s = interval_s
        self._thread: threading.Thread | None = None
        self._ends = threading.Event()
        self._lock = threading.RLock()
        self._shipper: subprocess.Popen[bytes] | None = None
        self._name = ""
        self._told: dict[str, Any] = {}

    def wake(self) -> None:
        """Begin, with the first recording; harmless when repeated."""
        if self._thread is not None or self._ends.is_set():
            return
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._watch, name="timetracer-otel-shipping", daemon=True)
            # The context of the request that starts it would stay in memory.
            token = otel_context.attach(Context())
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:
                pass  # The interpreter is about to end, and `stop` follows.
            finally:
                otel_context.detach(token)

    def stop(self) -> None:
        """Let all be shipped that is finished, within ten seconds. What stays is shipped by the next process."""
        self._ends.set()
        thread = self._thread
        if thread is not None:
            thread.join(_LOOK_S)
        try:
            self._finish()
        except Exception as error:
            faults.contain("shipping.stop", error)

    def abandon(self) -> None:
        """Leave the shipper to the parent, in a forked child: while this process held its input open, it would not
        see the end of the parent.
        """
        shipper, self._shipper = self._shipper, None
        if shipper is None:
            return
        shipper.returncode = 0  # Nobody here waits for it.
        for stream in (shipper.stdin, shipper.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _watch(self) -> None:
        while not self._ends.is_set():
            wait_s = min(self._interval_s, _LOOK_S)
            try:
                if self._look() == "another's":
                    wait_s = self._interval_s
            except Exception as error:
                faults.contain("shipping.watch", error)
            self._ends.wait(wait_s)

    def _look(self) -> _Watched:
        with self._lock:
            shipper = self._shipper
            if shipper is not None and shipper.poll() is not None:
                self._ended(shipper)
                shipper = self._shipper = None
            if shipper is None and not self._ends.is_set():
                found = _watched(self.spool)
                if found != "ours":
                    return found
                self._shipper = self._started("--watch", f"{self._interval_s:g}")
            elif shipper is not None:
                self._count(_told(self.spool, self._name))
            return "ours"

    def _finish(self) -> None:
        with self._lock:
            shipper, self._shipper = self._shipper, None
            if shipper is None and _has_cassettes(self.spool):
                shipper = self._started()
        if shipper is None:
            return
        assert shipper.stdin is not None
        with suppress(OSError):
            shipper.stdin.close()
        try:
            shipper.wait(_LAST_PASS_S)
        except subprocess.TimeoutExpired:
            shipper.kill()
            shipper.wait()
            faults.logger.warning(
                "timetracer-otel: shipping to %s took longer than %.0f s at the end of this process. What is left in "
                "%s is shipped by the next process that records there, or by: timetracer-otel ship",
                self.url,
                _LAST_PASS_S,
                self.spool,
            )
        self._ended(shipper)

    def _started(self, *options: str) -> subprocess.Popen[bytes] | None:
        python = _python()
        if python is None:
            faults.warn_once(
                "shipping-python",
                f"TIMETRACER_SHIP: {sys.executable} is no Python that a shipper can be run by. Run it beside this "
                f"process: timetracer-otel ship {self.spool} {self.url} --watch {self._interval_s:g}",
            )
            return None
        self._name, self._told = uuid.uuid4().hex, {}
        return subprocess.Popen(  # noqa: S603 - our own command, by the interpreter of this environment
            [
                *(python, "-m", "timetracer_otel", "ship", self.spool, self.url),
                *options,
                *("--with-parent", self._name, "--json"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=unrecorded_environment(),
            # A Ctrl-C in the terminal, or a supervisor that ends a group, is for the app.
            start_new_session=True,
        )

    def _ended(self, shipper: subprocess.Popen[bytes]) -> None:
        assert shipper.stdout is not None
        assert shipper.stdin is not None
        with suppress(OSError):
            shipper.stdin.close()
        said = shipper.stdout.read()
        shipper.stdout.close()
        try:
            told: dict[str, Any] | None = json.loads(said)
        except ValueError:
            told = _told(self.spool, self._name)  # It was killed before it could say.
        self._count(told)
        # Whoever ships the folder from now on knows what waits.
        counters.shipped(0, 0, 0, 0, 0)

    def _count(self, told: dict[str, Any] | None) -> None:
        if told is None or told == self._told:
            return
        cassettes, size_bytes, failures = (told[name] - self._told.get(name, 0) for name in _COUNTED)
        self._told = told
        counters.shipped(cassettes, size_bytes, failures, told["waiting"], told["waiting_bytes"])


def _watched(spool: str) -> _Watched:
    """Whether this process is to ship the folder now."""
    from timetracer_otel.storage.spool import Spool

    with Spool(spool).watched() as is_free:
        if not is_free:
            return "another's"
    return "ours" if _has_cassettes(spool) else "nothing to ship"


def _told(spool: str, name: str) -> dict[str, Any] | None:
    """How far the shipper of a name is, as far as it has told."""
    from timetracer_otel.storage.spool import Spool

    return Spool(spool).told(name)


def _has_cassettes(spool: str) -> bool:
    from timetracer_otel.cassette import CassetteStore

    return any(names for _, names in CassetteStore(spool).folders()) or Path(spool, ".outbox").is_dir()


def _python() -> str | None:
    """The interpreter of this environment: a server that has Python in it (uWSGI) is none."""
    here = Path(sys.executable or "")
    beside = (here, *(Path(sys.prefix, "bin", name) for name in ("python3", "python")))
    return next((str(each) for each in beside if each.name.startswith(("python", "pypy")) and each.is_file()), None)
