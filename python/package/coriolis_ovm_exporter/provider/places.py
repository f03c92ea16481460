"""Where on a volume it is looked whether it is still the one that was written to.

The engine does the same for volumes that it writes to itself (``client::replicate::look``).
"""

from typing import Any, Iterable, Iterator, List, Tuple

from .. import _native, arguments
from ..client import Client
from ..shapes import Json, Range
from .patience import patiently

#: Offset and end, bytes.
Place = Tuple[int, int]


def known_places(disk: Json) -> List[Place]:
    """Of a disk of the engine's state: some that were written last, its start and its end."""
    size = disk["size"]
    last = [
        (place["offset"], min(place["offset"] + min(place["length"], _native.PLACE_LONGEST), size))
        for place in list(disk.get("places") or ())[: _native.PLACES_WRITTEN]
    ]
    ends = [(0, min(_native.PLACE_AT_START, size)), (max(size - _native.PLACE_AT_END, 0), size)]
    # An older copy differs where it was written last; another volume everywhere.
    return last[:1] + ends + last[1:]


def sound(places: Any) -> List[Json]:
    """Of what Coriolis has kept, the places that are some: a hint, so a damaged one is left out."""
    return [place for place in places if _is_place(place)] if isinstance(places, list) else []


def _is_place(place: Any) -> bool:
    if not isinstance(place, dict) or set(place) != {"offset", "length"}:
        return False
    try:
        for name, least in (("offset", 0), ("length", 1)):
            arguments.whole(name, place[name], least)
    except (TypeError, ValueError):
        return False
    return True


def here_and_there(
    client: Client, vm: str, snapshot: str, disk: str, size: int
) -> Iterator[Place]:
    """What a disk holds, found at several offsets."""
    several = _native.PLACES_HERE_AND_THERE
    for number in range(several):
        start = size // several * number
        found = patiently(lambda: _first_data(client.ranges(vm, snapshot, disk, offset=start)))
        yield from found


def _first_data(ranges: Iterable[Range]) -> List[Place]:
    for one in ranges:
        if one["kind"] == "data":
            return [(one["start"], one["start"] + min(one["length"], _native.PLACE_LONGEST))]
    return []


def untouched(
    places: Iterable[Place], client: Client, vm: str, base: str, half: str, disk: str
) -> Iterator[Place]:
    """What is left of them without what a run that was copying ``half`` may have written."""
    size = patiently(lambda: client.get_disk_size(vm, half, disk))
    for offset, end in places:
        whole = (offset, min(end, size))
        yield from without(whole, patiently(lambda: _changes(client, vm, base, half, disk, whole)))


def _changes(
    client: Client, vm: str, base: str, half: str, disk: str, place: Place
) -> List[Place]:
    """Where ``half`` has, or may have, something else than ``base``."""
    ranges = client.ranges(vm, half, disk, compare_to=base, refine="none", offset=place[0])
    changes = []
    for one in ranges:
        if one["start"] >= place[1]:
            break
        changes.append((one["start"], one["start"] + one["length"]))
    return changes


def without(place: Place, parts: Iterable[Place]) -> Iterator[Place]:
    """What is left of a place without these parts, which are sorted."""
    offset, end = place
    for start, stop in parts:
        if offset < min(start, end):
            yield offset, min(start, end)
        offset = max(offset, stop)
    if offset < end:
        yield offset, end
