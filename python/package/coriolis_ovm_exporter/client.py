"""Calls to a node."""

import json
import os
from datetime import timedelta
from typing import (
    Any,
    Callable,
    Collection,
    Iterable,
    Iterator,
    List,
    Literal,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
    cast,
    overload,
)

from . import _native, arguments
from .errors import HTTPError, TransportError
from .shapes import Json, Outcome, Range
from .state import State, held, store_of
from .streams import Delta, Download
from .writers import Alone, Places, Target, Writer, target_of

#: ``True`` and ``None``: the platform's authorities; ``False``: anybody; a path: the authorities in
#: this file (PEM), and no others.
Verify = Union[bool, str, "os.PathLike[str]", None]

#: Where the disks of a machine go: a directory, what goes where by the disks' names, or what is called
#: with a disk (``name``, ``size``, ``path``) and returns where that one goes.
Writers = Union[str, "os.PathLike[str]", Mapping[str, Writer], Callable[[Json], Optional[Writer]]]


class Client:
    """A client that has logged in.

    The calls of the first generation's class have its names and arguments, and answer the same.
    """

    def __init__(self, endpoint: str, token: str, verify: Verify = None) -> None:
        """With a token from elsewhere, which is not renewed when it expires."""
        self._connection = _native.Connection.with_token(
            arguments.some_text("endpoint", endpoint),
            arguments.text("token", token),
            *_trust(verify),
        )

    @classmethod
    def login(cls, endpoint: str, username: str, password: str, verify: Verify = None) -> "Client":
        """Logs in with a user of the Oracle VM Manager; again by itself, when the token expires.

        Raises ``HTTPError`` with 401 for bad credentials, ``ValueError`` for an answer without token.
        """
        client = cls.__new__(cls)
        client._connection = _native.Connection.login(
            arguments.some_text("endpoint", endpoint),
            arguments.text("username", username),
            arguments.text("password", password),
            *_trust(verify),
        )
        return client

    @property
    def endpoint(self) -> str:
        """Where it speaks to."""
        return self._connection.endpoint

    @property
    def token(self) -> str:
        """To be used elsewhere until it expires."""
        return self._connection.token

    def get_vms(self) -> List[Json]:
        """Every virtual machine that the node sees."""
        return cast(List[Json], json.loads(self._connection.vms()))

    def get_vm(self, vmID: str) -> Json:
        """One of them."""
        return _object(self._connection.vm(arguments.segment("vmID", vmID)))

    def get_node(self) -> Json:
        """The node and its repositories."""
        return _object(self._connection.node())

    def create_snapshot(
        self,
        vmID: str,
        label: Optional[str] = None,
        expires_in: Union[int, timedelta, None] = None,
        idempotency_key: Optional[str] = None,
        disks: Optional[Collection[str]] = None,
        consistency: Optional[str] = None,
        chunks: bool = True,
    ) -> Json:
        """Takes a snapshot of all disks, or of those that are named.

        Without ``chunks`` the answer leaves out what is allocated in them: of a disk of a million
        extents that is 60 MB.
        """
        wish = {
            "label": _text("label", label),
            "expires_in": arguments.term("expires_in", expires_in),
            "idempotency_key": _text("idempotency_key", idempotency_key),
            "disks": None if disks is None else arguments.names("disks", disks),
            "consistency": _consistency(consistency),
        }
        said = {name: value for name, value in wish.items() if value is not None}
        vmID, chunks = arguments.segment("vmID", vmID), arguments.flag("chunks", chunks)
        return _object(self._connection.create_snapshot(vmID, json.dumps(said), chunks))

    def get_snapshots(self, vmID: str) -> List[Json]:
        """Those that can be used, oldest first."""
        return cast(List[Json], json.loads(self._connection.snapshots(arguments.segment("vmID", vmID))))

    def get_all_snapshots(self, space: bool = False) -> List[Json]:
        """Those of all machines; with ``space``, how many bytes each holds alone."""
        return cast(List[Json], json.loads(self._connection.all_snapshots(arguments.flag("space", space))))

    def get_snapshot(
        self,
        vmID: str,
        snapshotID: str,
        compare_to: Optional[str] = None,
        squash: bool = False,
        chunks: bool = True,
    ) -> Json:
        """What each disk has, or what changed since the snapshot ``compare_to``.

        Without ``chunks`` only its label, its disks' sizes and the like.
        """
        vmID, chunks = arguments.segment("vmID", vmID), arguments.flag("chunks", chunks)
        if chunks:
            return _object(self._connection.snapshot(vmID, snapshotID, compare_to, bool(squash)))
        if compare_to is not None:
            raise ValueError("chunks=False leaves out what compare_to asks for; leave one of them out")
        return _object(self._connection.snapshot_without_ranges(vmID, snapshotID))

    def change_snapshot(
        self, vmID: str, snapshotID: str, *, chunks: bool = True, **changes: Any
    ) -> Json:
        """Changes ``label`` or ``expires_in``; None takes it away.

        With ``chunks`` the answer has what each disk has. Without, the disks are not looked at, so one
        that somebody has changed is no error.
        """
        said: Json = {}
        for name, value in changes.items():
            if name == "label":
                said[name] = _text(name, value)
            elif name == "expires_in":
                said[name] = arguments.term(name, value)
            else:
                raise TypeError(f"{name} cannot be changed; label and expires_in can")
        vmID, chunks = arguments.segment("vmID", vmID), arguments.flag("chunks", chunks)
        return _object(
            self._connection.change_snapshot(vmID, snapshotID, json.dumps(said), chunks)
        )

    def get_disk_size(self, vmID: str, snapID: str, diskID: str) -> int:
        """Bytes."""
        place = _place(vmID, snapID, diskID)
        page = self._connection.ranges(*place, None, "none", False, 0, 1)
        return cast(int, json.loads(page)["size"])

    @overload
    def download_chunk(
        self,
        vmID: str,
        snapID: str,
        diskID: str,
        offset: int,
        length: int,
        stream: Literal[False] = False,
    ) -> bytes: ...

    @overload
    def download_chunk(
        self,
        vmID: str,
        snapID: str,
        diskID: str,
        offset: int,
        length: int,
        stream: Literal[True],
    ) -> Download: ...

    def download_chunk(
        self,
        vmID: str,
        snapID: str,
        diskID: str,
        offset: int,
        length: int,
        stream: bool = False,
    ) -> Union[bytes, Download]:
        """Bytes of a snapshot's disk; with ``stream`` something that has ``iter_content``.

        Fewer than ``length`` where the disk ends before. All of them are in memory at once, and other
        threads of Python wait while they are put into one object: much is better read with ``stream``.
        """
        place = _place(vmID, snapID, diskID)
        offset, length = arguments.whole("offset", offset), arguments.whole("length", length, 1)
        if stream:
            return Download(self._connection.download(*place, offset, length))
        return self._connection.read(*place, offset, length)

    def delete_snapshot(self, vmID: str, snapshotID: str) -> None:
        """Deletes it; one that is gone is no error."""
        self._connection.delete_snapshot(arguments.segment("vmID", vmID), snapshotID)

    def delete_all_snapshots(self, vmID: str) -> None:
        """Deletes every snapshot of the machine."""
        self._connection.delete_all_snapshots(arguments.segment("vmID", vmID))

    def ranges(
        self,
        vmID: str,
        snapID: str,
        diskID: str,
        compare_to: Optional[str] = None,
        refine: str = "auto",
        full_without_base: bool = False,
        offset: int = 0,
    ) -> Iterator[Range]:
        """What a replica must write, from ``offset`` on, fetched page by page.

        A replica has the disk's size (``get_disk_size``). ``full_without_base``: where the base is
        gone, all of the disk instead of an error; only for a replica that is written from its
        beginning.
        """
        comparison = (compare_to, refine, arguments.flag("full_without_base", full_without_base))
        # Told by the call, not by the first item.
        return self._ranges(
            _place(vmID, snapID, diskID), *comparison, arguments.whole("offset", offset)
        )

    def _ranges(
        self,
        place: Tuple[str, str, str],
        base: Optional[str],
        refine: str,
        full_without_base: bool,
        offset: int,
    ) -> Iterator[Range]:
        position: Optional[int] = offset
        while position is not None:
            page = json.loads(
                self._connection.ranges(*place, base, refine, full_without_base, position, None)
            )
            if page["base"] is None and base is not None and position > offset:
                raise HTTPError(
                    f"{place[2]}: the base {base} was lost on the way",
                    status_code=404,
                    error="Not Found",
                    details=str(page.get("reason")),
                )
            # One answer is not made of both.
            base = page["base"]
            yield from page["ranges"]
            position = page["next"]

    def delta(
        self,
        vmID: str,
        snapID: str,
        diskID: str,
        compare_to: Optional[str] = None,
        refine: str = "auto",
        full_without_base: bool = False,
        offset: int = 0,
        end: Optional[int] = None,
        compression: str = "none",
    ) -> Delta:
        """The same with every byte, in one stream, from ``offset`` to ``end``."""
        comparison = (compare_to, refine, arguments.flag("full_without_base", full_without_base))
        offset = arguments.whole("offset", offset)
        end = None if end is None else arguments.whole("end", end, offset)
        place = _place(vmID, snapID, diskID)
        return Delta(self._connection.delta(*place, *comparison, offset, end, compression))

    def digests(
        self,
        vmID: str,
        snapID: str,
        diskID: str,
        algorithm: str = "sha256",
        block: Optional[int] = None,
    ) -> Json:
        """Of the disk, and of each block of so many bytes: ``sha256``, ``blake3`` or ``xxh3``."""
        block = None if block is None else arguments.whole("block", block, 1)
        place = _place(vmID, snapID, diskID)
        return _object(self._connection.digests(*place, algorithm, block))

    def replicate(
        self,
        vm: str,
        writers: Writers,
        state: State,
        *,
        nodes: Sequence["Client"] = (),
        progress: Optional[Callable[[Json], Any]] = None,
        zeroed: Collection[str] = (),
        disks: Optional[Collection[str]] = None,
        label: Optional[str] = None,
        expires_in: Union[int, timedelta, None] = None,
        consistency: Optional[str] = None,
        refine: str = "auto",
        compression: str = "none",
        verify: bool = False,
        overwrite: bool = False,
        catch_up: bool = True,
        streams: int = 2,
        parallel_disks: int = 4,
        patience: Optional[float] = None,
    ) -> Outcome:
        """A whole run: a snapshot, what changed since the last run, and the end of the old snapshot.

        ``writers`` says where each disk goes, ``state`` what the run before has left. All of Python is
        called on this thread, and so are signal handlers: what any of them raises ends the run and is
        raised here. The base in the state advances only when every byte is where it should be; after
        an exception, run again with the same state and the same targets.

        :param nodes: others that see the same repositories: they share the work
        :param progress: called with what the run comes to, such as ``{"event": "disk_advanced",
            "disk": …, "done": …, "of": …, "written": …}``
        :param zeroed: disks whose targets hold nothing but zeros, for the very first run; of a regular
            file that is seen
        :param disks: these alone
        :param label: what the snapshots are called
        :param expires_in: seconds; longer than a run, and than the time between two
        :param verify: reads every target back, or has a checksum made where it is, and compares; refused
            for what can do neither
        :param overwrite: targets that hold something of somebody else's, or may, are overwritten
        :param catch_up: whether a fresh snapshot follows where an interrupted run was finished
        :param streams: so many at a time from each node, 1 to 64
        :param parallel_disks: so many disks at a time, 1 to 64
        :param patience: seconds that a node may be silent before it is given up
        """
        vm, nodes = arguments.segment("vm", vm), _clients(nodes)
        self._refuse(vm, writers, progress, zeroed, nodes)
        targets: List[Target] = []
        places, most = Places(), _native.MOST_AT_A_TIME
        options = {
            "label": _text("label", label),
            "expires_in": arguments.term("expires_in", expires_in),
            "consistency": _consistency(consistency),
            "disks": None if disks is None else arguments.names("disks", disks),
            "refine": arguments.text("refine", refine),
            "compression": arguments.text("compression", compression),
            "verify": arguments.flag("verify", verify),
            "overwrite": arguments.flag("overwrite", overwrite),
            "catch_up": arguments.flag("catch_up", catch_up),
            "streams": arguments.whole("streams", streams, 1, most),
            "parallel_disks": arguments.whole("parallel_disks", parallel_disks, 1, most),
            "least_segment": None,
            "patience": None if patience is None else arguments.seconds("patience", patience),
        }

        def open_target(told: str) -> Union[Alone, Target, None]:
            disk: Json = json.loads(told)
            name = disk["name"]
            writer = writers(disk) if callable(writers) else _named(writers, name)
            if writer is None:
                return None
            target = target_of(name, writer, name in zeroed, places)
            if isinstance(target, Target):
                targets.append(target)
                if verify and not target.readable:
                    raise ValueError(
                        f"{name}: verify reads back what was written, and {writer!r} cannot be read; "
                        "give a path, a file that is open for both, or no verify"
                    )
            return target

        def report(event: str) -> None:
            if progress is not None:
                progress(json.loads(event))

        is_directory = isinstance(writers, (str, os.PathLike))
        try:
            with held(state):
                outcome = _native.replicate(
                    [self._connection, *(node._connection for node in nodes)],
                    vm,
                    os.fspath(cast(str, writers)) if is_directory else open_target,
                    store_of(state),
                    json.dumps(options),
                    report if progress is not None else None,
                )
        except BaseException as error:
            for target in targets:
                target.abandon(type(error), error, error.__traceback__)
            raise
        return cast(Outcome, json.loads(outcome))

    def _refuse(
        self,
        vm: str,
        writers: Writers,
        progress: Any,
        zeroed: Collection[str],
        nodes: Sequence["Client"],
    ) -> None:
        """What cannot be a run, before anything happens."""
        if isinstance(writers, (str, os.PathLike)) and not os.fspath(writers):
            raise ValueError('writers is an empty path; "." is the working directory')
        if progress is not None and not callable(progress):
            raise TypeError(f"progress is to be called, and {progress!r} cannot be")
        if isinstance(zeroed, (str, bytes)):
            raise TypeError(f"zeroed is a collection of disks' names, not {zeroed!r}")
        if not zeroed:
            return
        for client in (self, *nodes):
            try:
                found = client.get_vm(vm)
            except (HTTPError, TransportError):
                # The run says what is wrong, or goes on with the others.
                continue
            names = {disk["name"] for disk in found["disks"]}
            unknown = [name for name in zeroed if name not in names]
            if unknown:
                raise ValueError(f"zeroed: {vm} has no disk {unknown[0]!r}")
            return


def _trust(verify: Verify) -> Tuple[Optional[bytes], bool]:
    """Which authorities are believed, and whether anybody is."""
    if verify is False:
        return None, True
    if verify is None or verify is True:
        # As requests does.
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        if not verify:
            return None, False
    path = arguments.path("verify", verify)
    with open(path, "rb") as file:
        authorities = file.read()
    if b"-----BEGIN CERTIFICATE-----" not in authorities:
        raise ValueError(f"verify: there is no certificate in {path}; give a file of them, in PEM")
    return authorities, False


def _clients(nodes: Any) -> List[Client]:
    if isinstance(nodes, Client) or not isinstance(nodes, Iterable):
        raise TypeError(f"nodes is {nodes!r}; it is a list of Clients")
    clients = list(nodes)
    for number, client in enumerate(clients):
        if not isinstance(client, Client):
            raise TypeError(f"nodes[{number}] is {client!r}; it is a Client")
    return clients


def _place(vm: Any, snapshot: Any, disk: Any) -> Tuple[str, str, str]:
    return (
        arguments.segment("vmID", vm),
        arguments.text("snapID", snapshot),
        arguments.segment("diskID", disk),
    )


def _text(name: str, value: Optional[str]) -> Optional[str]:
    return None if value is None else arguments.text(name, value)


def _consistency(value: Optional[str]) -> Optional[str]:
    if value is None:
        return None
    return arguments.one_of("consistency", value, ("none", "pause", "command"))


def _named(writers: Any, disk: str) -> Optional[Writer]:
    if not isinstance(writers, Mapping):
        raise TypeError(
            f"{writers!r} is neither a directory, nor a mapping of disks' names, nor can it be called"
        )
    return cast(Optional[Writer], writers.get(disk))


def _object(text: str) -> Json:
    return cast(Json, json.loads(text))
