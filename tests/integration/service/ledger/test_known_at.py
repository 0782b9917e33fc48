"""Requests with `known_at`: what had been recorded by a time, and 412 while that may still change."""

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from service.postgres.connect import connect
from tests.conftest import expect_error, sql

PATHS = ("/1/2020-02-29", "/api/v1/loan/1", "/api/v1/loan/1/history", "/api/v1/loan/1/statement")
POST = "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-06'::date], ARRAY[7.00])"


@pytest.fixture
def get(client, bearer):
    """Return a function that requests a path with `known_at`."""
    return lambda path, at, **more: client.get(path, query_string={"known_at": to_text(at), **more}, headers=bearer)


def to_text(at):
    return at if isinstance(at, str) else at.isoformat()


def now(connection):
    """Return the time of the database's clock, and let it pass."""
    [(at,)] = sql(connection, "SELECT clock_timestamp()")
    time.sleep(0.002)
    return at


@pytest.mark.parametrize("path", PATHS)
def test_a_reply_for_a_time_never_changes(client, bearer, get, posting, path):
    before = client.get(path, headers=bearer)
    then = now(posting)
    sql(posting, POST)
    later = now(posting)
    reply = get(path, then)
    assert (reply.status_code, reply.json) == (200, before.json)
    assert "As-Of" not in reply.headers
    assert get(path, later).json == client.get(path, headers=bearer).json != before.json
    sql(posting, POST)
    assert get(path, then).json == before.json
    assert get(path, later).json["version"] == 4


def test_explanations_parts_and_pages_are_answered_as_known_at_a_time(get, posting):
    then = now(posting)
    sql(posting, POST)
    reply = get("/1/2020-12-31", then, explain="true", parts="true").json
    assert (len(reply["events"]), reply["version"], reply["balance"]) == (3, 3, "899.55")
    first = get("/api/v1/loan/1/statement", then, limit=2).json
    assert first["closing_balance"] == "899.55"
    following = get("/api/v1/loan/1/statement", then, limit=2, cursor=first["next_cursor"])
    assert len(first["events"] + following.json["events"]) == 4
    wrong = get("/api/v1/loan/1/statement", now(posting), limit=2, cursor=first["next_cursor"])
    assert (wrong.status_code, wrong.json["errors"][0]["field"]) == (400, "cursor")


def test_the_default_date_is_the_day_of_known_at(get, settings, admin):
    long_ago = datetime.now(UTC) - timedelta(days=400)
    sql(
        admin, "SET session_replication_role = replica; UPDATE loans SET recorded_at = NULL"
    )  # created before times were recorded
    reply = get("/api/v1/loan/1", long_ago).json
    assert (reply["date"], reply["version"], reply["balance"]) == (long_ago.date().isoformat(), 0, "1000.00")
    assert get("/api/v1/loan/1/history", long_ago).json["to"] == long_ago.date().isoformat()


def test_a_loan_is_404_before_it_was_recorded(get, posting):
    then = now(posting)
    sql(posting, "SELECT create_loans('{7}', '{2020-01-01}', '{5}', '{USD}')")
    assert get("/7/2020-01-01", then).status_code == 404
    assert get("/7/2020-01-01", now(posting)).json["balance"] == "5.00"
    assert get("/1/2020-01-01", "0001-01-01T00:00:00Z").status_code == 404


def test_a_future_time_is_412_with_known_until(get, posting):
    before = now(posting)
    reply = get("/1/2020-02-29", datetime.now(UTC) + timedelta(hours=1))
    assert (reply.status_code, reply.json["type"]) == (412, "urn:loaner:problem:time-not-reached")
    until = datetime.fromisoformat(reply.json["known_until"])
    assert before < until <= now(posting)
    assert get("/1/2020-02-29", until - timedelta(microseconds=1)).status_code == 200


def test_a_time_is_412_while_a_posting_that_began_before_it_is_open(get, settings, posting):
    earlier = now(posting)
    for end in ("commit", "rollback"):
        with closing(connect(settings, "posting")) as other:
            with other.cursor() as cursor:
                cursor.execute("SELECT post_events(ARRAY[2], ARRAY['fee'], ARRAY['2020-01-01'::date], ARRAY[1.00])")
            during = now(posting)
            assert get("/1/2020-02-29", earlier).status_code == 200
            reply = get("/1/2020-02-29", during)
            assert (reply.status_code, reply.json["code"]) == (412, 412)
            assert earlier < datetime.fromisoformat(reply.json["known_until"]) < during
            getattr(other, end)()
        assert get("/1/2020-02-29", during).status_code == 200
        earlier = during


def test_a_posting_in_many_steps_holds_one_lock_even_after_partial_rollbacks(get, settings, posting):
    """The server has room for only some thousands of locks of all sessions."""
    with closing(connect(settings, "posting")) as other:
        for step in ("SAVEPOINT a", POST, "ROLLBACK TO a", POST, "SELECT pg_sleep(0.002)", POST):
            other.cursor().execute(step)
        during = now(posting)
        own = (
            "SELECT count(*) FROM pg_locks"
            " WHERE locktype = 'advisory' AND pid = %s AND classid::bigint << 32 >> 44 = 19534"
        )
        assert sql(posting, own, other.info.backend_pid) == [(1,)]
        assert get("/1/2020-02-29", during).status_code == 412
        other.commit()
    assert get("/1/2020-02-29", during).json["version"] == 5


def test_a_time_is_412_while_a_creation_that_began_before_it_is_open(get, settings, posting):
    with closing(connect(settings, "posting")) as other:
        with other.cursor() as cursor:
            cursor.execute("SELECT create_loans('{7}', '{2020-01-01}', '{5}', '{USD}')")
        during = now(posting)
        assert get("/7/2020-01-01", during).status_code == 412
        other.commit()
    assert get("/7/2020-01-01", during).status_code == 200


def test_replies_never_change_while_others_post(get, settings):
    replies, requests, stop = [], 0, threading.Event()

    def post():
        with closing(connect(settings, "posting")) as connection:
            while not stop.is_set():
                with connection, connection.cursor() as cursor:
                    cursor.execute(POST)
                    time.sleep(0.003)  # recorded but not committed yet

    threads = [threading.Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            requests += 1
            at = datetime.now(UTC) - timedelta(milliseconds=requests * 7 % 100)
            reply = get("/1/2020-12-31", at)
            if reply.status_code == 200:
                replies.append((at, reply.json))
            else:
                assert reply.status_code == 412
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert len(replies) > 20
    assert len({reply["version"] for _, reply in replies}) > 5
    for at, reply in replies:
        assert get("/1/2020-12-31", at).json == reply


@pytest.mark.parametrize("path", PATHS)
def test_an_invalid_time_is_400_and_named(client, bearer, path):
    for invalid in (
        "", "2020-07-01", "2020-07-01T12:00:00", "2020-07-01 12:00:00Z", "2020-07-01T12:00:00 02:00", "now",
        "2020-02-30T12:00:00Z", "2020-07-01T25:00:00Z", "2020-07-01T12:00:00+99:00", "0001-01-01T00:00:00+01:00",
        "٢٠٢٠-07-01T12:00:00Z", "2020-07-01T12:00:00Z\n", "2020-07-01T12:00:60Z",
    ):  # fmt: skip
        reply = client.get(path, query_string={"known_at": invalid}, headers=bearer)
        assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "known_at"), invalid


def test_known_at_cannot_be_combined_with_versions(get):
    for more in ({"min_version": 0}, {"as_of_version": 0}):
        reply = get("/1/2020-02-29", "2020-07-01T12:00:00Z", **more)
        assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "known_at")


def test_time_zones_are_equivalent(get, posting):
    then = now(posting)
    east = then.astimezone(tz=None).isoformat()
    assert get("/1/2020-02-29", then).data == get("/1/2020-02-29", east).data


def test_readers_may_call_known_until_but_not_begin_recording(settings):
    with closing(connect(settings, "reader")) as reader:
        assert sql(reader, "SELECT known_until() <= clock_timestamp()") == [(True,)]
        assert expect_error(reader, "SELECT begin_recording()").pgcode == "42501"
