"""PSQL_HOST: one server or several, written strictly, and tried in a good order."""

import pytest

from service.errors import SettingsError
from service.net.hosts import Host
from service.postgres.connect import has_replicas, parse_configured_hosts
from service.postgres.host_ranking import LATELY_S, HostRanking
from service.settings import PostgresSettings, load_settings
from tests.fakes.clocks import Clock

A, B, C = Host("a", 1), Host("b", 2), Host("c", 3)


@pytest.mark.parametrize(
    ("text", "normalized", "shown"),
    [
        ("db\n", "db", ["db:5432"]),
        ("db1,db2:5433", "db1, db2:5433", ["db1:5432", "db2:5433"]),
        (" DB1.example:06000 ,10.0.0.1", "db1.example:6000, 10.0.0.1", ["db1.example:6000", "10.0.0.1:5432"]),
        ("::1, [::2]", "::1, ::2", ["[::1]:5432", "[::2]:5432"]),
        ("[::1]:5433, [2001:DB8:0::1]:6", "[::1]:5433, [2001:db8::1]:6", ["[::1]:5433", "[2001:db8::1]:6"]),
        ("my_db-1, /run/postgresql", "my_db-1, /run/postgresql", ["my_db-1:5432", "/run/postgresql:5432"]),
        ("db, db:5433", "db, db:5433", ["db:5432", "db:5433"]),
    ],
)  # fmt: skip
def test_hosts_are_read_and_written_in_one_way(text, normalized, shown):
    settings = load_settings(psql_host=text).postgres
    assert settings.hosts == normalized
    assert load_settings(psql_host=normalized).postgres.hosts == normalized
    assert [str(host) for host in parse_configured_hosts(settings)] == shown
    assert has_replicas(settings) == (len(shown) > 1)


@pytest.mark.parametrize(
    "text",
    [
        " ", ",", "db1,", ",db1", "db1,,db2", "db1 db2", "db1;db2", "d\nb", "/a\nb", "-db", "dbé",
        "db1:", "db1:0", "db1:65536", "db1:x", "db1:٣", ":5432", "db1,5433", "1.2.3", "256.1.1.1",
        "[::1", "::1]", "[db1]:5432", "[127.0.0.1]:5432", "[::1]:", "1::2::3", "postgres://db1", "user@db1", "db1=x",
        "db1, db1", "db1, DB1", "db1, db1:5432", "::1, [0::1]",
    ],
)  # fmt: skip
def test_what_names_no_hosts_or_one_twice_stops_the_start(text):
    with pytest.raises(SettingsError, match=r"^PSQL_HOST: .*expected hosts with commas between, such as db1, db2:5433"):
        load_settings(psql_host=text)


def test_hosts_that_are_the_same_at_the_port_of_the_settings_are_refused():
    assert load_settings(psql_host="db, db:5432", psql_port=6000).postgres.hosts == "db, db:5432"
    with pytest.raises(SettingsError, match="PSQL_HOST: db:6000 is there twice"):
        load_settings(psql_host="db, db:6000", psql_port=6000)


def test_a_wrong_port_is_named_whatever_the_hosts_are():
    with pytest.raises(SettingsError, match=r"^PSQL_PORT: "):
        load_settings(psql_host="db1, db2", psql_port="x")


def test_without_hosts_there_are_no_replicas():
    settings = PostgresSettings()
    assert not has_replicas(settings)
    with pytest.raises(SettingsError, match="PSQL_HOST is not set"):
        parse_configured_hosts(settings)


def test_hosts_are_tried_as_they_are_listed_and_those_that_failed_lately_last():
    clock = Clock(0)
    order = HostRanking(now=clock)
    assert order.of([A, B, C]) == [A, B, C]
    order.failed(A)
    assert order.of([A, B, C]) == [B, C, A]
    clock.now = 1
    order.failed(B)
    assert order.of([A, B, C]) == [C, A, B]
    clock.now = LATELY_S
    assert order.of([A, B, C]) == [A, C, B]
    clock.now = LATELY_S + 1
    assert order.of([A, B, C]) == [A, B, C]


def test_load_spreads_over_the_hosts_that_did_not_fail():
    order = HostRanking(shuffled=True)
    assert {order.of([A, B, C])[0] for _ in range(200)} == {A, B, C}
    order.failed(B)
    assert {tuple(order.of([A, B, C])) for _ in range(200)} == {(A, C, B), (C, A, B)}
