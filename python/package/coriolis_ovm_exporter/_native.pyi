"""The compiled half: see python/src. Not for use outside of this package."""

from typing import Any, Callable, List, Optional, Tuple, Union, final

__all__ = [
    "MOST_AT_A_TIME",
    "PLACES_HERE_AND_THERE",
    "PLACES_WRITTEN",
    "PLACE_AT_END",
    "PLACE_AT_START",
    "PLACE_LONGEST",
    "Connection",
    "Delta",
    "Download",
    "HttpsWriter",
    "replicate",
]

#: Streams of a node, or disks.
MOST_AT_A_TIME: int
#: Where on a volume it is looked, bytes: of a disk's start, of its end, and of any other place at most.
PLACE_AT_START: int
PLACE_AT_END: int
PLACE_LONGEST: int
#: So many offsets at which it is looked for data, and places that were written last.
PLACES_HERE_AND_THERE: int
PLACES_WRITTEN: int

@final
class Connection:
    @staticmethod
    def login(
        endpoint: str,
        username: str,
        password: str,
        authority: Optional[bytes],
        anyone: bool,
    ) -> Connection: ...
    @staticmethod
    def with_token(
        endpoint: str, token: str, authority: Optional[bytes], anyone: bool
    ) -> Connection: ...
    @property
    def token(self) -> str: ...
    @property
    def endpoint(self) -> str: ...
    def node(self) -> str: ...
    def vms(self) -> str: ...
    def vm(self, vm: str) -> str: ...
    def all_snapshots(self, space: bool) -> str: ...
    def snapshots(self, vm: str) -> str: ...
    def snapshot(self, vm: str, snapshot: str, base: Optional[str], squash: bool) -> str: ...
    def snapshot_without_ranges(self, vm: str, snapshot: str) -> str: ...
    def create_snapshot(self, vm: str, wish: str, chunks: bool) -> str: ...
    def change_snapshot(self, vm: str, snapshot: str, change: str, chunks: bool) -> str: ...
    def delete_snapshot(self, vm: str, snapshot: str) -> None: ...
    def delete_all_snapshots(self, vm: str) -> None: ...
    def read(self, vm: str, snapshot: str, disk: str, offset: int, length: int) -> bytes: ...
    def download(self, vm: str, snapshot: str, disk: str, offset: int, length: int) -> Download: ...
    def ranges(
        self,
        vm: str,
        snapshot: str,
        disk: str,
        base: Optional[str],
        refine: str,
        full_without_base: bool,
        from_: int,
        limit: Optional[int],
        /,
    ) -> str: ...
    def delta(
        self,
        vm: str,
        snapshot: str,
        disk: str,
        base: Optional[str],
        refine: str,
        full_without_base: bool,
        from_: int,
        to: Optional[int],
        compression: str,
        /,
    ) -> Delta: ...
    def digests(
        self, vm: str, snapshot: str, disk: str, algorithm: str, block: Optional[int]
    ) -> str: ...

@final
class Download:
    @property
    def length(self) -> int: ...
    def next_piece(self) -> bytes: ...
    def close(self) -> None: ...

@final
class Delta:
    @property
    def header(self) -> str: ...
    def next_item(self) -> Tuple[str, int, Union[bytes, int, None]]: ...
    def close(self) -> None: ...

@final
class HttpsWriter:
    def __new__(
        cls,
        endpoint: str,
        device: str,
        authority: bytes,
        certificate: bytes,
        key: bytes,
        options: str,
    ) -> HttpsWriter: ...

def replicate(
    nodes: List[Connection],
    vm: str,
    writers: Union[str, Callable[[str], Any]],
    state: Any,
    options: str,
    progress: Optional[Callable[[str], None]],
) -> str: ...
