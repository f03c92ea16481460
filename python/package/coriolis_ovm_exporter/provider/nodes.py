"""The nodes of a pool, and which of them has a machine."""

import logging
import os
import tempfile
from typing import Any, Dict, List, Mapping, NamedTuple

from .. import arguments
from ..client import Client, Verify
from ..errors import ExporterError
from ..shapes import Json
from . import inventory
from .coriolis_side import ProviderError, told_by_provider


_LOG = logging.getLogger(__name__)


class Found(NamedTuple):
    """A machine, and who sees it: the node that runs it first."""

    vm: Json
    clients: List[Client]


def log_in(connection: Mapping[str, Any], all_of_them: bool = False) -> List[Client]:
    """To every node that answers; with ``all_of_them`` each has to.

    Raises where none does, with what each has said.
    """
    if not isinstance(connection, Mapping):
        raise ProviderError(f"the connection is no object, but {type(connection).__name__}")
    endpoints = connection.get("endpoints") or []
    if isinstance(endpoints, str):
        endpoints = [endpoints]
    missing = [key for key in ("username", "password") if not connection.get(key)]
    if not endpoints or missing:
        raise ProviderError(
            f"the connection lacks {', '.join(missing) or 'endpoints'}: it names the nodes' exporters "
            "as endpoints (https://host:5544), and username and password of the Oracle VM Manager"
        )
    with told_by_provider():
        endpoints = arguments.names("endpoints", endpoints)
        for key in ("username", "password", "ca_certificate"):
            if connection.get(key) is not None:
                arguments.text(key, connection[key])
        if connection.get("allow_untrusted") is not None:
            # "false" would be true.
            arguments.flag("allow_untrusted", connection["allow_untrusted"])
    clients, failures = [], []
    for endpoint in endpoints:
        try:
            clients.append(_log_in(endpoint, connection))
        except (ExporterError, OSError, ValueError) as error:
            failures.append(f"{endpoint}: {error}")
    if failures and (all_of_them or not clients):
        raise ProviderError("; ".join(failures))
    return clients


def _log_in(endpoint: str, connection: Mapping[str, Any]) -> Client:
    username, password = connection["username"], connection["password"]
    authority = connection.get("ca_certificate")
    if connection.get("allow_untrusted"):
        _LOG.warning("%s: allow_untrusted: the node's certificate is not checked", endpoint)
        return Client.login(endpoint, username, password, verify=False)
    if not authority or "BEGIN CERTIFICATE" not in authority:
        verify: Verify = authority or None
        return Client.login(endpoint, username, password, verify=verify)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(authority)
        file.flush()
        return Client.login(endpoint, username, password, verify=os.fspath(file.name))


def machines(clients: List[Client]) -> List[Json]:
    """Of all nodes, each once, by id: as the node says that runs it, where one does."""
    found: Dict[str, Json] = {}
    for vms in _lists(clients).values():
        for vm in vms:
            known = found.get(vm["id"])
            if known is None or (_runs(vm) and not _runs(known)):
                found[vm["id"]] = vm
    return [found[id] for id in sorted(found)]


def find(clients: List[Client], name: str) -> Found:
    """A machine by any of its names."""
    seen = []
    for client, vms in _lists(clients).items():
        for vm in inventory.find(vms, name):
            seen.append((vm, client))
    ids = sorted({vm["id"] for vm, _ in seen})
    if not seen:
        where = ", ".join(client.endpoint for client in clients)
        raise ProviderError(f"no node sees a machine {name!r}; asked were {where}")
    if len(ids) > 1:
        raise ProviderError(f"several machines are called {name!r}: name one of {', '.join(ids)}")
    seen.sort(key=lambda pair: not _runs(pair[0]))
    return Found(seen[0][0], [client for _, client in seen])


def _runs(vm: Json) -> bool:
    return bool(vm.get("on_this_node"))


def _lists(clients: List[Client]) -> Dict[Client, List[Json]]:
    """What each node sees. One that does not answer is left out, as long as another does."""
    lists, failures = {}, []
    for client in clients:
        try:
            lists[client] = client.get_vms()
        except (ExporterError, OSError) as error:
            failures.append(f"{client.endpoint}: {error}")
    if failures and not lists:
        raise ProviderError("; ".join(failures))
    return lists
