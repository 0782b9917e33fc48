"""Recording times only grow, and `known_at` with the time of a reply includes what was posted."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from service.postgres.connect import connect
from tests.conftest import expect_error, sql

EVENTS = "/api/v1/loan/1/events"
FEE = {"event_type": "fee", "post_date": "2020-01-01", "amt": "1.00"}
POST = "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2020-01-01'::date], ARRAY[1.00])"
KNOWN_UNTIL = "SET TRANSACTION READ WRITE; SELECT known_until()"


@pytest.fixture
def post(client, make_token):
    """Return a function that posts a body."""
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read,api:write')}"}
    return lambda body, path=EVENTS: client.post(path, json=body, headers=headers)


def put_clock_back(admin, **by):
    """Make every time given out so far later than the clock."""
    ahead = datetime.now(UTC) + timedelta(**by)
    sql(admin, "SELECT setval('recording_clock', (extract(epoch FROM %s::timestamptz) * 1000000)::bigint)", ahead)
    return ahead


@pytest.mark.parametrize("clock", ["right", "put back"])
def test_known_at_of_a_reply_includes_its_posting(client, bearer, post, admin, clock):
    ahead = put_clock_back(admin, hours=1) if clock == "put back" else datetime.min.replace(tzinfo=UTC)
    latest = ahead
    for number in range(40):
        reply = post({"events": [FEE]}).json
        assert datetime.fromisoformat(reply["recorded_at"]) > latest
        latest = datetime.fromisoformat(reply["recorded_at"])
        assert reply["recorded_at"] == latest.isoformat(timespec="microseconds").replace("+00:00", "Z")
        found = client.get("/1/2020-12-31", query_string={"known_at": reply["recorded_at"]}, headers=bearer)
        assert (found.status_code, found.json["version"]) == (200, reply["version"]), number
        before = (latest - timedelta(microseconds=1)).isoformat()
        found = client.get("/1/2020-12-31", query_string={"known_at": before}, headers=bearer)
        assert (found.status_code, found.json["version"]) == (200, reply["version"] - 1), number


def test_known_at_of_a_creation_includes_the_loan(client, bearer, post):
    for loan_id in range(100, 120):
        loan = {"loan_id": loan_id, "start_date": "2020-01-01", "initial_amt": "5.00"}
        at = post(loan, "/api/v1/loan").json["recorded_at"]
        found = client.get(f"/{loan_id}/2020-12-31", query_string={"known_at": at}, headers=bearer)
        assert (found.status_code, found.json["balance"]) == (200, "5.00")


def test_known_at_of_a_reply_is_412_while_an_older_posting_is_open(client, bearer, post, settings):
    with closing(connect(settings, "posting")) as other:
        other.cursor().execute("SELECT post_events(ARRAY[2], ARRAY['fee'], ARRAY['2020-01-01'::date], ARRAY[1.00])")
        at = post({"events": [FEE]}).json["recorded_at"]
        reply = client.get("/1/2020-12-31", query_string={"known_at": at}, headers=bearer)
        assert (reply.status_code, reply.json["type"]) == (412, "urn:loaner:problem:time-not-reached")
        assert datetime.fromisoformat(reply.json["known_until"]) < datetime.fromisoformat(at)
        other.commit()
    assert client.get("/1/2020-12-31", query_string={"known_at": at}, headers=bearer).json["version"] == 4


def test_nothing_is_recorded_before_a_time_given_out_although_the_clock_is_put_back(settings, posting, admin):
    sql(posting, "SELECT create_loans('{1}', '{2020-01-01}', '{1}', '{USD}')")
    put_clock_back(admin, hours=2)
    with closing(connect(settings, "reader")) as reader:
        for _ in range(5):
            [(until,)] = sql(reader, KNOWN_UNTIL)
            sql(posting, POST)
            [(recorded,)] = sql(posting, "SELECT max(recorded_at) FROM loan_events")
            assert recorded > until > datetime.now(UTC) + timedelta(hours=1)
    [(pending,)] = sql(admin, "SELECT last_value FROM recording_clock")
    with closing(connect(settings, "posting")) as other:
        other.cursor().execute(POST)
        [(until,)] = sql(admin, "SELECT known_until()")
        assert until.timestamp() * 10**6 <= pending  # the open posting holds it back
        other.commit()
    [(until,)] = sql(admin, "SELECT known_until()")
    assert sql(posting, "SELECT max(recorded_at) < %s FROM loan_events", until) == [(True,)]


def test_times_are_different_and_grow_with_versions_under_concurrency(settings, posting, admin):
    sql(posting, "SELECT create_loans('{1,2,3}', '{2020-01-01,2020-01-01,2020-01-01}', '{1,1,1}', '{USD,USD,USD}')")
    put_clock_back(admin, minutes=1)
    given_out, failures = [], []

    def post(loan_id):
        try:
            with closing(connect(settings, "posting")) as connection:
                for _ in range(30):
                    sql(connection, POST.replace("ARRAY[1]", f"ARRAY[{loan_id}]"))
        except Exception as err:
            failures.append(err)

    def read():
        try:
            with closing(connect(settings, "reader")) as connection:
                for _ in range(60):
                    [(until,)] = sql(connection, KNOWN_UNTIL)
                    [(version,)] = sql(connection, "SELECT count(*) FROM loan_events WHERE recorded_at < %s", until)
                    given_out.append((until, version))
        except Exception as err:
            failures.append(err)

    threads = [threading.Thread(target=post, args=(n,)) for n in (1, 1, 2, 3)] + [threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sql(admin, "SELECT count(*), count(DISTINCT recorded_at) FROM loan_events") == [(120, 120)]
    disordered = """
        SELECT count(*) FROM loan_events AS e JOIN loan_events AS f USING (loan_id)
        WHERE e.version < f.version AND e.recorded_at >= f.recorded_at
    """
    assert sql(admin, disordered) == [(0,)]
    for until, count in given_out:  # an answer for a time never changes
        assert sql(admin, "SELECT count(*) FROM loan_events WHERE recorded_at < %s", until) == [(count,)]


def test_a_cancelled_recording_leaves_no_lock(settings, posting, admin):
    sql(posting, "SELECT create_loans('{1}', '{2020-01-01}', '{1}', '{USD}')")
    with admin.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1819435875)")
        admin.commit()
        sql(posting, "SET statement_timeout = 100")
        assert expect_error(posting, POST).pgcode == "57014"
        cursor.execute("SELECT pg_advisory_unlock(1819435875)")
        admin.commit()
    assert sql(admin, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()") == [(0,)]
    sql(posting, POST)


def test_only_the_functions_move_the_clock(settings):
    for role in ("reader", "posting"):
        with closing(connect(settings, role)) as connection:
            for statement in (
                "SELECT nextval('recording_clock')",
                "SELECT setval('recording_clock', 1)",
                "SELECT last_value FROM recording_clock",
                "SELECT advance_recording_clock(0)",
            ):
                assert expect_error(connection, statement).pgcode == "42501"
