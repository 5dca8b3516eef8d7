"""Sessions in threads, executors and greenlets: what is started in a session runs in that session.

The session stands in the OpenTelemetry context, which is a context variable. A new thread begins without it. While
somebody holds (`hold`), the functions that start threads are replaced by ours, and give the new thread what `current`
says that it gets.

OpenTelemetry's own threading instrumentation does the same for a part of them: it replaces ``Thread.run``, so that it
has no effect on a subclass with a ``run`` of its own. We do not depend on it, and both work side by side.
"""

from timetracer_otel.threads.holding import follow, hold, linger, release

__all__ = ["follow", "hold", "linger", "release"]
