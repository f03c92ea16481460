"""Where the state of a replica is kept between two runs."""

import errno
import json
import os
import threading
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Mapping, MutableMapping, Optional, Protocol, Set, Union


class StateKeeper(Protocol):
    """Keeps a state in a way of its own, such as in a database."""

    def load(self) -> Optional[Mapping[str, Any]]:
        """What was saved last; None where nothing was."""

    def save(self, state: Dict[str, Any]) -> None:
        """Returns when ``load`` will find this one, whatever happens."""


#: A file's path; a dictionary, which is changed in place and is the caller's to keep, whether or not
#: the run succeeds; or a keeper.
State = Union[str, "os.PathLike[str]", MutableMapping[str, Any], StateKeeper]


def store_of(state: State) -> Any:
    """What the compiled half keeps it in."""
    if isinstance(state, (str, os.PathLike)):
        return os.fspath(state)
    if isinstance(state, MutableMapping):
        return _Store(_Dictionary(state))
    if hasattr(state, "load") and hasattr(state, "save"):
        return _Store(state)
    raise TypeError(f"{state!r} is neither a path, nor a dictionary, nor has it load and save")


#: What runs of this process have at the moment, by identity.
_HELD: Set[int] = set()
_HOLDING = threading.Lock()


@contextmanager
def held(state: State) -> Iterator[None]:
    """No other run of this process has it meanwhile. A file's path is locked by the compiled half."""
    if isinstance(state, (str, os.PathLike)):
        yield
        return
    with _HOLDING:
        if id(state) in _HELD:
            raise OSError(errno.EBUSY, "another run has this state; wait for its end")
        _HELD.add(id(state))
    try:
        yield
    finally:
        with _HOLDING:
            _HELD.discard(id(state))


class _Dictionary:
    def __init__(self, state: MutableMapping[str, Any]) -> None:
        self._state = state

    def load(self) -> Optional[Mapping[str, Any]]:
        return self._state or None

    def save(self, state: Dict[str, Any]) -> None:
        self._state.clear()
        self._state.update(state)


class _Store:
    """A keeper, in JSON."""

    def __init__(self, keeper: StateKeeper) -> None:
        self._keeper = keeper

    def load(self) -> Optional[str]:
        state = self._keeper.load()
        return None if state is None else json.dumps(dict(state))

    def save(self, state: str) -> None:
        self._keeper.save(json.loads(state))
