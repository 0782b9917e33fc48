"""The change listener on a real Postgres."""

import threading
import time
from contextlib import contextmanager

import pytest

from service.errors import DatabaseUnavailable
from service.ledger.change_listener import ChangeListener
from service.ledger.freshness import Freshness, StaleReason
from service.postgres.connector import Connector
from tests.conftest import sql
from tests.support.waiting import wait_until

POST = "SELECT * FROM post_events(%s::bigint[], %s, %s::date[], %s::numeric[])"
DEADLINE_S = 10


@pytest.fixture
def loans(posting):
    ids = list(range(1, 601))
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)",
        ids, ["2020-01-01"] * 600, ["100"] * 600, ["USD"] * 600)  # fmt: skip
    return ids


def post(posting, *loan_ids):
    """Post an event of each loan and return the new versions."""
    count = len(loan_ids)
    rows = sql(posting, POST, list(loan_ids), ["fee"] * count, ["2020-01-02"] * count, ["1.00"] * count)
    return dict(rows)


@contextmanager
def listening(settings, max_staleness_s=60.0, pools=()):
    freshness = Freshness(max_staleness_s)
    listener = ChangeListener(freshness, Connector(settings), pools)
    listener.start()
    try:
        wait_until(lambda: freshness.cluster is not None)
        yield freshness
    finally:
        listener.stop()


def horizon(admin):
    return int(sql(admin, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text")[0][0])


def test_a_posted_event_is_notified_with_its_version_and_transaction(settings, loans, posting, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is None
        assert post(posting, 1) == {1: 1}
        wait_until(lambda: freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.VERSION)
        assert freshness.check(freshness.cluster, 1, 1, before).stale_reason is None
        assert freshness.check(freshness.cluster, 2, 0, before).stale_reason is None


def test_a_posting_to_many_loans_raises_the_floor(settings, loans, posting, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        post(posting, *loans)
        wait_until(lambda: freshness.check(freshness.cluster, 1, 1, before).stale_reason is StaleReason.FLOOR)
        assert freshness.check(freshness.cluster, 1, 1, horizon(admin)).stale_reason is None


def test_a_timeline_read_before_the_listener_connected_is_below_the_floor(settings, loans, posting, admin):
    before = horizon(admin)
    post(posting, 1)
    with listening(settings) as freshness:
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.FLOOR


def test_a_rolled_back_posting_is_not_notified(settings, loans, posting, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        with posting.cursor() as cursor:
            cursor.execute(POST, ([1], ["fee"], ["2020-01-02"], ["1.00"]))
        posting.rollback()
        assert post(posting, 2) == {2: 1}
        wait_until(lambda: freshness.check(freshness.cluster, 2, 0, before).stale_reason is StaleReason.VERSION)
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is None


def test_the_listener_reconnects_and_raises_the_floor_above_missed_events(settings, loans, posting, admin, caplog):
    with listening(settings) as freshness:
        before = horizon(admin)
        cluster = freshness.cluster
        floor = freshness._floor
        sql(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'loaner reader'")
        post(posting, 1)
        wait_until(lambda: freshness._floor > floor)
        assert freshness.cluster == cluster
        assert freshness.check(cluster, 1, 0, before).stale_reason is StaleReason.FLOOR
        assert freshness.check(cluster, 1, 1, horizon(admin)).stale_reason is None
    assert caplog.text.count("no connection to the primary") == 1


def test_round_trips_continue_without_notifications(settings, loans):
    with listening(settings, max_staleness_s=0.6) as freshness:
        time.sleep(1.5)
        wait_until(lambda: freshness.silence_s() < 0.6)


def test_a_malformed_notification_makes_the_listener_reconnect(settings, loans, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        floor = freshness._floor
        sql(admin, "CREATE TABLE something ()")  # a transaction, so that the floor rises
        sql(admin, "SELECT pg_notify('loaner', 'malformed')")
        wait_until(lambda: freshness._floor > floor)
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.FLOOR


def test_pools_are_recycled_before_the_name_of_another_cluster_is_used(settings, loans):
    order = []

    class Pool:
        def recycle(self):
            order.append(freshness.cluster)

    freshness = Freshness(60)
    freshness.on_listen("another", 1, freshness.now())
    listener = ChangeListener(freshness, Connector(settings), [Pool()])
    listener.start()
    wait_until(lambda: freshness.cluster != "another")
    listener.stop()
    assert order == ["another"]


def test_an_unreachable_server_is_retried_and_logged_once(settings, loans, caplog):
    freshness = Freshness(60)
    listener = ChangeListener(freshness, Connector(settings.replace(port=1)))
    listener.start()
    wait_until(lambda: "no connection to the primary" in caplog.text)
    time.sleep(1.2)
    listener.stop()
    assert freshness.cluster is None
    assert caplog.text.count("no connection to the primary") == 1
    assert not any(thread.name == "listener" for thread in threading.enumerate())


def test_a_user_without_the_right_to_read_the_cluster_id_is_logged(settings, loans, admin, caplog):
    sql(admin, "REVOKE EXECUTE ON FUNCTION pg_control_system FROM PUBLIC")  # in this database only
    with pytest.raises(DatabaseUnavailable, match="permission denied for function pg_control_system"):
        Connector(settings).connect()
    listener = ChangeListener(Freshness(60), Connector(settings))
    listener.start()
    wait_until(lambda: "permission denied for function pg_control_system" in caplog.text)
    listener.stop()


def test_new_credentials_make_the_listener_reconnect(settings, loans):
    class ChangingConnector(Connector):
        count = 0

        @property
        def generation(self):
            return self.count

        def connect(self):
            self.connected = self.count
            return super().connect()

    freshness, connector = Freshness(0.6), ChangingConnector(settings)
    listener = ChangeListener(freshness, connector)
    listener.start()
    wait_until(lambda: freshness.cluster is not None)
    connector.count = 1
    wait_until(lambda: connector.connected == 1)
    listener.stop()


def test_an_unexpected_error_is_logged_and_the_listener_continues(settings, loans, caplog):
    class FailingConnector(Connector):
        failures = 1

        def connect(self):
            if self.failures:
                self.failures -= 1
                raise LookupError("no credentials were published")
            return super().connect()

    freshness = Freshness(60)
    listener = ChangeListener(freshness, FailingConnector(settings))
    listener.start()
    wait_until(lambda: freshness.cluster is not None)
    listener.stop()
    assert "no credentials were published" in caplog.text
    assert "Traceback" in caplog.text


def test_forged_notifications_lower_neither_versions_nor_the_floor(settings, loans, posting, admin):
    with listening(settings) as freshness:
        before = horizon(admin)
        post(posting, 1)
        wait_until(lambda: freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.VERSION)
        floor = freshness._floor
        for forged in ("1 0 0", "* 0 0"):
            sql(admin, "SELECT pg_notify('loaner', %s)", forged)
        post(posting, 2)
        wait_until(lambda: freshness.check(freshness.cluster, 2, 0, before).stale_reason is StaleReason.VERSION)
        assert freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.VERSION
        assert freshness._floor == floor
