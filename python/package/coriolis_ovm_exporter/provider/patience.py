"""Calls that are needed."""

import time
from typing import Callable, TypeVar

from ..errors import HTTPError, TransportError

T = TypeVar("T")

#: Seconds before the next attempt.
_PAUSES = (1, 3, 10)


def patiently(call: Callable[[], T]) -> T:
    """Calls again where the node did not answer, or was busy."""
    for pause in _PAUSES:
        try:
            return call()
        except TransportError:
            pass
        except HTTPError as error:
            if error.status_code not in (429, 502, 503, 504):
                raise
        time.sleep(pause)
    return call()
