"""What was known at a time: what had been recorded by then, and nothing while that may still change."""

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from service.postgres.connect import connect
from tests.conftest import refused, sql

PATHS = ("/1/2020-02-29", "/api/v1/loan/1", "/api/v1/loan/1/history", "/api/v1/loan/1/statement")
POST = "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-06'::date], ARRAY[7.00])"


@pytest.fixture
def ask(client, bearer):
    """Asks for a path as known at a time."""
    return lambda path, at, **more: client.get(path, query_string={"known_at": written(at), **more}, headers=bearer)


def written(at):
    return at if isinstance(at, str) else at.isoformat()


def now(connection):
    """The time, by the database's clock, and a moment in which nothing else happens."""
    [(at,)] = sql(connection, "SELECT clock_timestamp()")
    time.sleep(0.002)
    return at


@pytest.mark.parametrize("path", PATHS)
def test_what_was_said_then_is_said_for_ever(client, bearer, ask, posting, path):
    before = client.get(path, headers=bearer)
    then = now(posting)
    sql(posting, POST)
    later = now(posting)
    reply = ask(path, then)
    assert (reply.status_code, reply.json) == (200, before.json)
    assert "As-Of" not in reply.headers
    assert ask(path, later).json == client.get(path, headers=bearer).json != before.json
    sql(posting, POST)
    assert ask(path, then).json == before.json
    assert ask(path, later).json["version"] == 4


def test_explained_and_split_and_in_pages_as_known_then(ask, posting):
    then = now(posting)
    sql(posting, POST)
    reply = ask("/1/2020-12-31", then, explain="true", parts="true").json
    assert (len(reply["events"]), reply["version"], reply["balance"]) == (3, 3, "899.55")
    first = ask("/api/v1/loan/1/statement", then, limit=2).json
    assert first["closing_balance"] == "899.55"
    following = ask("/api/v1/loan/1/statement", then, limit=2, cursor=first["next_cursor"])
    assert len(first["events"] + following.json["events"]) == 4
    wrong = ask("/api/v1/loan/1/statement", now(posting), limit=2, cursor=first["next_cursor"])
    assert (wrong.status_code, wrong.json["errors"][0]["field"]) == (400, "cursor")


def test_today_is_the_day_of_that_time(ask, settings, admin):
    long_ago = datetime.now(UTC) - timedelta(days=400)
    sql(
        admin, "SET session_replication_role = replica; UPDATE loans SET recorded_at = NULL"
    )  # made before it was noted
    reply = ask("/api/v1/loan/1", long_ago).json
    assert (reply["date"], reply["version"], reply["balance"]) == (long_ago.date().isoformat(), 0, "1000.00")
    assert ask("/api/v1/loan/1/history", long_ago).json["to"] == long_ago.date().isoformat()


def test_a_loan_was_not_there_before_it_was_created(ask, posting):
    then = now(posting)
    sql(posting, "SELECT create_loans('{7}', '{2020-01-01}', '{5}', '{USD}')")
    assert ask("/7/2020-01-01", then).status_code == 404
    assert ask("/7/2020-01-01", now(posting)).json["balance"] == "5.00"
    assert ask("/1/2020-01-01", "0001-01-01T00:00:00Z").status_code == 404


def test_a_time_to_come_is_412_and_says_until_when_it_is_known(ask, posting):
    before = now(posting)
    reply = ask("/1/2020-02-29", datetime.now(UTC) + timedelta(hours=1))
    assert (reply.status_code, reply.json["type"]) == (412, "urn:loaner:problem:time-not-reached")
    until = datetime.fromisoformat(reply.json["known_until"])
    assert before < until <= now(posting)
    assert ask("/1/2020-02-29", until - timedelta(microseconds=1)).status_code == 200


def test_an_open_posting_of_any_loan_holds_it_up_until_it_ends(ask, settings, posting):
    earlier = now(posting)
    for ends in ("commit", "rollback"):
        with closing(connect(settings, "posting")) as other:
            with other.cursor() as cursor:
                cursor.execute("SELECT post_events(ARRAY[2], ARRAY['fee'], ARRAY['2020-01-01'::date], ARRAY[1.00])")
            meanwhile = now(posting)
            assert ask("/1/2020-02-29", earlier).status_code == 200
            reply = ask("/1/2020-02-29", meanwhile)
            assert (reply.status_code, reply.json["code"]) == (412, 412)
            assert earlier < datetime.fromisoformat(reply.json["known_until"]) < meanwhile
            getattr(other, ends)()
        assert ask("/1/2020-02-29", meanwhile).status_code == 200
        earlier = meanwhile


def test_a_posting_in_many_steps_holds_one_lock_also_when_some_are_rolled_back(ask, settings, posting):
    """The server has room for some thousands of locks, of everybody."""
    with closing(connect(settings, "posting")) as other:
        for step in ("SAVEPOINT a", POST, "ROLLBACK TO a", POST, "SELECT pg_sleep(0.002)", POST):
            other.cursor().execute(step)
        meanwhile = now(posting)
        own = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = %s"
        assert sql(posting, own, other.info.backend_pid) == [(1,)]
        assert ask("/1/2020-02-29", meanwhile).status_code == 412
        other.commit()
    assert ask("/1/2020-02-29", meanwhile).json["version"] == 5


def test_an_open_creation_holds_it_up(ask, settings, posting):
    with closing(connect(settings, "posting")) as other:
        with other.cursor() as cursor:
            cursor.execute("SELECT create_loans('{7}', '{2020-01-01}', '{5}', '{USD}')")
        meanwhile = now(posting)
        assert ask("/7/2020-01-01", meanwhile).status_code == 412
        other.commit()
    assert ask("/7/2020-01-01", meanwhile).status_code == 200


def test_an_answer_never_changes_while_others_post(ask, settings):
    """Whatever was answered about a time once is answered about it afterwards."""
    told, asked, stop = [], 0, threading.Event()

    def post():
        with closing(connect(settings, "posting")) as connection:
            while not stop.is_set():
                with connection, connection.cursor() as cursor:
                    cursor.execute(POST)
                    time.sleep(0.003)  # recorded, and not committed yet

    threads = [threading.Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            asked += 1
            at = datetime.now(UTC) - timedelta(milliseconds=asked * 7 % 100)
            reply = ask("/1/2020-12-31", at)
            if reply.status_code == 200:
                told.append((at, reply.json))
            else:
                assert reply.status_code == 412
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(told) > 20
    assert len({reply["version"] for _, reply in told}) > 5
    for at, reply in told:
        assert ask("/1/2020-12-31", at).json == reply


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_time_is_400_and_named(client, bearer, path):
    for wrong in (
        "", "2020-07-01", "2020-07-01T12:00:00", "2020-07-01 12:00:00Z", "2020-07-01T12:00:00 02:00", "now",
        "2020-02-30T12:00:00Z", "2020-07-01T25:00:00Z", "2020-07-01T12:00:00+99:00", "0001-01-01T00:00:00+01:00",
        "2020-07-01T12:00:00.1234567Z", "٢٠٢٠-07-01T12:00:00Z", "2020-07-01T12:00:00Z\n",
    ):  # fmt: skip
        reply = client.get(path, query_string={"known_at": wrong}, headers=bearer)
        assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "known_at"), wrong


def test_it_is_asked_for_by_itself(ask):
    for more in ({"min_version": 0}, {"as_of_version": 0}):
        reply = ask("/1/2020-02-29", "2020-07-01T12:00:00Z", **more)
        assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "known_at")


def test_a_zone_says_the_same_time(ask, posting):
    then = now(posting)
    east = then.astimezone(tz=None).isoformat()
    assert ask("/1/2020-02-29", then).data == ask("/1/2020-02-29", east).data


def test_readers_may_ask_for_it_and_not_begin_to_record(settings):
    with closing(connect(settings, "reader")) as reader:
        assert sql(reader, "SELECT known_until() <= clock_timestamp()") == [(True,)]
        assert refused(reader, "SELECT begin_recording()").pgcode == "42501"
