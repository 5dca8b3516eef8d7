"""Starts the service again and again in processes that have everything imported already, and kills each of them.

Run as a module. Takes one order per line, as JSON, and answers each with one line: when the process was killed
(`time.monotonic`) and what it ended with. Ends with its standard input.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.starlette import StarletteInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from tests.faults._service import serve
from timetracer_otel.calls.registry import load_plugins
from timetracer_otel.otel.instrumentor import TimetracerInstrumentor


def main() -> None:
    """Obey until there is no more to obey."""
    load_plugins()
    for line in sys.stdin:
        print(json.dumps(_run(json.loads(line))), flush=True)


def _run(order: dict[str, Any]) -> dict[str, Any]:
    ready, says_ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ready)
            _become_the_service(order, says_ready)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(says_ready)
    os.read(ready, 1)
    os.close(ready)
    time.sleep(order["after_s"])
    killed_s = time.monotonic()
    os.kill(child, order["signal"])
    _, status = os.waitpid(child, 0)
    return {"killed_s": killed_s, "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None}


def _become_the_service(order: dict[str, Any], says_ready: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(order["environment"])
    trace.set_tracer_provider(TracerProvider())
    StarletteInstrumentor().instrument()
    HTTPXClientInstrumentor().instrument()
    TimetracerInstrumentor().instrument()
    serve(order["upstream"], Path(order["diary"]), lambda: os.write(says_ready, b"."))


if __name__ == "__main__":
    main()
