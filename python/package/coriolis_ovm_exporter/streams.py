"""A download and a delta, piece by piece."""

import json
from types import TracebackType
from typing import Dict, Iterator, Optional, Type

from . import _native
from .shapes import DeltaItem, Json


class Download:
    """Bytes of a disk as they come, by the names that ``requests.Response`` has."""

    #: It was not refused.
    status_code = 206

    def __init__(self, pieces: _native.Download, length: int) -> None:
        self._pieces = pieces
        self.headers: Dict[str, str] = {"Content-Length": str(length)}

    def iter_content(self, chunk_size: Optional[int] = 1) -> Iterator[bytes]:
        """So many bytes at a time, the last time perhaps fewer; as they come, with None."""
        buffer = bytearray()
        while True:
            piece = self._pieces.next_piece()
            if not piece:
                break
            if chunk_size is None:
                yield piece
                continue
            buffer += piece
            whole = len(buffer) - len(buffer) % chunk_size
            for start in range(0, whole, chunk_size):
                yield bytes(buffer[start : start + chunk_size])
            del buffer[:whole]
        if buffer:
            yield bytes(buffer)

    @property
    def content(self) -> bytes:
        """All that has not been taken yet."""
        return b"".join(self.iter_content(None))

    def raise_for_status(self) -> None:
        """What is refused has been raised already."""

    def close(self) -> None:
        """Lets go of the connection."""
        self._pieces.close()

    def __enter__(self) -> "Download":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()


class Delta:
    """What a replica must write, with every byte, as it comes. Complete when it ends without error."""

    def __init__(self, stream: _native.Delta) -> None:
        self._stream = stream
        #: What it is about: ``size``, ``base`` and so on.
        self.header: Json = json.loads(stream.header)

    def __iter__(self) -> Iterator[DeltaItem]:
        return self

    def __next__(self) -> DeltaItem:
        kind, offset, what = self._stream.next_item()
        if isinstance(what, bytes):
            return DeltaItem(kind, offset, len(what), what)
        return DeltaItem(kind, offset, what or 0, b"")

    def close(self) -> None:
        """Lets go of the connection."""
        self._stream.close()

    def __enter__(self) -> "Delta":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()
