"""What may stand in an endpoint's connection, and in a transfer's source environment."""

from .. import _native
from ..shapes import Json

CONNECTION: Json = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "endpoints": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "string", "pattern": "^https://"},
            "description": "The exporters of the nodes of a server pool: https://host:5544.",
        },
        "username": {"type": "string", "description": "A user of the Oracle VM Manager."},
        "password": {"type": "string"},
        "ca_certificate": {
            "type": "string",
            "description": "The authorities that sign the nodes' certificates: PEM, or a file's path.",
        },
        "allow_untrusted": {
            "type": "boolean",
            "default": False,
            "description": "Whoever answers is believed to be the node. For tests.",
        },
    },
    "required": ["endpoints", "username", "password"],
    "additionalProperties": True,
}

SOURCE_ENVIRONMENT: Json = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "properties": {
        "consistency": {
            "type": "string",
            "enum": ["none", "pause", "command"],
            "description": "Whether all disks are of one moment, and how. Default: what the nodes' "
            "configuration says.",
        },
        "compression": {
            "type": "string",
            "enum": ["none", "lz4", "zstd"],
            "default": "none",
            "description": "How the bytes travel from the node.",
        },
        "streams": {
            "type": "integer",
            "minimum": 1,
            "maximum": _native.MOST_AT_A_TIME,
            "default": 2,
            "description": "Streams at a time from each node.",
        },
        "use_all_nodes": {
            "type": "boolean",
            "default": True,
            "description": "Nodes that see the machine's repositories share the work.",
        },
        "native_writer": {
            "type": "boolean",
            "default": False,
            "description": "A destination worker with the writer over HTTPS is written to without "
            "Coriolis's own code, by compiled code and several chunks at a time.",
        },
        "verify_disk_integrity": {
            "type": "boolean",
            "default": False,
            "description": "Compare the SHA-256 of each whole disk on both sides after a transfer.",
        },
    },
    "additionalProperties": True,
}
