"""What is heard from a real Postgres."""

import threading
import time
from contextlib import contextmanager

import pytest

from service.errors import DatabaseUnavailable
from service.ledger.change_listener import ChangeListener
from service.ledger.freshness import Freshness, StaleReason
from service.postgres.connector import Connector
from tests.conftest import sql

POST = "SELECT * FROM post_events(%s::bigint[], %s, %s::date[], %s::numeric[])"
PATIENCE_S = 10


@pytest.fixture
def loans(posting):
    ids = list(range(1, 601))
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)",
        ids, ["2020-01-01"] * 600, ["100"] * 600, ["USD"] * 600)  # fmt: skip
    return ids


def post(posting, *loan_ids):
    """Posts an event of each and gives the new versions."""
    count = len(loan_ids)
    rows = sql(posting, POST, list(loan_ids), ["fee"] * count, ["2020-01-02"] * count, ["1.00"] * count)
    return dict(rows)


@contextmanager
def listening(settings, max_staleness_s=60.0, databases=()):
    freshness = Freshness(max_staleness_s)
    listener = ChangeListener(freshness, Connector(settings), databases)
    listener.start()
    try:
        until(lambda: freshness.cluster is not None)
        yield freshness
    finally:
        listener.stop()


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def horizon(admin):
    return int(sql(admin, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text")[0][0])


def test_a_posted_event_is_told_with_its_version_and_transaction(settings, loans, posting, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is None
        assert post(posting, 1) == {1: 1}
        until(lambda: freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.VERSION)
        assert freshness.check(freshness.cluster, 1, 1, before).stale_reason is None
        assert freshness.check(freshness.cluster, 2, 0, before).stale_reason is None


def test_events_of_very_many_loans_raise_the_floor(settings, loans, posting, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        post(posting, *loans)
        until(lambda: freshness.check(freshness.cluster, 1, 1, before).stale_reason is StaleReason.FLOOR)
        assert freshness.check(freshness.cluster, 1, 1, horizon(admin)).stale_reason is None


def test_what_was_read_before_anyone_listened_is_below_the_floor(settings, loans, posting, admin):
    before = horizon(admin)
    post(posting, 1)
    with listening(settings) as freshness:
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.FLOOR


def test_what_is_rolled_back_is_not_told(settings, loans, posting, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        with posting.cursor() as cursor:
            cursor.execute(POST, ([1], ["fee"], ["2020-01-02"], ["1.00"]))
        posting.rollback()
        assert post(posting, 2) == {2: 1}
        until(lambda: freshness.check(freshness.cluster, 2, 0, before).stale_reason is StaleReason.VERSION)
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is None


def test_a_connection_that_is_cut_is_made_again_and_what_happened_meanwhile_is_below_the_floor(
    settings, loans, posting, admin, caplog
):
    with listening(settings) as freshness:
        before = horizon(admin)
        cluster = freshness.cluster
        floor = freshness._floor
        sql(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loaner reader'")
        post(posting, 1)
        until(lambda: freshness._floor > floor)
        assert freshness.cluster == cluster
        assert freshness.check(cluster, 1, 0, before).stale_reason is StaleReason.FLOOR
        assert freshness.check(cluster, 1, 1, horizon(admin)).stale_reason is None
    assert caplog.text.count("is not heard") == 1


def test_round_trips_go_on_while_nothing_happens(settings, loans):
    with listening(settings, max_staleness_s=0.6) as freshness:
        first = freshness.silence_s()
        time.sleep(1.5)
        assert freshness.silence_s() < 0.6
        assert first is not None


def test_a_notification_that_is_not_understood_counts_as_having_missed_something(settings, loans, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        floor = freshness._floor
        sql(admin, "CREATE TABLE something ()")  # a transaction, so that the floor can be seen to rise
        sql(admin, "SELECT pg_notify('loaner', 'of another release')")
        until(lambda: freshness._floor > floor)
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.FLOOR


def test_another_cluster_has_connections_made_anew_before_anything_is_kept_under_its_name(settings, loans):
    order = []

    class Database:
        def renew(self):
            order.append(freshness.cluster)

    freshness = Freshness(60)
    freshness.on_listen("another", 1, freshness.now())
    listener = ChangeListener(freshness, Connector(settings), [Database()])
    listener.start()
    until(lambda: freshness.cluster != "another")
    listener.stop()
    assert order == ["another"]


def test_a_server_that_is_not_there_is_looked_for_until_it_is(settings, loans, caplog):
    freshness = Freshness(60)
    listener = ChangeListener(freshness, Connector(settings.replace(port=1)))
    listener.start()
    until(lambda: "is not heard" in caplog.text)
    time.sleep(1.2)
    listener.stop()
    assert freshness.cluster is None
    assert caplog.text.count("is not heard") == 1
    assert not any(thread.name == "listener" for thread in threading.enumerate())


def test_a_user_who_may_not_ask_what_cluster_it_is_is_told_of(settings, loans, admin, caplog):
    sql(admin, "REVOKE EXECUTE ON FUNCTION pg_control_system FROM PUBLIC")  # of this database only
    with pytest.raises(DatabaseUnavailable, match="permission denied for function pg_control_system"):
        Connector(settings).connect()
    listener = ChangeListener(Freshness(60), Connector(settings))
    listener.start()
    until(lambda: "permission denied for function pg_control_system" in caplog.text)
    listener.stop()


def test_new_credentials_are_listened_with(settings, loans):
    class Changing(Connector):
        count = 0

        @property
        def generation(self):
            return self.count

        def connect(self):
            self.connected = self.count
            return super().connect()

    freshness, connector = Freshness(0.6), Changing(settings)
    listener = ChangeListener(freshness, connector)
    listener.start()
    until(lambda: freshness.cluster is not None)
    connector.count = 1
    until(lambda: connector.connected == 1)
    listener.stop()


def test_an_error_that_nobody_foresaw_is_logged_and_survived(settings, loans, caplog):
    class Surprised(Connector):
        surprises = 1

        def connect(self):
            if self.surprises:
                self.surprises -= 1
                raise LookupError("no credentials were published")
            return super().connect()

    freshness = Freshness(60)
    listener = ChangeListener(freshness, Surprised(settings))
    listener.start()
    until(lambda: freshness.cluster is not None)
    listener.stop()
    assert "no credentials were published" in caplog.text
    assert "Traceback" in caplog.text


def test_anybody_may_notify_and_what_is_told_never_counts_for_less(settings, loans, posting, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        post(posting, 1)
        until(lambda: freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.VERSION)
        floor = freshness._floor
        for forged in ("1 0 0", "* 0 0"):
            sql(admin, "SELECT pg_notify('loaner', %s)", forged)
        post(posting, 2)
        until(lambda: freshness.check(freshness.cluster, 2, 0, before).stale_reason is StaleReason.VERSION)
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.VERSION
        assert freshness._floor == floor
