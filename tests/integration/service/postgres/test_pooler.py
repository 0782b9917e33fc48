"""A real PgBouncer between the service and Postgres: session mode works, the other modes are recognized."""

import threading
import time
from contextlib import closing, contextmanager

import pytest

from service.ledger.change_listener import ChangeListener
from service.ledger.freshness import Freshness, StaleReason
from service.postgres.connector import Connector
from service.postgres.session_check import SessionNotKept, check_session_is_kept
from tests.conftest import EVENTS, LOANS, ROOT, sql
from tests.fakes.pgbouncer import needs_pgbouncer, pgbouncer
from tests.support.application import build_app
from tests.support.processes import reach, run
from tests.support.settings import with_changes
from tests.support.waiting import wait_until

pytestmark = needs_pgbouncer

STREAMED = "/api/v1/portfolio/2020-02-29"  # as CSV, in a transaction of several statements
ADVICE = "Connect to PostgreSQL directly, or set the pooler to session mode"
POST = "SELECT * FROM post_events('{1}'::bigint[], '{fee}', '{2020-02-02}'::date[], '{1.00}'::numeric[])"


@contextmanager
def listening(settings):
    freshness = Freshness(60)
    listener = ChangeListener(freshness, Connector(settings))
    listener.start()
    try:
        yield freshness
    finally:
        listener.stop()


@pytest.mark.parametrize("role", ["reader", "posting"])
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_start_ends_with_a_sentence_that_says_what_to_change(settings, mode, role):
    with pgbouncer(settings, mode) as pooler:
        connector = Connector(pooler.settings, role=role)
        with pytest.raises(SessionNotKept) as caught:
            check_session_is_kept(connector.connect)
    message = str(caught.value)
    assert message.startswith(f"127.0.0.1:{pooler.port} is a pooler in transaction or statement mode: ")
    assert message.endswith(ADVICE)


@pytest.mark.parametrize("role", ["reader", "posting"])
def test_sessions_are_kept_in_session_mode_and_without_a_pooler(settings, role):
    with pgbouncer(settings, "session") as pooler:
        for chosen, is_pooled in ((pooler.settings, True), (settings, False)):
            connector = Connector(chosen, role=role)
            check_session_is_kept(connector.connect)
            with closing(connector.connect()) as session:
                assert session.is_pooled is is_pooled


def test_the_listener_works_in_session_mode(served, posting, admin):
    with pgbouncer(served.postgres, "session") as pooler, listening(pooler.settings) as freshness:
        wait_until(lambda: freshness.cluster is not None)
        before = int(sql(admin, "SELECT pg_snapshot_xmin(pg_current_snapshot())::text")[0][0])
        time.sleep(2.5)  # further round trips
        sql(posting, POST)
        wait_until(lambda: freshness.check(freshness.cluster, 1, 0, before).stale_reason is StaleReason.VERSION)
        assert freshness.silence_s() < 5
        assert freshness.fault is None


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_change_of_the_mode_ends_the_use_of_caches_until_it_is_undone(settings, mode, caplog, monkeypatch):
    monkeypatch.setattr("service.ledger.change_listener.POOLER_RETRY_DELAY_S", 0.5)
    with pgbouncer(settings, "session") as pooler, listening(pooler.settings) as freshness:
        wait_until(lambda: freshness.cluster is not None)
        pooler.change_mode(mode)
        wait_until(lambda: freshness.fault is not None)
        assert freshness.cluster is None
        assert freshness.silence_s() is None
        assert f"127.0.0.1:{pooler.port} is a pooler in transaction or statement mode" in freshness.fault
        wait_until(lambda: "nothing cached is used" in caplog.text)
        pooler.change_mode("session")
        wait_until(lambda: freshness.fault is None)
        assert freshness.cluster is not None
    assert caplog.text.count("nothing cached is used") == 1


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_requests_get_right_answers_or_503_in_any_mode(served, bearer, make_token, mode, caplog, report_measurement):
    with pgbouncer(served.postgres, mode) as pooler:
        changes = {"psql_host": "127.0.0.1", "psql_port": pooler.port, "psql_pool_size": 4}
        app = build_app(with_changes(served, **changes))
        right, replies = _answers(build_app(served), bearer), []
        writer = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}
        event = {"event_type": "fee", "post_date": "2020-03-02", "amt": "1.00"}

        def call():
            client = app.test_client()
            for _ in range(15):
                for path, body in right.items():
                    reply = client.get(path, headers=_headers(path, bearer))
                    replies.append((path, reply.status_code, reply.status_code != 200 or reply.data == body))
                reply = client.post("/api/v1/loan/3/events", json={"events": [event]}, headers=writer)
                replies.append(("post", reply.status_code, True))

        threads = [threading.Thread(target=call) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    counts = {status: sum(found == status for _, found, _ in replies) for status in {s for _, s, _ in replies}}
    report_measurement(f"PgBouncer in {mode} mode: {len(replies)} requests, by status {counts}")
    assert [reply for reply in replies if not reply[2]] == []
    assert set(counts) <= {200, 201, 503}
    assert counts[200] > 0
    assert "Traceback" not in caplog.text


def _headers(path, bearer):
    return bearer | ({"Accept": "text/csv"} if path == STREAMED else {})


def _answers(app, bearer):
    paths = (
        "/api/v1/loan/1/2020-02-29",
        "/api/v1/loan/2/2020-06-30",
        "/api/v1/loan/1/statement?from=2020-01-01&to=2020-12-31",
        STREAMED,
        "/api/v1/loan/1/events",
    )
    client = app.test_client()
    answers = {path: client.get(path, headers=_headers(path, bearer)) for path in paths}
    assert {reply.status_code for reply in answers.values()} == {200}
    return {path: reply.data for path, reply in answers.items()}


def test_commands_work_in_transaction_mode_and_leave_no_lock_behind(settings, admin, tmp_path):
    (tmp_path / "loans.csv").write_text(LOANS)
    (tmp_path / "events.csv").write_text(EVENTS)
    commands = (
        ("migrate",),
        ("load", str(tmp_path / "loans.csv"), str(tmp_path / "events.csv")),
        ("portfolio", "--date", "2020-02-29", "--parts"),
        ("close", "--until", "2019-12-31", "--why", "audited"),
        ("migrate",),
    )
    with pgbouncer(settings, "transaction") as pooler:
        for command in commands:
            done = run(*command, **reach(pooler.settings), USE_VAULT="false", cwd=ROOT)
            assert (done.returncode, "Traceback" in done.stderr) == (0, False), (command, done.stderr)
        # the pooler's sessions stay open, and would keep the locks of a session
        assert sql(admin, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")[0][0] > 1
        assert sql(admin, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
