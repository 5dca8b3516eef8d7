"""A real browser without a window, by the Chrome DevTools Protocol over two pipes. It needs Debian's ``chromium``."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

__all__ = ["Page", "browser", "program"]

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
_OPTIONS: Final = (
    *(
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--hide-scrollbars",
    ),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--disable-default-apps", "--force-device-scale-factor=1", "--remote-debugging-pipe"),
)
_PATIENCE_S: Final = 60.0
_KEYS: Final = {
    "ArrowDown": 40,
    "ArrowUp": 38,
    "End": 35,
    "Escape": 27,
    "Home": 36,
    "PageDown": 34,
}


def program() -> str:
    """The path of the browser.

    Raises:
        RuntimeError: There is none on this machine.
    """
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return found
    raise RuntimeError(f"none of {', '.join(_PROGRAMS)} is installed: apt-get install chromium")


class Page:
    """One page of a browser. What happens in it that should not (errors, requests) stands in ``troubles``."""

    def __init__(self, to: int, of: int) -> None:
        self._to, self._of = to, of
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.troubles: list[str] = []
        self.requests: list[str] = []
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._send(f"{domain}.enable")

    def window(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window, and what the system says about dark and light."""
        self._send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, path: Path) -> None:
        """Load a file, and wait until it is there."""
        self.troubles.clear()
        self.requests.clear()
        self._send("Page.navigate", url=path.as_uri())
        self.wait_for("document.readyState === 'complete' && document.querySelector('footer') !== null")

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        found = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        until_s = time.monotonic() + _PATIENCE_S
        while not self.run(condition):
            assert time.monotonic() < until_s, f"never: {condition}; {self.troubles}"
            time.sleep(0.01)

    def press(self, key: str) -> None:
        """Press a key: a character, or a key by its name."""
        code = _KEYS.get(key, 0)
        text = {} if code else {"text": key}
        self._send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self._send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
        self.settle()

    def write(self, text: str) -> None:
        """Write a text into the field that has the focus."""
        self._send("Input.insertText", text=text)
        self.settle()

    def click(self, selector: str) -> None:
        """Click the middle of the first element that a selector finds."""
        box = self.run(
            f"(() => {{ const at = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); "
            "return [at.x + at.width / 2, at.y + at.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
        self.settle()

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def picture(self, path: Path) -> None:
        """Write what the page looks like as PNG."""
        self.settle()
        path.write_bytes(base64.b64decode(self._send("Page.captureScreenshot", format="png")["data"]))

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to, data) :]
        while True:
            found = self._read()
            if found.get("id") == self._number:
                assert "error" not in found, f"{method}: {found['error']}"
                result: dict[str, Any] = found["result"]
                return result
            self._note(found)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = os.read(self._of, 1 << 20)
            assert more, "the browser has ended"
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.troubles.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.troubles.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.troubles.append(str(parameters["args"]))
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])


@contextmanager
def browser() -> Iterator[Page]:
    """Start a browser with a new profile, and end it."""
    read_commands, write_commands = os.pipe()
    read_answers, write_answers = os.pipe()

    def give() -> None:
        # The browser reads from 3 and writes to 4. Neither number may be overwritten before it is copied.
        commands, answers = os.dup(read_commands), os.dup(write_answers)
        commands, answers = (fd if fd > 4 else os.dup2(fd, fd + 20) for fd in (commands, answers))
        os.dup2(commands, 3)
        os.dup2(answers, 4)

    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(  # Nothing else runs in this process while it forks.
            [program(), *_OPTIONS, f"--user-data-dir={profile}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=give,
        )
        os.close(read_commands)
        os.close(write_answers)
        try:
            yield Page(write_commands, read_answers)
        finally:
            process.kill()
            process.wait()
            os.close(write_commands)
            os.close(read_answers)
