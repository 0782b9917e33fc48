"""Requests with an Idempotency-Key are executed once, despite failures, and repetitions get the same reply."""

import os
import signal
import threading
import time

import pytest
import requests

from service.errors import OutcomeUnknown
from service.postgres.pool import ConnectionPool
from tests.conftest import expect_error, sql
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.integration.service.web.test_posting import EVENTS, GOOD, LOAN
from tests.support.application import build_app
from tests.support.ports import free_port
from tests.support.processes import reach, started, wait_until_up
from tests.support.settings import with_changes

BODY = {"events": [GOOD]}
STORED_COUNT = "SELECT count(*) FROM posted_requests"


@pytest.fixture
def submit(client, make_token):
    """Return a function that posts with a key, as a user."""

    def submit(key="k", body=BODY, path=EVENTS, user="u1"):
        headers = {"Authorization": f"Bearer {make_token(scopes='api:write', userId=user)}", "Idempotency-Key": key}
        return client.post(path, json=body, headers=headers)

    return submit


def events(posting, loan=1):
    return sql(posting, "SELECT count(*), max(version) FROM loan_events WHERE loan_id = %s", loan)[0]


def same(one, other):
    """Return whether two replies have the same status, body and representation headers."""
    names = ("ETag", "As-Of", "Content-Type", "Cache-Control", "Location")
    return (one.status_code, one.data, [one.headers.get(n) for n in names]) == (
        other.status_code, other.data, [other.headers.get(n) for n in names],
    )  # fmt: skip


def test_a_repeated_request_is_posted_once_and_gets_the_same_reply(submit, posting):
    first = submit()
    assert submit("other").json["version"] == 5  # another posting in between changes nothing
    again = submit()
    assert same(first, again)
    assert (first.status_code, first.json["version"]) == (201, 4)
    assert [reply.headers.get("Idempotent-Replayed") for reply in (first, again)] == [None, "true"]
    assert events(posting) == (5, 5)


def test_the_notation_of_the_body_does_not_matter(submit, posting):
    first = submit()
    assert same(first, submit(body={"events": [dict(reversed(GOOD.items())) | {"amt": "1.5"}]}))
    assert events(posting) == (4, 4)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"events": [GOOD, GOOD]}, EVENTS),
        ({"events": [{**GOOD, "amt": "1.51"}]}, EVENTS),
        ({"events": [{**GOOD, "source_id": "a"}]}, EVENTS),
        (BODY, "/api/v1/loan/2/events"),
        (LOAN, "/api/v1/loan"),
    ],
)
def test_a_key_of_a_different_request_is_409_and_changes_nothing(submit, posting, body, path):
    first = submit()
    reply = submit(body=body, path=path)
    assert (reply.status_code, reply.json["type"]) == (409, "urn:loaner:problem:key-reused")
    assert sql(posting, "SELECT (SELECT count(*) FROM loan_events), (SELECT count(*) FROM loans)") == [(5, 3)]
    assert same(first, submit())


def test_keys_of_different_callers_are_independent(submit, posting):
    versions = [submit(user=user).json["version"] for user in ("u1", "u2", "u1", "U1", "u1\x00")]
    assert versions == [4, 5, 4, 6, 7]
    assert events(posting) == (7, 7)


def test_requests_without_a_key_are_independent(client, make_token, posting):
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    assert [client.post(EVENTS, json=BODY, headers=headers).json["version"] for _ in range(2)] == [4, 5]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "\xe9"])
def test_an_invalid_key_is_400(submit, posting, key):
    reply = submit(key)
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "Idempotency-Key")
    assert events(posting) == (3, 3)


@pytest.mark.parametrize("key", ["x", "x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~ !"])
def test_keys_of_printable_ascii_are_valid(submit, key):
    assert same(submit(key), submit(key))


def test_a_rejected_request_is_not_stored(submit, posting, admin):
    body = {"events": [GOOD]}
    assert submit(body=body, path="/api/v1/loan/50/events").status_code == 404
    assert sql(admin, STORED_COUNT) == [(0,)]
    assert submit("loan", LOAN, "/api/v1/loan").status_code == 201
    assert submit(body=body, path="/api/v1/loan/50/events").status_code == 201


def test_a_loan_is_created_once_with_a_key(submit, posting):
    first = submit(body=LOAN, path="/api/v1/loan")
    assert first.status_code == 201
    submit("event", path="/api/v1/loan/50/events")
    assert same(first, submit(body=LOAN, path="/api/v1/loan"))
    assert submit("other", LOAN, "/api/v1/loan").status_code == 409


def test_fifty_simultaneous_requests_post_one_event_and_get_one_reply(served, make_token, posting, report_measurement):
    patient = with_changes(served, psql_pool_timeout_s=30)
    application = build_app(patient)
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}", "Idempotency-Key": "k"}
    replies = []

    def work():
        replies.append(application.test_client().post(EVENTS, json=BODY, headers=headers))

    threads = [threading.Thread(target=work) for _ in range(50)]
    started_at = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report_measurement(f"50 identical simultaneous postings: {time.monotonic() - started_at:.2f} s")
    assert all(same(reply, replies[0]) for reply in replies)
    assert replies[0].status_code == 201
    assert sum("Idempotent-Replayed" not in reply.headers for reply in replies) == 1
    assert events(posting) == (4, 4)


def test_a_key_is_stored_for_a_day(submit, posting, admin):
    submit("yesterday")
    submit("long ago")
    first = submit("today")
    sql(admin, "UPDATE posted_requests SET made_at = made_at - interval '23:59' WHERE reply->>'version' = '4'")
    sql(admin, "UPDATE posted_requests SET made_at = made_at - interval '24:01' WHERE reply->>'version' = '5'")
    submit("tomorrow")
    assert sql(admin, "SELECT reply->>'version' FROM posted_requests ORDER BY 1") == [("4",), ("6",), ("7",)]
    assert same(first, submit("today"))
    assert submit("long ago").json["version"] == 8


def test_keys_are_accessible_only_through_the_posting_functions(posting):
    for statement in (
        "INSERT INTO posted_requests VALUES ('a', 'b', '{}', now())",
        "SELECT * FROM posted_requests",
        "DELETE FROM posted_requests",
        "SELECT claim_request('a', 'b')",
    ):
        assert expect_error(posting, statement).pgcode == "42501"


def test_a_connection_that_ended_while_idle_is_replaced(submit, posting, admin):
    submit("before")
    sql(admin, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
               " WHERE application_name = 'loaner posting' AND pid <> %s", posting.info.backend_pid)  # fmt: skip
    assert submit("after").json["version"] == 5


@pytest.fixture
def break_postings(admin):
    """Make Postgres close the connection in the middle of each posting; return a function that ends this."""
    sql(admin, "CREATE SEQUENCE attempts")
    sql(admin, "GRANT USAGE ON attempts TO PUBLIC")
    sql(admin, "CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
               " PERFORM nextval('public.attempts'); PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL;"
               " END $$")  # fmt: skip
    sql(admin, "CREATE TRIGGER break_off AFTER INSERT ON loan_events EXECUTE FUNCTION break_off()")
    return lambda: sql(admin, "DROP TRIGGER break_off ON loan_events")


def test_a_posting_that_loses_its_connection_is_503_and_can_be_repeated(submit, posting, admin, break_postings, caplog):
    for key in ("k", "other"):
        reply = submit(key)
        assert (reply.status_code, reply.json["type"]) == (503, "urn:loaner:problem:outcome-unknown")
        assert reply.headers["Retry-After"] == "1"
    assert sql(admin, "SELECT last_value FROM attempts") == [(2,)]
    break_postings()
    assert submit().json["version"] == 4
    assert events(posting) == (4, 4)
    assert "Traceback" not in caplog.text


def test_a_posting_that_times_out_is_rolled_back_and_503(served, make_token, posting, admin):
    client = build_app(with_changes(served, psql_statement_timeout_s=0.2)).test_client()
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}", "Idempotency-Key": "k"}
    with admin.cursor() as cursor:
        cursor.execute("SELECT FROM loans WHERE loan_id = 1 FOR UPDATE")
        reply = client.post(EVENTS, json=BODY, headers=headers)
        assert (reply.status_code, reply.json["type"]) == (503, "urn:loaner:problem:unavailable")
        admin.rollback()
    assert client.post(EVENTS, json=BODY, headers=headers).json["version"] == 4
    assert events(posting) == (4, 4)


def test_a_reply_lost_after_the_commit_is_replayed(submit, posting, monkeypatch):
    row = ConnectionPool.row
    lost = []

    def lose(database, *parameters):
        found = row(database, *parameters)
        if not lost and "append_events_once" in parameters[0]:
            lost.append(found)
            raise OutcomeUnknown("lost the connection during COMMIT")
        return found

    monkeypatch.setattr(ConnectionPool, "row", lose)
    assert submit().status_code == 503
    assert events(posting) == (4, 4)
    reply = submit()
    assert (reply.status_code, reply.headers["Idempotent-Replayed"]) == (201, "true")
    assert reply.json == lost[0][1]
    assert events(posting) == (4, 4)


def test_every_request_is_posted_once_although_the_service_is_killed_repeatedly(
    served, make_token, posting, report_measurement
):
    url = f"http://127.0.0.1:{free_port()}"
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    answers, replayed, failures, stop = {}, [], [], threading.Event()

    def call(name):
        number = 0
        while not stop.is_set() or number == 0:
            key = f"{name}-{number}"
            own = {**headers, "Idempotency-Key": key}
            body = {"events": [{**GOOD, "source_id": key}, GOOD]}
            while key not in answers:
                try:
                    reply = requests.post(url + EVENTS, json=body, headers=own, timeout=10)
                except requests.RequestException:
                    failures.append(key)
                    time.sleep(0.05)
                    continue
                if reply.status_code == 503:
                    failures.append(key)
                    continue
                assert reply.status_code == 201, reply.text
                answers[key] = reply.json()
                if "Idempotent-Replayed" in reply.headers:
                    replayed.append(key)
            number += 1

    threads = [threading.Thread(target=call, args=(f"caller {n}",)) for n in range(6)]
    with running(FakeKong()) as kong:
        variables = {**reach(served.postgres), "KEYS_DIR": served.tokens.keys_dir, "API_GATEWAY_URL": kong.url,
                     "WORKERS": "2", "PORT": url.rpartition(":")[2], "LISTEN_HOST": "127.0.0.1",
                     "DRAIN_S": "0"}  # fmt: skip
        for last in (False, False, True):
            with started(**variables) as (process, log):
                wait_until_up(process, f"{url}/healthcheck", log)
                for thread in threads:
                    if not thread.ident:
                        thread.start()
                time.sleep(1)
                if last:
                    stop.set()
                    for thread in threads:
                        thread.join(60)
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                assert "Traceback" not in log()
                assert headers["Authorization"].split()[1] not in log()
    report_measurement(f"{len(answers)} postings through two kills; {len(replayed)} had been posted without a reply")
    assert failures
    assert len(answers) > 50
    versions = [event["version"] for answer in answers.values() for event in answer["events"]]
    assert sorted(versions) == list(range(4, 2 * len(answers) + 4))
    assert events(posting) == (3 + 2 * len(answers), 3 + 2 * len(answers))
