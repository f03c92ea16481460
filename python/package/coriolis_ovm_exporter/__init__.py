"""The disks of running Oracle VM guests, from their nodes to wherever a replica is kept.

``Client`` speaks to a node; ``Client.replicate`` is a whole run. ``provider`` is what Coriolis loads.
"""

from importlib.metadata import PackageNotFoundError, version as _version

from .client import Client
from .errors import (
    ExporterError,
    HTTPError,
    ProtocolError,
    ReplicationError,
    TransportError,
)
from .https_writer import HttpsWriter
from .streams import Delta, Download

try:
    __version__ = _version("coriolis-ovm-exporter")
except PackageNotFoundError:  # it was put onto the path without being installed
    __version__ = "unknown"

__all__ = [
    "Client",
    "Delta",
    "Download",
    "ExporterError",
    "HTTPError",
    "HttpsWriter",
    "ProtocolError",
    "ReplicationError",
    "TransportError",
    "__version__",
]
