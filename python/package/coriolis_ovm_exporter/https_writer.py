"""A volume of a destination worker of Coriolis's, which is written without Python."""

import json
import os
from typing import Literal, Optional, Union

from . import _native, arguments

#: PEM, or the path of a file with it.
Pem = Union[str, bytes, "os.PathLike[str]"]


class HttpsWriter:
    """A place for a disk, to be given to ``Client.replicate``.

    Its bytes go to the worker's HTTPS writer, several chunks at a time, over mutual TLS, on threads
    that Python takes no part in. It cannot be read back, so what lies on a volume nobody can tell: a
    first run needs the disk's name in ``zeroed``, or ``overwrite``. In a later run the worker makes
    checksums of some places: where the volume does not hold what the run before has left there, the run is
    refused, or with ``overwrite`` all of the disk is copied. With ``verify`` it makes one of everything.

    :param endpoint: ``https://HOST:5566``
    :param device: the volume's path on the worker
    :param authority: who has signed the worker's certificate; nobody else is believed
    :param certificate: ours
    :param key: of that certificate
    :param name: what the state of the replica calls the volume, where the worker is another one in
        each run; worker and device, unless given
    :param identity: which volume it is, by an id that no other one ever has: kept in the state. With
        another one than in the run before it is not taken for the volume of that run. Needed for an
        increment where the worker makes no checksums
    :param in_flight: chunks under way at the same time, 1 to 64
    :param chunk: bytes of a chunk, 64 KiB to 64 MiB
    :param packing: whether bytes are packed: ``auto`` while they would have to wait anyway
    :param patience: seconds that a call is made again before the worker is given up
    """

    def __init__(
        self,
        endpoint: str,
        device: str,
        *,
        authority: Pem,
        certificate: Pem,
        key: Pem,
        name: Optional[str] = None,
        identity: Optional[str] = None,
        in_flight: int = 4,
        chunk: int = 2 << 20,
        packing: Literal["auto", "always", "never"] = "auto",
        patience: float = 120.0,
    ) -> None:
        self.endpoint = arguments.some_text("endpoint", endpoint)
        self.device = arguments.some_text("device", device)
        options = {
            "name": None if name is None else arguments.text("name", name),
            "identity": None if identity is None else arguments.text("identity", identity),
            "in_flight": arguments.whole("in_flight", in_flight, 1, 64),
            "chunk": arguments.whole("chunk", chunk, 64 << 10, 64 << 20),
            "packing": arguments.text("packing", packing),
            "patience": arguments.seconds("patience", patience),
        }
        self._native = _native.HttpsWriter(
            endpoint,
            device,
            _pem("authority", authority),
            _pem("certificate", certificate),
            _pem("key", key),
            json.dumps(options),
        )

    def __repr__(self) -> str:
        return f"HttpsWriter({self.endpoint!r}, {self.device!r})"


def _pem(name: str, given: Pem) -> bytes:
    if isinstance(given, bytes):
        return given
    if isinstance(given, str) and "-----BEGIN" in given:
        return given.encode()
    with open(arguments.path(name, given), "rb") as file:
        return file.read()
