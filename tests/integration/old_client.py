"""A client of the first generation, with nothing but the standard library.

    old_client.py full VM FOLDER
    old_client.py incremental VM FOLDER BASE
    old_client.py clean VM FOLDER SNAPSHOT

Prints the snapshot that it worked with as JSON.
"""

import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request


class Client(object):
    """Routes end with a slash or do not, in turn: both are in use."""

    def __init__(self, endpoint, token, verify=None):
        self._endpoint = endpoint.rstrip("/")
        self._token = token
        self._requests = 0
        if verify is False:
            self._context = ssl._create_unverified_context()
        else:
            cafile = verify if isinstance(verify, str) else None
            self._context = ssl.create_default_context(cafile=cafile)

    @classmethod
    def login(cls, endpoint, username, password, verify=None):
        client = cls(endpoint, None, verify)
        answer = client._json("POST", "auth/login", body={"username": username, "password": password})
        if not answer.get("token"):
            raise ValueError("no token in the answer")
        client._token = answer["token"]
        return client

    def _open(self, method, path, query=None, headers=None, body=None):
        self._requests += 1
        url = "%s/api/v1/%s" % (self._endpoint, path)
        if self._requests % 2:
            url += "/"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(url, method=method, headers=headers or {})
        if self._token:
            request.add_header("Authorization", "Bearer %s" % self._token)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, context=self._context, timeout=60)

    def _json(self, method, path, **kwargs):
        with self._open(method, path, **kwargs) as answer:
            return json.loads(answer.read().decode())

    def get_vms(self):
        return self._json("GET", "vms")

    def get_vm(self, vmID):
        return self._json("GET", "vms/%s" % vmID)

    def create_snapshot(self, vmID):
        return self._json("POST", "vms/%s/snapshots" % vmID)

    def get_snapshots(self, vmID):
        return self._json("GET", "vms/%s/snapshots" % vmID)

    def get_snapshot(self, vmID, snapshotID, compare_to=None, squash=False):
        query = {"squashChunks": squash}
        if compare_to:
            query["compareTo"] = compare_to
        return self._json("GET", "vms/%s/snapshots/%s" % (vmID, snapshotID), query=query)

    def get_disk_size(self, vmID, snapID, diskID):
        path = "vms/%s/snapshots/%s/disks/%s" % (vmID, snapID, diskID)
        with self._open("HEAD", path) as answer:
            return int(answer.headers["Content-Length"])

    def download_chunk(self, vmID, snapID, diskID, offset, length):
        path = "vms/%s/snapshots/%s/disks/%s" % (vmID, snapID, diskID)
        headers = {"Range": "bytes=%d-%d" % (offset, offset + length - 1)}
        with self._open("GET", path, headers=headers) as answer:
            return answer.read()

    def _delete(self, path):
        with self._open("DELETE", path) as answer:
            assert answer.status == 200, answer.status
            assert answer.read() == b""

    def delete_snapshot(self, vmID, snapshotID):
        self._delete("vms/%s/snapshots/%s" % (vmID, snapshotID))

    def delete_all_snapshots(self, vmID):
        self._delete("vms/%s/snapshots" % vmID)


def transfer(client, snapshot, folder, is_first):
    for disk in snapshot["disks"]:
        ids = (snapshot["vm_id"], snapshot["id"], disk["name"])
        size = client.get_disk_size(*ids)
        with open(os.path.join(folder, disk["name"]), "wb" if is_first else "r+b") as replica:
            if is_first:
                replica.truncate(size)
            for chunk in disk["chunks"]:
                replica.seek(chunk["start"])
                replica.write(client.download_chunk(*ids, offset=chunk["start"], length=chunk["length"]))
            replica.seek(0, os.SEEK_END)
            assert replica.tell() >= size, "the chunks of %s end too early" % disk["name"]
            replica.truncate(size)


def full(client, vm_id, folder):
    vms = client.get_vms()
    assert [vm["name"] for vm in vms] == [vm_id], vms
    vm = client.get_vm(vm_id)
    assert vm["snapshot_compatible"] is True and vm["snapshots"] == [], vm
    created = client.create_snapshot(vm_id)
    assert [s["id"] for s in client.get_snapshots(vm_id)] == [created["id"]]
    snapshot = client.get_snapshot(vm_id, created["id"], squash=True)
    raw = client.get_snapshot(vm_id, created["id"], squash=False)
    for joined, single in zip(snapshot["disks"], raw["disks"]):
        assert sum(c["length"] for c in joined["chunks"]) == sum(c["length"] for c in single["chunks"])
        assert len(joined["chunks"]) <= len(single["chunks"])
    transfer(client, snapshot, folder, True)
    return snapshot


def incremental(client, vm_id, folder, base):
    created = client.create_snapshot(vm_id)
    snapshot = client.get_snapshot(vm_id, created["id"], compare_to=base, squash=True)
    transfer(client, snapshot, folder, False)
    client.delete_snapshot(vm_id, base)
    return snapshot


def clean(client, vm_id, folder, last):
    snapshot = client.get_snapshot(vm_id, last)
    client.delete_snapshot(vm_id, last)
    client.delete_snapshot(vm_id, last)
    try:
        client.get_snapshot(vm_id, last)
        raise AssertionError("a deleted snapshot is still there")
    except urllib.error.HTTPError as error:
        assert error.code == 404, error.code
        assert set(json.loads(error.read().decode())) >= {"error", "details"}
    client.create_snapshot(vm_id)
    client.delete_all_snapshots(vm_id)
    assert client.get_snapshots(vm_id) == []
    return snapshot


def main():
    step, vm_id, folder = sys.argv[1:4]
    client = Client.login(
        os.environ["OVM_EXPORTER_ENDPOINT"],
        os.environ["OVM_EXPORTER_USERNAME"],
        os.environ["OVM_EXPORTER_PASSWORD"],
        verify=os.environ["OVM_EXPORTER_CAFILE"])
    steps = {"full": full, "incremental": incremental, "clean": clean}
    arguments = [argument for argument in sys.argv[4:] if argument]
    json.dump(steps[step](client, vm_id, folder, *arguments), sys.stdout)


if __name__ == "__main__":
    main()
