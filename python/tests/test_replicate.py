"""Whole runs."""


def test_a_machine_is_copied_to_files_and_followed(client, machine, replica, identical):
    state = replica.parent / "state.json"
    first = client.replicate(machine.id, replica, state)
    assert {disk["how"] for disk in first["disks"]} == {"full"}
    identical(replica)
    machine.work()
    second = client.replicate(machine.id, replica, state)
    assert {disk["how"] for disk in second["disks"]} == {"incremental"}
    assert second["previous"] == first["snapshot"]
    identical(replica)
    assert [found["id"] for found in client.get_snapshots(machine.id)] == [second["snapshot"]]
