"""What answers look like. A daemon may say more than is named here."""

from typing import Any, Dict, List, NamedTuple, Optional, TypedDict

#: JSON of the interface: see the table in the README.
Json = Dict[str, Any]


class Range(TypedDict):
    """What a replica must write."""

    #: Bytes.
    start: int
    #: Bytes.
    length: int
    #: ``data``, or ``zero``: it reads as zeros.
    kind: str


class DeltaItem(NamedTuple):
    """A frame of a delta."""

    #: ``data``, ``zero``, or ``reached``: everything before ``offset`` has been said.
    kind: str
    #: Bytes.
    offset: int
    #: Bytes.
    length: int
    #: The bytes, where they are data.
    data: bytes


class EndpointShare(TypedDict):
    """What one node has given of a disk."""

    endpoint: str
    #: Bytes of the disk.
    covered: int
    #: Bytes over the wire.
    received: int
    #: Why it got no more work, where it did not.
    dropped: Optional[str]


class DiskOutcome(TypedDict):
    """What a run has done for a disk."""

    name: str
    target: str
    #: Bytes.
    size: int
    #: ``incremental``, ``digests`` or ``full``.
    how: str
    why: str
    #: ``extents`` or ``content``.
    method: str
    #: Bytes that were written.
    data: int
    #: Bytes that became zeros.
    zeros: int
    #: Bytes of zeros that were left out, since the target was zero.
    zeros_skipped: int
    #: Bytes over the wire.
    received: int
    ranges: int
    #: Connections that were taken up again.
    resumed: int
    endpoints: List[EndpointShare]
    #: Whether it was read back and compared; None where nobody asked.
    checked: Optional[bool]
    #: Seconds.
    time: float


class Outcome(TypedDict):
    """What a run has done."""

    vm: str
    #: The snapshot that the replica holds.
    snapshot: str
    #: When that was taken, by the node's clock: so old is the replica. None where the node did not say.
    taken_at: Optional[str]
    previous: Optional[str]
    consistency: str
    #: The snapshot of an interrupted run that was finished first.
    finished: Optional[str]
    finished_disks: List[DiskOutcome]
    disks: List[DiskOutcome]
    forgotten: List[str]
    dropped: List[str]
    warnings: List[str]
    #: Seconds.
    time: float
