"""The highest WAL timeline is remembered, shared between processes, and never falls."""

import json
import logging
import threading

import pytest

from service.postgres.server_identity import ServerIdentity
from service.postgres.wal_timelines import FORMER_PRIMARY_MEMORY_S, WalTimelines
from tests.fakes.clocks import Clock

SYSTEM = "7300000000000000001"
LOGGED_AGAIN_S = 60


def primary(wal_timeline, system=SYSTEM):
    return ServerIdentity(system, wal_timeline, is_replica=False)


def replica(wal_timeline):
    return ServerIdentity(SYSTEM, wal_timeline, is_replica=True)


@pytest.mark.parametrize("is_replica", [False, True])
def test_a_cluster_id_names_the_system_and_its_wal_timeline(is_replica):
    cluster = "16384.7300000000000000001.0000000B" + ("" if is_replica else ".1700000000.25")
    assert ServerIdentity.parse(cluster, is_replica) == (SYSTEM, 11, is_replica)
    assert ServerIdentity.parse("16384.7300000000000000001.00000002.", False) == primary(2)  # without statistics


def test_a_primary_below_the_highest_timeline_is_rejected_with_both_timelines_and_hosts(caplog):
    timelines = WalTimelines()
    assert timelines.observe("old:5432", primary(1)) is None
    assert timelines.observe("new:5432", primary(2)) is None
    sentence = "old:5432 is a former primary: it writes WAL timeline 1, but WAL timeline 2 was seen at new:5432"
    assert timelines.observe("old:5432", primary(1)) == sentence
    assert timelines.former_primaries() == [sentence]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"split brain: {sentence}" in caplog.text


def test_a_replica_proves_a_promotion_and_one_that_lags_is_no_former_primary(caplog):
    timelines = WalTimelines()
    timelines.observe("old", primary(1))
    assert timelines.observe("follower", replica(2)) is None
    assert timelines.observe("old", primary(1)) is not None
    assert (
        timelines.observe("slow", replica(1))
        == "slow is a replica on WAL timeline 1, but WAL timeline 2 was seen at follower"
    )
    assert len(timelines.former_primaries()) == 1
    assert "slow" not in caplog.text


def test_a_higher_timeline_changes_the_generation_and_a_new_cluster_does_not():
    timelines = WalTimelines()
    timelines.observe("a", primary(7))
    first = timelines.generation
    assert timelines.observe("a", primary(1, system="7300000000000000002")) is None  # made by another initdb
    assert timelines.observe("b", replica(7)) is None
    assert timelines.generation == first
    assert timelines.observe("restored", primary(8)) is None
    assert timelines.generation != first
    assert timelines.is_superseded(primary(7))
    assert not timelines.is_superseded(primary(8))
    assert not timelines.is_superseded(primary(1, system="7300000000000000002"))


def test_processes_share_what_they_see(tmp_path):
    one, other = (WalTimelines(tmp_path / "run" / "timelines") for _ in range(2))
    one.observe("old", primary(1))
    before = other.generation
    one.observe("new", primary(2))
    assert other.generation != before
    assert other.is_superseded(primary(1))
    assert other.observe("old", primary(1)) is not None
    assert len(one.former_primaries()) == 1
    assert (
        WalTimelines(tmp_path / "run" / "timelines").observe("old", primary(1)) is not None
    )  # a process that replaces one


def test_simultaneous_updates_of_processes_never_lower_a_timeline(tmp_path):
    everyone = [WalTimelines(tmp_path / "timelines") for _ in range(8)]

    def raise_to(number, timelines):
        for round_ in range(20):
            timelines.observe(f"host{number}", primary(8 * round_ + number + 1))

    threads = [threading.Thread(target=raise_to, args=pair) for pair in enumerate(everyone)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads((tmp_path / "timelines").read_text())["highest"][SYSTEM] == [160, "host7"]
    assert all(timelines.is_superseded(primary(159)) for timelines in everyone)


def test_a_process_remembers_although_the_shared_file_is_removed_or_damaged(tmp_path, caplog):
    file = tmp_path / "timelines"
    timelines = WalTimelines(file)
    timelines.observe("new", primary(2))
    file.unlink()
    assert timelines.is_superseded(primary(1))
    file.write_text("{")
    assert timelines.is_superseded(primary(1))
    assert "cannot share timelines" in caplog.text
    timelines.observe("newer", primary(3))  # writes a whole file again
    assert WalTimelines(file).is_superseded(primary(2))


def test_a_former_primary_is_reported_until_it_is_gone_or_follows():
    clock = Clock()
    timelines = WalTimelines(now=clock)
    timelines.observe("new", primary(2))
    timelines.observe("old", primary(1))
    clock.now += FORMER_PRIMARY_MEMORY_S - 1
    assert timelines.former_primaries()
    clock.now += 1
    assert timelines.former_primaries() == []
    timelines.observe("old", primary(1))
    assert timelines.former_primaries()
    timelines.observe("old", replica(2))
    assert timelines.former_primaries() == []


def test_a_former_primary_is_logged_once_a_minute(caplog):
    clock = Clock()
    timelines = WalTimelines(now=clock)
    timelines.observe("new", primary(2))
    for _ in range(LOGGED_AGAIN_S):
        timelines.observe("old", primary(1))
        clock.now += 1
    assert caplog.text.count("split brain") == 1
    timelines.observe("old", primary(1))
    assert caplog.text.count("split brain") == 2
