"""Keeps quiet what is no failure: how the threads of Python workers in this process end.

In a mini cluster Beam's workers are threads of this process. One that reads from Flink ends with
the job, by an error that nothing catches, so that Python prints a traceback on a run that went
well.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

_READER = "read_grpc_client_inputs"
_HUNG_UP = "CANCELLED"
_log = logging.getLogger(__name__)
Hook = Callable[[threading.ExceptHookArgs], Any]


def hush() -> None:
    """From now on say nothing of a reader whose connection was closed; tell all else as before."""
    if not isinstance(threading.excepthook, _Hushed):
        threading.excepthook = _Hushed(threading.excepthook)


class _Hushed:
    def __init__(self, before: Hook) -> None:
        self._before = before

    def __call__(self, told: threading.ExceptHookArgs) -> None:
        if told.thread is not None and told.thread.name == _READER and _hung_up(told.exc_value):
            _log.debug("the connection of %s was closed", _READER)
        else:
            self._before(told)


def _hung_up(error: BaseException | None) -> bool:
    """Whether a call of gRPC was cancelled, as its `code()` says."""
    code = getattr(error, "code", None)
    return callable(code) and getattr(code(), "name", None) == _HUNG_UP
