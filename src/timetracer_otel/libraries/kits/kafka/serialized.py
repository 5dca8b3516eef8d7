"""What the serializers of an app have made of a key and a value, before its producer asks them.

A replay has to know the bytes before anything that needs a cluster, such as the partitions of a topic. So the
serializers run first, in a recording as in a replay, and the producer gets what they made. They run once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from timetracer_otel.base.patching import Function
from timetracer_otel.calls.guarded import AppStep, Done, Flow, guarded, raising
from timetracer_otel.calls.nesting import CallAbove

__all__ = ["Serialized", "failing", "lent", "made_before"]


class Serialized:
    """What serializers have made for one message.

    Attributes:
        error: What one of them has raised.
    """

    __slots__ = ("_made", "error")

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._made: deque[Any] = deque()

    def make(self, serialize: Callable[..., Any], *args: Any) -> Any:
        """Run a serializer; None where one has raised."""
        if self.error is None:
            try:
                made = serialize(*args)
            except Exception as error:
                self.error = error
            else:
                self._made.append(made)
                return made
        return None

    def take(self) -> AppStep | Done | None:
        """What the next of them has made, or raised, for a guard; None where all of it was taken."""
        if self._made:
            return Done(self._made.popleft())
        error, self.error = self.error, None
        return None if error is None else raising(error)


_above: Final[CallAbove[Serialized]] = CallAbove("kafka-serialized")


def lent(made: Serialized) -> Callable[[], Any]:
    """Let the producer that is called next have what was made; gives what takes it back, as a site's `lend` does."""
    return _above.lend(made)


def failing(made: Serialized, step: AppStep) -> Flow:
    """The steps of a call whose serializer has raised: that is no answer of a cluster, and makes no event."""
    return _above.around(made, step)


def made_before(lib: str) -> Callable[[Function], Function]:
    """Wrap the method by which a producer asks its serializers.

    Args:
        lib: The plugin.
    """

    def wrap(original: Function) -> Function:
        def begin(_: None, *args: Any, **kwargs: Any) -> AppStep | Done | None:
            made = _above.get()
            return None if made is None else made.take()

        return guarded(lib, original, begin, outside=True, session_of=_no_session)

    return wrap


def _no_session() -> None:
    """The call above has found it."""
