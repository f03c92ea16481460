"""What comes from Coriolis, where that is installed, and what stands in for it where it is not."""

import importlib
from contextlib import contextmanager
from typing import Any, Iterator, List, Mapping, Optional, Tuple

from ..errors import ExporterError
from ..https_writer import HttpsWriter
from ..shapes import Json
from ..writers import name_of

#: What the provider is, by the names of Coriolis's releases; those that a release lacks are left out.
_BASES = (
    "BaseEndpointProvider",
    "BaseEndpointInstancesProvider",
    "BaseReplicaExportProvider",
    "BaseReplicaExportValidationProvider",
)


def _module(name: str) -> Optional[Any]:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def bases() -> Tuple[type, ...]:
    """The provider's base classes. Coriolis's factory looks at them to see what it can do."""
    module = _module("coriolis.providers.base")
    found: List[type] = [getattr(module, name) for name in _BASES if hasattr(module, name)]
    # What is derived from another comes before that.
    return tuple(sorted(found, key=lambda kind: -len(kind.__mro__)))


def _error_bases() -> Tuple[type, ...]:
    kind = getattr(_module("coriolis.exception"), "CoriolisException", None)
    return (kind,) if kind is not None else ()


class ProviderError(ExporterError, *_error_bases()):  # type: ignore[misc]
    """What the provider cannot or will not do, in words. A ``CoriolisException``, if there is one."""


@contextmanager
def told_by_provider() -> Iterator[None]:
    """Around checks of what Coriolis hands over: what they refuse is an error of the provider's."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ProviderError(str(error)) from error


def events_of(event_handler: Any) -> Any:
    """Something with ``add_percentage_step`` and ``set_percentage_step``, or None."""
    module = _module("coriolis.events")
    if module is not None and event_handler is not None:
        return module.EventManager(event_handler)
    return event_handler if hasattr(event_handler, "add_percentage_step") else None


def https_writer(
    connection: Mapping[str, Any], volume: Json, identity: Optional[str]
) -> Optional[HttpsWriter]:
    """A writer of ours for a volume, where its worker has the writer over HTTPS; else None."""
    if connection.get("backend") != "http_backup_writer":
        return None
    details = connection.get("connection_details") or {}
    certificates = details.get("certificates") or {}
    missing = [key for key in ("ip", "port", "certificates") if not details.get(key)]
    missing += [key for key in ("ca_crt", "client_crt", "client_key") if not certificates.get(key)]
    if missing:
        raise ProviderError(
            f"what is said of the destination's worker lacks {', '.join(missing)}; switch "
            "native_writer off, so that Coriolis's own code writes"
        )
    disk = volume["disk_id"]
    if not volume.get("volume_dev"):
        raise ProviderError(f"{disk}: its volume has no volume_dev, the path of it on the worker")
    host = str(details["ip"])
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    try:
        return HttpsWriter(
            f"https://{host}:{details['port']}",
            volume["volume_dev"],
            # As text: it is not for a value from elsewhere to name a file.
            authority=str(certificates["ca_crt"]).encode(),
            certificate=str(certificates["client_crt"]).encode(),
            key=str(certificates["client_key"]).encode(),
            # The worker is another one in each transfer.
            name=name_of(disk),
            identity=identity,
        )
    except ValueError as error:
        raise ProviderError(f"{disk}: {error}") from error


def open_writer(connection: Mapping[str, Any], volumes_info: List[Json]) -> Any:
    """Coriolis's writer for these volumes: ``open(path, disk_id)`` gives a context manager."""
    module = _module("coriolis.providers.backup_writers")
    if module is None:
        raise ProviderError("the module coriolis is not installed, whose writers take the bytes")
    return module.BackupWritersFactory(connection, volumes_info).get_writer()
