"""What an argument may be. What it may not is refused before anything is done, with its name.

``TypeError`` for another type than the expected one, ``ValueError`` for a value out of range.
"""

import math
import operator
import os
from datetime import timedelta
from typing import Any, Collection, List, Optional, Union

#: Of an offset, bytes.
_LARGEST = (1 << 63) - 1
#: A wait or a term is no longer than a hundred years, seconds.
_LONGEST = 100 * 365 * 24 * 3600


def whole(name: str, value: Any, least: int = 0, most: int = _LARGEST) -> int:
    """A whole number of any type that is one; no boolean."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise _of_another_type(name, value, "a whole number") from None
    if not least <= number <= most:
        raise ValueError(f"{name} is {number}; it is a whole number from {least} to {most}")
    return number


def seconds(name: str, value: Any) -> float:
    """A wait."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _of_another_type(name, value, "a number of seconds")
    if not (math.isfinite(value) and 0 <= value <= _LONGEST):
        is_negative = "is negative" if value < 0 else f"is {value}"
        raise ValueError(f"{name} {is_negative}; it is a number of seconds from 0 to {_LONGEST}")
    return float(value)


def term(name: str, value: Union[int, timedelta, None]) -> Optional[int]:
    """Until something is deleted, in seconds."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = int(value.total_seconds())
    return whole(name, value, 1, _LONGEST)


def flag(name: str, value: Any) -> bool:
    """Nothing but a boolean: "false" is true elsewhere."""
    if not isinstance(value, bool):
        raise _of_another_type(name, value, "True or False")
    return value


def text(name: str, value: Any) -> str:
    """What has a meaning outside of Python."""
    if not isinstance(value, str):
        raise _of_another_type(name, value, "text (str)")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is {value!r}, which is no Unicode: {error.reason}") from None
    return value


def some_text(name: str, value: Any) -> str:
    """Text that is not empty, and that a C library can take."""
    if not text(name, value):
        raise ValueError(f"{name} is empty")
    if "\0" in value:
        raise ValueError(f"{name} is {value!r}, which has a NUL in it")
    return str(value)


def segment(name: str, value: Any) -> str:
    """A name that is one segment of a URL's path, and leads to nothing else."""
    if some_text(name, value) in (".", ".."):
        raise ValueError(f"{name} is {value!r}, which names nothing")
    return str(value)


def one_of(name: str, value: Any, known: Collection[str]) -> str:
    """One of these words."""
    if text(name, value) not in known:
        raise ValueError(f"{name} is {value!r}; it can be {', '.join(known)}")
    return str(value)


def names(name: str, value: Any) -> List[str]:
    """Several names, and not the letters of one."""
    if isinstance(value, (str, bytes)):
        raise _of_another_type(name, value, "a list of names; one name is a list too")
    try:
        several = list(value)
    except TypeError:
        raise _of_another_type(name, value, "a list of names") from None
    return [some_text(f"{name}[{number}]", one) for number, one in enumerate(several)]


def path(name: str, value: Any) -> str:
    """A file's path. A number is none: ``open`` takes it for a file that is open, and closes that."""
    if not isinstance(value, (str, os.PathLike)):
        raise _of_another_type(name, value, "a path (str or os.PathLike)")
    told = os.fspath(value)
    if not isinstance(told, str):
        raise _of_another_type(name, told, "a path of text (str)")
    return told


def _of_another_type(name: str, value: Any, expected: str) -> TypeError:
    return TypeError(f"{name} is {_shown(value)}; it is {expected}")


def _shown(value: Any) -> str:
    told = repr(value)
    return f"a {type(value).__name__}" if len(told) > 60 else told
