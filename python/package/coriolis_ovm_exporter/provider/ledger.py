"""What is known of a replica between two runs, kept where nobody forgets it: on the node.

Coriolis keeps ``volumes_info`` only where a run has succeeded. What a run that did not has left on the
volumes is in the labels of its snapshots, which are changed before anything is written:

| label | the volumes |
| --- | --- |
| ``coriolis ID holds`` | hold exactly this snapshot |
| ``coriolis ID leaving`` | held it, and something was written since |
| ``coriolis ID copying`` | hold it in part, or not at all |
| ``coriolis ID wrong`` | hold anything: it must not be a base, nor be finished |

``ID`` is the replica's, made for its first run. So the next run finishes what was half written, and
copies everything only where it has to.
"""

import uuid
from typing import Any, Collection, Dict, List, Mapping, Optional, Set, Tuple

from ..client import Client
from ..errors import HTTPError
from ..shapes import Json
from ..writers import name_of
from .coriolis_side import ProviderError
from .patience import patiently
from .places import Place, known_places, sound

#: How long a snapshot is kept that no run comes back to, seconds.
ABANDONED = 7 * 24 * 3600


class Replica:
    """One replica of one machine."""

    def __init__(
        self, client: Client, vm: str, volumes_info: List[Json], incremental: bool
    ) -> None:
        self._client = client
        self._vm = vm
        #: Volumes by the names of their disks.
        self._volumes = {volume["disk_id"]: volume for volume in volumes_info}
        #: Disks that were copied before, by their names.
        self._known = {
            disk: state
            for disk, volume in self._volumes.items()
            for state in [state_of(volume)]
            if state.get("vm") == vm
        }
        ids = {state["replica"] for state in self._known.values()}
        if len(ids) > 1:
            # Volumes of several replicas: none of them can be told to hold what.
            self._known = {}
        self.is_new = not self._known
        self.id = ids.pop() if len(ids) == 1 else str(uuid.uuid4())
        #: Disks whose volume is another one than the one that was written to, and why that is known.
        self.exchanged = {
            disk: f"its volume was {state['volume']} in the last run, and is {volume} now"
            for disk, state in self._known.items()
            for volume in [identity_of(self._volumes[disk])]
            if None not in (volume, state.get("volume")) and volume != state["volume"]
        }
        # What was written to the other one is not on this one.
        self._known = {
            disk: state for disk, state in self._known.items() if disk not in self.exchanged
        }
        self._incremental = incremental
        self._labels: Dict[str, str] = {}
        self._distrusted: Set[str] = set()
        #: The snapshot that an interrupted run has half written.
        self._half: Optional[str] = None
        self._state: Optional[Json] = self._begin()

    def label(self, role: str) -> str:
        """What a snapshot of this replica is called."""
        return f"coriolis {self.id} {role}"

    def load(self) -> Optional[Mapping[str, Any]]:
        """What the engine begins with."""
        return self._state

    def save(self, state: Json) -> None:
        """Returns when the labels say what the state says."""
        base = state.get("base")
        if base is not None:
            is_written = bool((state.get("pending") or {}).get("dirty"))
            role = "leaving" if is_written else "holds"
            # Which disks are suspect no label tells: all of them are, to the next run.
            self._call_it(base, "wrong" if state.get("suspect") else role)
        self._state = state

    def distrust(self, snapshot: str) -> None:
        """The volumes were found to differ from it."""
        self._distrusted.add(snapshot)
        self._call_it(snapshot, "wrong")

    def places(self, disk: str) -> List[Place]:
        """Where it can be seen whether a volume holds the base, what tells most first."""
        known = self._known_disk(disk)
        return [] if known is None else known_places(known)

    def size(self, disk: str) -> int:
        """Bytes that a disk of the base has."""
        known = self._known_disk(disk)
        return 0 if known is None else int(known["size"])

    def _known_disk(self, disk: str) -> Optional[Json]:
        state = self._state or {}
        if state.get("base") is None:
            return None
        known: Optional[Json] = (state.get("disks") or {}).get(disk)
        return known

    @property
    def half(self) -> Optional[str]:
        """The snapshot that an interrupted run has half written, while this run finishes it."""
        pending = (self._state or {}).get("pending") or {}
        return self._half if self._half and pending.get("snapshot") == self._half else None

    @property
    def base(self) -> str:
        """The snapshot that the volumes hold."""
        base = (self._state or {}).get("base")
        if base is None:
            raise ProviderError("the run has ended without a snapshot")
        return str(base)

    def remembered(self, disk: str) -> Json:
        """What Coriolis keeps for a volume."""
        known: Json = {"replica": self.id, "vm": self._vm, "snapshot": self.base}
        volume = identity_of(self._volumes[disk])
        if volume is not None:
            known["volume"] = volume
        places = ((self._state or {}).get("disks") or {}).get(disk, {}).get("places")
        if places:
            # Where it is looked, before the next run, whether the volume holds what it should.
            known["places"] = places
        return known

    def may_trust_zeroed(self) -> bool:
        """Whether volumes that are said to be zero can be: nobody may have begun to write to them.

        Coriolis goes on to say so after a first run that was interrupted, or that has succeeded
        without Coriolis knowing of it. Either leaves a snapshot, which may be another replica's too.
        """
        return self.is_new and not any(_role(entry.get("label")) for entry in self._entries())

    def _call_it(self, snapshot: str, role: str) -> None:
        if snapshot in self._distrusted:
            role = "wrong"
        label = self.label(role)
        if self._labels.get(snapshot) == label:
            return
        # Whoever holds a replica's bytes is kept until it is dropped.
        changes: Json = {"label": label}
        if role == "holds":
            changes["expires_in"] = None
        try:
            # Its disks are not opened for it: a base that somebody has changed is called wrong, too.
            patiently(
                lambda: self._client.change_snapshot(self._vm, snapshot, chunks=False, **changes)
            )
        except HTTPError as error:
            # One that was deleted meanwhile cannot be taken for a base anyway.
            if error.status_code != 404 or role == "holds":
                raise
        self._labels[snapshot] = label

    def _disown(self, snapshot: str) -> None:
        """It must not become a base any more."""
        try:
            self._call_it(snapshot, "wrong")
        except HTTPError as error:
            # One that is not whole any more takes no label. What is deleted is no base either.
            if error.status_code != 409:
                raise
            patiently(lambda: self._client.delete_snapshot(self._vm, snapshot))

    def _entries(self) -> List[Json]:
        entries = patiently(lambda: self._client.get_all_snapshots(space=False))
        return [entry for entry in entries if entry["vm_id"] == self._vm]

    def _begin(self) -> Optional[Json]:
        """The state of the engine, out of the labels."""
        if self.is_new:
            return None
        ours: Dict[str, List[Json]] = {"holds": [], "leaving": [], "copying": [], "wrong": []}
        for entry in self._entries():
            role = _role(entry.get("label"), self.id)
            if role not in ours:
                continue
            if entry["state"] == "waiting":
                raise ProviderError(
                    f"snapshot {entry['id']} of {self._vm} lies on a repository that is not mounted "
                    "now; run again when it is"
                )
            self._labels[entry["id"]] = entry["label"]
            ours[role].append(entry)
        every = [entry["id"] for entries in ours.values() for entry in entries]
        base, pending, reason = _judge(ours, self._volumes)
        if not self._incremental:
            base, pending, reason = None, None, "a copy of everything was asked for"
        state: Json = {
            "version": 1,
            "vm": self._vm,
            "base": base,
            "disks": {},
            "pending": None,
            "suspect": {},
            "targets": [],
            "to_drop": [one for one in every if one not in (base, pending)],
        }
        if base is not None:
            self._doubt_those_of_another_base(base)
            state["disks"] = self._disks_of(base)
            if not state["disks"]:
                state["base"], state["to_drop"] = None, every
                pending, reason = None, f"snapshot {base} cannot be read"
        if reason is not None:
            state["suspect"] = {disk: reason for disk in self._known}
            # They are dropped before anything is written, unless that fails.
            for entry in ours["holds"] + ours["leaving"]:
                self._disown(entry["id"])
        elif pending is not None:
            self._half = pending
            state["pending"] = {
                "request": {},
                "snapshot": pending,
                "dirty": sorted(self._known),
            }
        return state

    def _doubt_those_of_another_base(self, base: str) -> None:
        """The result of the run that made the base was lost: Coriolis tells which volumes there were before
        it, and nobody which it has written to."""
        for disk, state in list(self._known.items()):
            said = (state.get("volume"), identity_of(self._volumes[disk]))
            if None in said or state.get("snapshot") == base:
                continue
            self.exchanged[disk] = (
                f"its volume was {state['volume']} when it held snapshot {state.get('snapshot')}; it is "
                f"not known which one a later run, whose result was lost, has brought to {base}"
            )
            del self._known[disk]

    def _disks_of(self, base: str) -> Json:
        try:
            snapshot = patiently(lambda: self._client.get_snapshot(self._vm, base, chunks=False))
        except HTTPError as error:
            if error.status_code not in (404, 409):
                raise
            return {}
        return {
            disk["name"]: {
                "size": disk["size"],
                "source": disk["parent_path"],
                "target": name_of(disk["name"]),
                "target_size": 0,
                **self._seen(disk["name"], base),
            }
            for disk in snapshot["disks"]
            if disk["name"] in self._known
        }

    def _seen(self, disk: str, base: str) -> Json:
        """What is known of its volume besides. Coriolis may have kept nothing of the last run."""
        state = self._known[disk]
        seen: Json = {}
        if state.get("snapshot") != base:
            return seen
        if state.get("volume") is not None:
            # As the engine calls a volume whose id it is told.
            seen["fingerprint"] = {"identity": f"device volume={state['volume']}", "version": ""}
        places = sound(state.get("places"))
        if places:
            seen["places"] = places
        return seen


def state_of(volume: Json) -> Json:
    """What Coriolis has kept for a volume; empty where it has kept nothing."""
    state = volume.get("replica_state") or {}
    if not isinstance(state, dict):
        what = f"is no object, but {type(state).__name__}"
    elif state and not (isinstance(state.get("replica"), str) and state["replica"]):
        what = "does not say of which replica it is"
    else:
        return state
    raise ProviderError(
        f"{volume.get('disk_id')}: its replica_state {what}. Take replica_state out of volumes_info: "
        "then everything is copied"
    )


def identity_of(volume: Json) -> Optional[str]:
    """What the destination calls a volume, where Coriolis says that: no other one has the same."""
    known = volume.get("volume_id")
    return str(known) if known not in (None, "") else None


def _judge(
    ours: Dict[str, List[Json]], volumes: Collection[str]
) -> Tuple[Optional[str], Optional[str], Optional[str]]:
    """The base, the snapshot that has to be finished, and why there is no base."""
    holds, leaving, copying = ours["holds"], ours["leaving"], ours["copying"]
    if len(holds) == 1 and _is_ready(holds[0]):
        # Nothing was written since.
        return holds[0]["id"], None, None
    if not holds and len(leaving) == 1 and len(copying) == 1:
        # What is to be finished needs a volume for each of its disks.
        has_volumes = set(copying[0]["disks"]) <= set(volumes)
        if _is_ready(leaving[0]) and _is_ready(copying[0]) and has_volumes:
            return leaving[0]["id"], copying[0]["id"], None
    if not holds and not leaving and ours["wrong"]:
        return None, None, "its volume was found to hold something else than was written to it"
    if not holds and not leaving:
        return None, None, "the snapshot that its volume held was deleted"
    return None, None, "a run that was interrupted has left it in a state that nobody knows"


def _is_ready(entry: Json) -> bool:
    return bool(entry["state"] == "ready")


def _role(label: Any, replica: Optional[str] = None) -> Optional[str]:
    """What a label says of a snapshot, if it is one of a replica's, or of this one's."""
    words = str(label or "").split(" ")
    if len(words) != 3 or words[0] != "coriolis" or replica not in (None, words[1]):
        return None
    return words[2]


def belongs_to(entry: Json, replica: str) -> bool:
    """Whether a snapshot is this replica's."""
    return _role(entry.get("label"), replica) is not None
