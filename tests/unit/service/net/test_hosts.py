"""Lists of hosts in settings, and the order in which hosts are tried."""

import pytest

from service.errors import SettingsError
from service.net.hosts import Host
from service.postgres.connect import has_replicas, parse_configured_hosts
from service.postgres.host_ranking import FAILURE_MEMORY_S, HostRanking
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
def test_hosts_are_parsed_and_normalized(text, normalized, shown):
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
def test_malformed_and_duplicate_hosts_are_rejected(text):
    with pytest.raises(SettingsError, match=r"^PSQL_HOST: .*expected hosts separated by commas, such as db1, db2:5433"):
        load_settings(psql_host=text)


def test_hosts_that_are_equal_with_the_default_port_are_rejected():
    assert load_settings(psql_host="db, db:5432", psql_port=6000).postgres.hosts == "db, db:5432"
    with pytest.raises(SettingsError, match="PSQL_HOST: db:6000 is listed twice"):
        load_settings(psql_host="db, db:6000", psql_port=6000)


def test_a_malformed_port_is_named():
    with pytest.raises(SettingsError, match=r"^PSQL_PORT: "):
        load_settings(psql_host="db1, db2", psql_port="x")


def test_no_hosts_means_no_replicas():
    settings = PostgresSettings()
    assert not has_replicas(settings)
    with pytest.raises(SettingsError, match="PSQL_HOST is not set"):
        parse_configured_hosts(settings)


def test_hosts_are_tried_in_order_with_recent_failures_last():
    clock = Clock(0)
    order = HostRanking(now=clock)
    assert order.ranked([A, B, C]) == [A, B, C]
    order.report_failure(A)
    assert order.ranked([A, B, C]) == [B, C, A]
    clock.now = 1
    order.report_failure(B)
    assert order.ranked([A, B, C]) == [C, A, B]
    clock.now = FAILURE_MEMORY_S
    assert order.ranked([A, B, C]) == [A, C, B]
    clock.now = FAILURE_MEMORY_S + 1
    assert order.ranked([A, B, C]) == [A, B, C]


def test_load_is_spread_over_hosts_without_recent_failures():
    order = HostRanking(shuffled=True)
    assert {order.ranked([A, B, C])[0] for _ in range(200)} == {A, B, C}
    order.report_failure(B)
    assert {tuple(order.ranked([A, B, C])) for _ in range(200)} == {(A, C, B), (C, A, B)}
