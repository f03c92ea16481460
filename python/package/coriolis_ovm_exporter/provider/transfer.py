"""What goes on while volumes are written: whether they are right, and how far it has come."""

import hashlib
from contextlib import contextmanager
from typing import Any, Dict, Iterator

from ..client import Client
from ..shapes import Json
from .coriolis_side import ProviderError
from .ledger import Replica, patiently

#: On both sides.
_CHECKSUM = "sha256"
#: What a worker answers that knows of none.
_NO_CHECKSUMS = (400, 404, 405, 422, 501)


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
        place = self._replica.place(disk)
        if place is None or place[0] >= place[1] or not hasattr(writer, "get_disk_checksum"):
            return
        offset, end = place
        try:
            answer = writer.get_disk_checksum(_CHECKSUM, start_offset=offset, end_offset=end)
        except Exception as error:
            # A worker of before there were checksums. Whatever else goes wrong ends the run.
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status in _NO_CHECKSUMS:
                return
            raise
        if answer is None:
            return
        base = self._replica.base
        held = patiently(
            lambda: self._client.download_chunk(self._vm, base, disk, offset, end - offset)
        )
        if str(answer["checksum"]).lower() != hashlib.new(_CHECKSUM, held).hexdigest():
            self._replica.distrust(base)
            raise ProviderError(
                f"{disk}: its volume is not as the last run has left it: from {offset} to {end} it has "
                f"others than snapshot {base}, so it is another volume, or an older copy was put back; "
                "the next run copies all of it"
            )

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
