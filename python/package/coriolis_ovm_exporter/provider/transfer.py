"""What goes on while volumes are written: whether they are right, and how far it has come."""

import hashlib
import itertools
import logging
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

from ..client import Client
from ..shapes import Json
from .coriolis_side import ProviderError
from .ledger import Replica
from .patience import patiently
from .places import Place, here_and_there, untouched

_LOG = logging.getLogger(__name__)

#: On both sides.
_CHECKSUM = "sha256"
#: What a worker answers that knows of none.
_NO_CHECKSUMS = (400, 404, 405, 422, 501)
#: So many places of a volume are looked at, however long that takes.
_AT_LEAST = 4
#: Seconds after which no further one is: Coriolis asks for a checksum every 15 seconds.
_LONG_ENOUGH = 120.0


class Transfer:
    """A run of ours for a transfer of Coriolis's."""

    def __init__(self, client: Client, vm: str, replica: Replica, bars: "Bars") -> None:
        self._client = client
        self._vm = vm
        self._replica = replica
        self._bars = bars
        self._snapshot = ""
        #: How each disk is copied.
        self._hows: Dict[str, str] = {}
        self.verify = False

    def on(self, event: Json) -> None:
        """What the engine has come to."""
        if event["event"] == "snapshot_taken":
            self._snapshot = event["snapshot"]
        if event["event"] == "disk_started":
            self._hows[event["disk"]] = event["how"]
        self._bars.on(event)

    @contextmanager
    def writing(self, opened: Any, disk: Json) -> Iterator[Any]:
        """A writer, whose volume is compared before it is let go of, if that is wanted."""
        with opened as writer:
            if self._hows.get(disk["name"]) == "incremental":
                self._look(writer, disk["name"])
            yield writer
            if self.verify:
                self._compare(writer, disk["name"])

    def _look(self, writer: Any, disk: str) -> None:
        """Whether a volume is the one that the last run has written to, before what changed goes there."""
        if not hasattr(writer, "get_disk_checksum"):
            return
        begun = time.monotonic()
        looked = 0
        for place in self._places(disk):
            if looked >= _AT_LEAST and time.monotonic() - begun > _LONG_ENOUGH:
                _LOG.info("%s: its volume was looked at in %d places; more take too long", disk, looked)
                return
            told = self._checksum(writer, place, is_first=not looked)
            if told is None:
                return
            looked += 1
            offset, end = place
            base = self._replica.base
            held = patiently(
                lambda: self._client.download_chunk(self._vm, base, disk, offset, end - offset)
            )
            if told != hashlib.new(_CHECKSUM, held).hexdigest():
                self._replica.distrust(base)
                raise ProviderError(
                    f"{disk}: its volume is not as the last run has left it: from {offset} to {end} it "
                    f"has others than snapshot {base}, so it is another volume, or an older copy was put "
                    "back; the next run copies all of it"
                )

    def _places(self, disk: str) -> Iterator[Place]:
        """Where it is looked, what tells most first."""
        known = self._replica.places(disk)
        base, half, size = self._replica.base, self._replica.half, self._replica.size(disk)
        # Asked for only where so many are looked at.
        data = here_and_there(self._client, self._vm, base, disk, size)
        places: Iterator[Place] = itertools.chain(known, data)
        if half is not None:
            places = untouched(places, self._client, self._vm, base, half, disk)
        looked: List[Place] = []
        for offset, end in places:
            if offset < end and not any(o <= offset and end <= e for o, e in looked):
                looked.append((offset, end))
                yield offset, end

    def _checksum(self, writer: Any, place: Place, is_first: bool) -> Optional[str]:
        """What the worker says; None where it makes none."""
        offset, end = place
        try:
            answer = writer.get_disk_checksum(_CHECKSUM, start_offset=offset, end_offset=end)
        except Exception as error:
            # A worker of before there were checksums. Whatever else goes wrong ends the run.
            status = getattr(getattr(error, "response", None), "status_code", None)
            if is_first and status in _NO_CHECKSUMS:
                return None
            raise
        if answer is None:
            return None
        return str(answer["checksum"]).lower()

    def _compare(self, writer: Any, disk: str) -> None:
        digests = self._client.digests(self._vm, self._snapshot, disk, _CHECKSUM)
        answer = writer.get_disk_checksum(_CHECKSUM, end_offset=digests["size"])
        if answer is None:
            raise ProviderError(
                f"{disk}: this kind of writer has no checksums; switch verify_disk_integrity off"
            )
        if str(answer["checksum"]).lower() != digests["whole"]:
            self._replica.distrust(self._snapshot)
            raise ProviderError(
                f"{disk}: its volume has {answer['algorithm']} {answer['checksum']}, snapshot "
                f"{self._snapshot} has {digests['whole']}; the next run copies all of it"
            )


class Bars:
    """A bar for each disk."""

    def __init__(self, events: Any) -> None:
        self._events = events
        self._steps: Dict[str, Any] = {}

    def on(self, event: Json) -> None:
        if self._events is None:
            return
        name = event["event"]
        if name == "disk_started":
            message = f"{event['disk']}: {event['how']} ({event['why']})"
            self._steps[event["disk"]] = self._events.add_percentage_step(message, 100)
        elif name == "disk_advanced" and event["of"]:
            self._set(event["disk"], 100 * event["done"] // event["of"])
        elif name == "disk_finished":
            self._set(event["disk"], 100)

    def _set(self, disk: str, percent: int) -> None:
        if disk in self._steps:
            self._events.set_percentage_step(self._steps[disk], min(percent, 100))
