"""Keeping a function of ours out of the traceback of an error that passes through it.

An app may look at tracebacks, or log them: they are what they would be without us. Imports nothing of ours but
`faults`.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import TracebackType

from timetracer_otel.base import faults

__all__ = ["CAN_LEAVE_NO_FRAME", "leave_no_frame"]

CAN_LEAVE_NO_FRAME = sys.version_info >= (3, 11) or (
    sys.implementation.name == "cpython" and find_spec("_ctypes") is not None
)
"""Whether `leave_no_frame` works. In Python 3.10 it needs ``ctypes``, which a Python built without libffi lacks."""


def leave_no_frame(error: BaseException) -> None:
    """Take the caller's own frame out of a traceback.

    Call it in the ``except`` block that caught the error, with nothing but a plain ``raise`` behind it. The next step
    of the traceback stays the first one.

    Args:
        error: What the caller has caught.
    """
    # A guard (see `calls.guarded`): the app gets its error, whatever becomes of the traceback.
    try:
        _take_out(error, error.__traceback__ and error.__traceback__.tb_next)
    except Exception as fault:
        faults.contain("tracebacks", fault)


def _take_out(error: BaseException, trace: TracebackType | None) -> None:
    error.__traceback__ = trace
    if sys.version_info < (3, 11) and CAN_LEAVE_NO_FRAME:
        # Python 3.10 holds the traceback of an error that is being handled twice, and a plain `raise` takes the other
        # one: the one beside the error. Only C code can set that.
        import ctypes

        held = type(error), error, trace
        for one in held:
            # The function takes over what it is given.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))
        ctypes.pythonapi.PyErr_SetExcInfo(*map(ctypes.py_object, held))
