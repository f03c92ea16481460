"""What a replica's disks are written to."""

import errno
import fcntl
import io
import os
import stat
from types import TracebackType
from typing import Any, Callable, List, Optional, Protocol, Tuple, Type, Union

from . import _native
from .https_writer import HttpsWriter

#: Bytes of zeros that are written at once, where a writer cannot zero.
_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)


class SeekableWriter(Protocol):
    """A file object, a writer of Coriolis's, or anything else with these two.

    What is used besides, where it is there: ``zero(offset, length)``, ``truncate(size)``, ``flush()``,
    ``fileno()``, ``read()``.
    """

    def seek(self, offset: int, /) -> Any:
        """The next bytes go here."""

    def write(self, data: bytes, /) -> Any:
        """Writes them. What is not None is how many bytes of them were taken."""


#: What makes a writer when it is needed. What it returns is closed when all bytes are written, before
#: the base advances: whoever learns of errors at the end alone raises them there. It is called again
#: where a run has two parts, and must not empty what was written before: a file that lost some of it, or
#: is another one, is written in full. A context manager is entered, and left with the exception where there
#: was one.
WriterFactory = Callable[[], Any]

#: Where a disk goes: a path of a file or device, a worker's volume, an object that is written to, or a
#: factory.
Writer = Union[str, "os.PathLike[str]", HttpsWriter, SeekableWriter, WriterFactory]

#: What the compiled half writes to by itself, and whether all of it is zero.
Alone = Tuple[Union[str, _native.HttpsWriter], bool]


def target_of(
    disk: str, writer: Writer, zeroed: bool, places: "Places"
) -> Union[Alone, "Target"]:
    """What the compiled half writes to: by itself, if it can."""
    if isinstance(writer, HttpsWriter):
        return writer._native, zeroed
    if isinstance(writer, (str, os.PathLike)):
        path = os.fspath(writer)
        places.take_path(disk, path)
        return path, zeroed
    if hasattr(writer, "write") and hasattr(writer, "seek"):
        return _Object(disk, writer, zeroed, places)
    if callable(writer):
        return _Made(disk, writer, zeroed, places)
    raise TypeError(
        f"{disk}: {writer!r} is neither a path, nor has it seek and write, nor can it be called to "
        "make something that has"
    )


def name_of(disk: str) -> str:
    """What the state calls a writer that has no name of its own."""
    return f"the writer of {disk}"


#: A file or a device, however it was opened.
_Place = Tuple[str, int, int]


class Places:
    """Where the disks of a run go: no two of them to one place.

    Paths are compared with what Python writes to; with each other the compiled half compares them.
    """

    def __init__(self) -> None:
        self._objects: List[Tuple[str, Any]] = []
        self._files: List[Tuple[str, _Place]] = []
        self._paths: List[Tuple[str, str]] = []

    def take(self, disk: str, writer: Any) -> None:
        for other, taken in self._objects:
            if taken is writer:
                self._refuse(disk, other, writer)
        self._objects.append((disk, writer))
        place = _place_of(_look(writer))
        if place is None:
            return
        self._look_for(disk, place, writer)
        for other, path in self._paths:
            if _place_at(path) == place:
                self._refuse(disk, other, writer)
        self._files.append((disk, place))

    def take_path(self, disk: str, path: str) -> None:
        place = _place_at(path)
        if place is not None:
            self._look_for(disk, place, path)
        self._paths.append((disk, path))

    def forget(self, file: os.stat_result) -> None:
        """It was deleted: another one may be called the same."""
        place = _place_of(file)
        self._files = [taken for taken in self._files if taken[1] != place]

    def _look_for(self, disk: str, place: _Place, writer: Any) -> None:
        for other, taken in self._files:
            if taken == place:
                self._refuse(disk, other, writer)

    def _refuse(self, disk: str, other: str, writer: Any) -> None:
        if other != disk:
            raise ValueError(
                f"{other} and {disk} go to the same target, {writer!r}; name another one"
            )


def _place_at(path: str) -> Optional[_Place]:
    try:
        return _place_of(os.stat(path))
    except (OSError, ValueError):  # Whoever opens it tells more.
        return None


def _place_of(found: Optional[os.stat_result]) -> Optional[_Place]:
    if found is not None and stat.S_ISREG(found.st_mode):
        return "file", found.st_dev, found.st_ino
    if found is not None and stat.S_ISBLK(found.st_mode):
        return "device", found.st_rdev, 0
    return None


class Target:
    """What the compiled half calls, always on the thread that called ``replicate``."""

    #: The state knows a target by it.
    name: str
    #: Whether what was written can be read back.
    readable = False
    #: Whether all of it is known to be zero.
    zeroed = False

    def size(self) -> int:
        """Bytes that it has; 0 where nobody can say."""
        raise NotImplementedError

    def rely_on(self, what: str, left: Optional["Looks"]) -> None:
        """``base``: it has to hold what was left, when it looked so; ``zeros``: nothing else; or
        ``anything``."""

    def looks(self) -> Optional["Looks"]:
        """As it was left, if that is known."""
        return None

    def prepare(self, size: int) -> None:
        """A disk of so many bytes follows."""
        raise NotImplementedError

    # These do nothing where it does not hold what is relied on, and return why not.

    def write_at(self, offset: int, data: bytes) -> Optional[str]:
        raise NotImplementedError

    def zero(self, offset: int, length: int) -> Optional[str]:
        raise NotImplementedError

    def read_at(self, offset: int, length: int) -> bytes:
        raise NotImplementedError

    def flush(self) -> Optional[str]:
        """Returns when everything is where it should be."""
        raise NotImplementedError

    def abandon(
        self,
        kind: Optional[Type[BaseException]] = None,
        error: Optional[BaseException] = None,
        traceback: Optional[TracebackType] = None,
    ) -> None:
        """The run has ended without success."""


#: Which file it is, and its size.
Looks = Tuple[str, str]


class _Writing(Target):
    """Writes to an object that has seek and write."""

    def __init__(self, disk: str, zeroed: bool) -> None:
        self.name = name_of(disk)
        self.zeroed = zeroed
        #: Asked for, but nothing may be cut before the first write.
        self._wanted_size: Optional[int] = None
        #: Why it does not hold what is relied on.
        self._doubt: Optional[str] = None

    def _writer(self) -> Any:
        raise NotImplementedError

    def size(self) -> int:
        return 0

    def prepare(self, size: int) -> None:
        # Nothing is opened yet: a connection that waits for its turn may be cut.
        self._wanted_size = size

    def _sized(self) -> Any:
        writer = self._writer()
        size, self._wanted_size = self._wanted_size, None
        if size is not None and hasattr(writer, "truncate"):
            writer.truncate(size)
        return writer

    def write_at(self, offset: int, data: bytes) -> Optional[str]:
        self._writer()
        if self._doubt is None:
            _write(self._sized(), offset, data)
        return self._doubt

    def zero(self, offset: int, length: int) -> Optional[str]:
        self._writer()
        if self._doubt is not None:
            return self._doubt
        writer = self._sized()
        if hasattr(writer, "zero"):
            writer.zero(offset, length)
            return None
        end = offset + length
        while offset < end:
            count = min(_PIECE, end - offset)
            _write(writer, offset, _ZEROS if count == _PIECE else _ZEROS[:count])
            offset += count
        return None


def _write(writer: Any, offset: int, data: bytes) -> None:
    writer.seek(offset)
    left = data
    while left:
        taken = writer.write(left)
        if taken is None and not isinstance(writer, io.RawIOBase):
            return
        if not isinstance(taken, int) or isinstance(taken, bool):
            raise TypeError(f"write is to return how many bytes it took, or None, not {taken!r}")
        if not 0 < taken <= len(left):
            at = offset + len(data) - len(left)
            raise OSError(errno.EIO, f"of {len(left)} bytes at {at} it says that it took {taken}")
        left = left[taken:]


class _Object(_Writing):
    """An object of the caller's, who closes it."""

    def __init__(self, disk: str, writer: Any, zeroed: bool, places: Places) -> None:
        super().__init__(disk, zeroed)
        _refuse_to_append(disk, writer)
        places.take(disk, writer)
        self._object = writer
        self._is_file = _is_regular_file(writer)
        if isinstance(getattr(writer, "name", None), str):
            self.name = writer.name
        if self._is_file:
            # That can be seen.
            self.zeroed = self.size() == 0
            self.readable = bool(writer.readable())

    def _writer(self) -> Any:
        return self._object

    def size(self) -> int:
        if not self._is_file:
            return 0
        self._object.flush()
        return os.fstat(self._object.fileno()).st_size

    def prepare(self, size: int) -> None:
        # The engine sees to it that a file is not cut too early, since it knows its size.
        if self._is_file and self.size() != size:
            self._object.truncate(size)
        elif not self._is_file:
            super().prepare(size)

    def read_at(self, offset: int, length: int) -> bytes:
        self._object.seek(offset)
        pieces = []
        while length:
            piece = self._object.read(length)
            if not piece:
                break
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)

    def flush(self) -> Optional[str]:
        writer = self._sized()
        if hasattr(writer, "flush"):
            writer.flush()
        _synchronize(writer)
        return None


class _Made(_Writing):
    """What a factory makes, which is closed here."""

    def __init__(self, disk: str, factory: WriterFactory, zeroed: bool, places: Places) -> None:
        super().__init__(disk, zeroed)
        self._disk = disk
        self._places = places
        self._factory = factory
        self._relies_on = "anything"
        #: As the last run has left it, and this one.
        self._was: Optional[Looks] = None
        self._looks: Optional[Looks] = None
        self._made: Any = None
        self._inside: Any = None

    def _writer(self) -> Any:
        if self._inside is None:
            made = self._factory()
            is_context = hasattr(made, "__enter__") and not hasattr(made, "write")
            inside = made.__enter__() if is_context else made
            if not (hasattr(inside, "write") and hasattr(inside, "seek")):
                raise TypeError(f"{self._factory!r} made {inside!r}, which has no seek and write")
            self._made, self._inside = made, inside
            self._looks = None
            _refuse_to_append(self._disk, inside)
            self._places.take(self._disk, inside)
            self._doubt = self._doubt_of(_look(inside))
        return self._inside

    def rely_on(self, what: str, left: Optional[Looks]) -> None:
        self._relies_on, self._was, self._doubt = what, left, None

    def looks(self) -> Optional[Looks]:
        return self._looks

    def _doubt_of(self, found: Optional[os.stat_result]) -> Optional[str]:
        """Whether a file, as it was opened, holds what is relied on. Others cannot be looked at."""
        if found is None or not stat.S_ISREG(found.st_mode):
            return None
        size = found.st_size
        if self._relies_on == "zeros" and size:
            return f"what was said to be zeros is a file of {size} bytes"
        if self._relies_on != "base" or self._was is None:
            return None
        identity, left = self._was
        if identity != _identity(found):
            return "it is another file than the last run has left"
        # An interrupted run may have cut it already.
        least = int(left) if self._wanted_size is None else min(int(left), self._wanted_size)
        if size < least:
            return (
                f"its file was left with {left} bytes, and has {size}: it was cut, perhaps by what "
                'opens it ("r+b" does not)'
            )
        return None

    def flush(self) -> Optional[str]:
        self._writer()
        if self._doubt is not None:
            return self._doubt
        writer = self._sized()
        if self._made is self._inside:
            if hasattr(writer, "flush"):
                writer.flush()
            _synchronize(writer)
        # Its size is known when it is closed.
        number = _descriptor(writer)
        kept = None if number is None else os.dup(number)
        try:
            self._leave(None, None, None)
            if kept is not None:
                self._note(os.fstat(kept))
        finally:
            if kept is not None:
                os.close(kept)
        return None

    def _note(self, left: os.stat_result) -> None:
        if not stat.S_ISREG(left.st_mode):
            return
        if left.st_nlink == 0:
            self._places.forget(left)
        else:
            self._looks = _identity(left), str(left.st_size)

    def abandon(
        self,
        kind: Optional[Type[BaseException]] = None,
        error: Optional[BaseException] = None,
        traceback: Optional[TracebackType] = None,
    ) -> None:
        try:
            self._leave(kind, error, traceback)
        except Exception:
            # It has been told; what is raised is why the run has ended.
            pass

    def _leave(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        made, inside = self._made, self._inside
        self._made = self._inside = None
        if inside is None:
            return
        if made is not inside:
            made.__exit__(kind, error, traceback)
        elif hasattr(made, "close"):
            made.close()


def _identity(found: os.stat_result) -> str:
    # The number of its device may be another one after a restart.
    return f"inode {found.st_ino}"


def _descriptor(writer: Any) -> Optional[int]:
    """Of the file below; None where there is none."""
    if not hasattr(writer, "fileno"):
        return None
    try:
        number = writer.fileno()
    except OSError:  # io.UnsupportedOperation is one: it is in memory
        return None
    return number if isinstance(number, int) and number >= 0 else None


def _look(writer: Any) -> Optional[os.stat_result]:
    number = _descriptor(writer)
    return None if number is None else os.fstat(number)


def _refuse_to_append(disk: str, writer: Any) -> None:
    number = _descriptor(writer)
    is_appending = number is not None and fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND
    if is_appending or "a" in str(getattr(writer, "mode", "")):
        raise ValueError(f"{disk}: {writer!r} appends, wherever it is told to write")


def _is_regular_file(writer: Any) -> bool:
    if not isinstance(writer, io.IOBase):
        return False
    try:
        return stat.S_ISREG(os.fstat(writer.fileno()).st_mode)
    except OSError:  # io.UnsupportedOperation is one: it is in memory
        return False


def _synchronize(writer: Any) -> None:
    """To stable storage, where there is a file below."""
    if not hasattr(writer, "fileno"):
        return
    try:
        number = writer.fileno()
    except OSError:
        return
    try:
        os.fsync(number)
    except OSError as error:
        # A pipe, a socket: there is nothing to bring anywhere.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
