"""What a replica's disks are written to."""

import errno
import io
import os
import stat
from types import TracebackType
from typing import Any, Callable, Optional, Protocol, Tuple, Type, Union

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
#: where a run has two parts. A context manager is entered, and left with the exception where there
#: was one.
WriterFactory = Callable[[], Any]

#: Where a disk goes: a path of a file or device, a worker's volume, an object that is written to, or a
#: factory.
Writer = Union[str, "os.PathLike[str]", HttpsWriter, SeekableWriter, WriterFactory]

#: What the compiled half writes to by itself, and whether all of it is zero.
Alone = Tuple[Union[str, _native.HttpsWriter], bool]


def target_of(disk: str, writer: Writer, zeroed: bool) -> Union[Alone, "Target"]:
    """What the compiled half writes to: by itself, if it can."""
    if isinstance(writer, HttpsWriter):
        return writer._native, zeroed
    if isinstance(writer, (str, os.PathLike)):
        return os.fspath(writer), zeroed
    if hasattr(writer, "write") and hasattr(writer, "seek"):
        return _Object(disk, writer, zeroed)
    if callable(writer):
        return _Made(disk, writer, zeroed)
    raise TypeError(
        f"{disk}: {writer!r} is neither a path, nor has it seek and write, nor can it be called to "
        "make something that has"
    )


def name_of(disk: str) -> str:
    """What the state calls a writer that has no name of its own."""
    return f"the writer of {disk}"


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

    def prepare(self, size: int) -> None:
        """A disk of so many bytes follows."""
        raise NotImplementedError

    def write_at(self, offset: int, data: bytes) -> None:
        raise NotImplementedError

    def zero(self, offset: int, length: int) -> None:
        raise NotImplementedError

    def read_at(self, offset: int, length: int) -> bytes:
        raise NotImplementedError

    def flush(self) -> None:
        """Returns when everything is where it should be."""
        raise NotImplementedError

    def abandon(
        self,
        kind: Optional[Type[BaseException]] = None,
        error: Optional[BaseException] = None,
        traceback: Optional[TracebackType] = None,
    ) -> None:
        """The run has ended without success."""


class _Writing(Target):
    """Writes to an object that has seek and write."""

    def __init__(self, disk: str, zeroed: bool) -> None:
        self.name = name_of(disk)
        self.zeroed = zeroed
        #: Asked for, but nothing may be cut before the first write.
        self._wanted_size: Optional[int] = None

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

    def write_at(self, offset: int, data: bytes) -> None:
        _write(self._sized(), offset, data)

    def zero(self, offset: int, length: int) -> None:
        writer = self._sized()
        if hasattr(writer, "zero"):
            writer.zero(offset, length)
            return
        end = offset + length
        while offset < end:
            count = min(_PIECE, end - offset)
            _write(writer, offset, _ZEROS if count == _PIECE else _ZEROS[:count])
            offset += count


def _write(writer: Any, offset: int, data: bytes) -> None:
    writer.seek(offset)
    left = data
    while left:
        taken = writer.write(left)
        if taken is None and not isinstance(writer, io.RawIOBase):
            return
        if not taken:
            raise OSError(errno.EIO, f"it took none of {len(left)} bytes at {offset}")
        left = left[taken:]


class _Object(_Writing):
    """An object of the caller's, who closes it."""

    def __init__(self, disk: str, writer: Any, zeroed: bool) -> None:
        super().__init__(disk, zeroed)
        if "a" in str(getattr(writer, "mode", "")):
            raise ValueError(f"{disk}: {writer!r} appends, wherever it is told to write")
        self._object = writer
        self._is_file = _is_regular_file(writer)
        if isinstance(getattr(writer, "name", None), str):
            self.name = writer.name
        if self._is_file:
            self.zeroed = zeroed or self.size() == 0
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

    def flush(self) -> None:
        writer = self._sized()
        if hasattr(writer, "flush"):
            writer.flush()
        _synchronize(writer)


class _Made(_Writing):
    """What a factory makes, which is closed here."""

    def __init__(self, disk: str, factory: WriterFactory, zeroed: bool) -> None:
        super().__init__(disk, zeroed)
        self._factory = factory
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
        return self._inside

    def flush(self) -> None:
        writer = self._sized()
        if self._made is self._inside:
            if hasattr(writer, "flush"):
                writer.flush()
            _synchronize(writer)
        self._leave(None, None, None)

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
