"""`Holds`: who needs something at present that is switched on for all of them together."""

from __future__ import annotations

from weakref import WeakKeyDictionary

__all__ = ["Holds"]


class Holds:
    """True while somebody holds. Not safe from several threads at once.

    Who holds gives a holder, or none. A holder is held weakly: it holds no more when it is gone, although nobody
    called `remove`. Example: a program may set a session for each request, and never reset it.
    """

    def __init__(self) -> None:
        self._nameless = 0
        self._holders: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    def add(self, holder: object = None) -> bool:
        """Count one hold; whether it is the first one of this holder. A hold without a holder always is."""
        if holder is None:
            self._nameless += 1
            return True
        count = self._holders[holder] = self._holders.get(holder, 0) + 1
        return count == 1

    def remove(self, holder: object = None) -> None:
        """Undo one `add`; harmless where there was none."""
        if holder is None:
            self._nameless = max(self._nameless - 1, 0)
        elif (count := self._holders.get(holder, 0)) > 1:
            self._holders[holder] = count - 1
        else:
            self._holders.pop(holder, None)

    def __bool__(self) -> bool:
        return bool(self._nameless or self._holders)
