"""A download and a delta, piece by piece."""

import json
from types import TracebackType
from typing import Dict, Iterator, Optional, Type

from . import _native, arguments
from .shapes import DeltaItem, Json


class Download:
    """Bytes of a disk as they come, by the names that ``requests.Response`` has."""

    #: It was not refused.
    status_code = 206

    def __init__(self, pieces: _native.Download) -> None:
        self._pieces = pieces
        #: What has come and was not taken.
        self._left = bytearray()
        self._content: Optional[bytes] = None
        self._is_taken = False
        self.headers: Dict[str, str] = {"Content-Length": str(pieces.length)}

    def iter_content(self, chunk_size: Optional[int] = 1) -> Iterator[bytes]:
        """So many bytes at a time, the last time perhaps fewer; as they come, with None.

        Raises ``ValueError`` where it was closed before its end.
        """
        if chunk_size is not None:
            chunk_size = arguments.whole("chunk_size", chunk_size, 1)
        # Told by the call, not by the first piece.
        return self._iter_content(chunk_size)

    def _iter_content(self, chunk_size: Optional[int]) -> Iterator[bytes]:
        if self._content is not None:
            size = chunk_size or len(self._content)
            for start in range(0, len(self._content), size):
                yield self._content[start : start + size]
            return
        while True:
            while chunk_size is not None and len(self._left) >= chunk_size:
                yield self._cut(chunk_size)
            piece = self._pieces.next_piece()
            if not piece:
                break
            self._left += piece
            if chunk_size is None:
                yield self._cut(len(self._left))
        self._is_taken = True
        if self._left:
            yield self._cut(len(self._left))

    def _cut(self, length: int) -> bytes:
        # Before it is handed out: nothing may follow.
        piece = bytes(self._left[:length])
        del self._left[:length]
        return piece

    @property
    def content(self) -> bytes:
        """All that ``iter_content`` has not taken yet; the same each time.

        Raises ``RuntimeError``, as requests does, where that has taken all of it.
        """
        if self._content is None:
            if self._is_taken:
                raise RuntimeError("iter_content has taken all of it")
            self._content = b"".join(self._iter_content(None))
        return self._content

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
    """What a replica must write, with every byte, as it comes. Complete when it ends without error.

    One that was closed before its end raises ``ValueError``.
    """

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
