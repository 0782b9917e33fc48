"""A request with a key is done once, whatever happens on the way, and each who repeats it gets the same answer."""

import os
import signal
import threading
import time

import pytest
import requests

from service.errors import OutcomeUnknown
from service.postgres.pool import ConnectionPool
from service.runtime.bootstrap import build_app
from tests.conftest import refused, sql
from tests.fakes.kong.fake_kong import StandInKong, running
from tests.integration.service.web.test_posting import EVENTS, GOOD, LOAN
from tests.support.processes import free_port, reach, started, wait_until_up
from tests.support.settings import with_changes

BODY = {"events": [GOOD]}
KEPT = "SELECT count(*) FROM posted_requests"


@pytest.fixture
def ask(client, make_token):
    """Posts with a key, as somebody."""

    def ask(key="k", body=BODY, path=EVENTS, user="u1"):
        headers = {"Authorization": f"Bearer {make_token(scopes='api:write', userId=user)}", "Idempotency-Key": key}
        return client.post(path, json=body, headers=headers)

    return ask


def events(posting, loan=1):
    return sql(posting, "SELECT count(*), max(version) FROM loan_events WHERE loan_id = %s", loan)[0]


def same(one, other):
    """Whether two replies are the same in everything that is said."""
    names = ("ETag", "As-Of", "Content-Type", "Cache-Control", "Location")
    return (one.status_code, one.data, [one.headers.get(n) for n in names]) == (
        other.status_code, other.data, [other.headers.get(n) for n in names],
    )  # fmt: skip


def test_the_same_key_and_body_get_the_same_answer_and_post_once(ask, posting):
    first = ask()
    assert ask("other").json["version"] == 5  # what happens meanwhile changes nothing
    again = ask()
    assert same(first, again)
    assert (first.status_code, first.json["version"]) == (201, 4)
    assert [reply.headers.get("Idempotent-Replayed") for reply in (first, again)] == [None, "true"]
    assert events(posting) == (5, 5)


def test_the_same_body_written_in_another_way_is_the_same(ask, posting):
    first = ask()
    assert same(first, ask(body={"events": [dict(reversed(GOOD.items())) | {"amt": "1.5"}]}))
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
def test_a_key_that_is_used_for_something_else_is_409_and_nothing_is_done(ask, posting, body, path):
    first = ask()
    reply = ask(body=body, path=path)
    assert (reply.status_code, reply.json["type"]) == (409, "urn:loaner:problem:key-reused")
    assert sql(posting, "SELECT (SELECT count(*) FROM loan_events), (SELECT count(*) FROM loans)") == [(5, 3)]
    assert same(first, ask())


def test_the_same_key_of_another_caller_is_another_request(ask, posting):
    versions = [ask(user=user).json["version"] for user in ("u1", "u2", "u1", "U1", "u1\x00", "\ud800")]
    assert versions == [4, 5, 4, 6, 7, 8]
    assert events(posting) == (8, 8)


def test_without_a_key_every_request_is_another_one(client, make_token, posting):
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    assert [client.post(EVENTS, json=BODY, headers=headers).json["version"] for _ in range(2)] == [4, 5]


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "\xe9"])
def test_a_key_that_is_none_is_400(ask, posting, key):
    reply = ask(key)
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "Idempotency-Key")
    assert events(posting) == (3, 3)


@pytest.mark.parametrize("key", ["x", "x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "~ !"])
def test_a_key_is_printable_ascii(ask, key):
    assert same(ask(key), ask(key))


def test_what_was_refused_is_not_remembered(ask, posting, admin):
    body = {"events": [GOOD]}
    assert ask(body=body, path="/api/v1/loan/50/events").status_code == 404
    assert sql(admin, KEPT) == [(0,)]
    assert ask("loan", LOAN, "/api/v1/loan").status_code == 201
    assert ask(body=body, path="/api/v1/loan/50/events").status_code == 201


def test_a_loan_is_created_once_with_a_key(ask, posting):
    first = ask(body=LOAN, path="/api/v1/loan")
    assert first.status_code == 201
    ask("event", path="/api/v1/loan/50/events")
    assert same(first, ask(body=LOAN, path="/api/v1/loan"))
    assert ask("other", LOAN, "/api/v1/loan").status_code == 409


def test_fifty_at_once_are_one_event_and_one_answer(served, make_token, posting, say):
    patient = with_changes(served, psql_pool_timeout_s=30)
    application = build_app(patient)
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}", "Idempotency-Key": "k"}
    replies = []

    def work():
        replies.append(application.test_client().post(EVENTS, json=BODY, headers=headers))

    threads = [threading.Thread(target=work) for _ in range(50)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say(f"50 identical postings at once: {time.monotonic() - begun:.2f} s")
    assert all(same(reply, replies[0]) for reply in replies)
    assert replies[0].status_code == 201
    assert sum("Idempotent-Replayed" not in reply.headers for reply in replies) == 1
    assert events(posting) == (4, 4)


def test_a_key_is_kept_for_a_day_and_then_goes(ask, posting, admin):
    ask("yesterday")
    ask("long ago")
    first = ask("today")
    sql(admin, "UPDATE posted_requests SET made_at = made_at - interval '23:59' WHERE reply->>'version' = '4'")
    sql(admin, "UPDATE posted_requests SET made_at = made_at - interval '24:01' WHERE reply->>'version' = '5'")
    ask("tomorrow")
    assert sql(admin, "SELECT reply->>'version' FROM posted_requests ORDER BY 1") == [("4",), ("6",), ("7",)]
    assert same(first, ask("today"))
    assert ask("long ago").json["version"] == 8


def test_nobody_writes_keys_but_through_the_door(posting):
    for statement in (
        "INSERT INTO posted_requests VALUES ('a', 'b', '{}', now())",
        "SELECT * FROM posted_requests",
        "DELETE FROM posted_requests",
        "SELECT claim_request('a', 'b')",
    ):
        assert refused(posting, statement).pgcode == "42501"


def test_a_connection_that_ended_while_nobody_used_it_is_replaced(ask, posting, admin):
    ask("before")
    sql(admin, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
               " WHERE application_name = 'loaner posting' AND pid <> %s", posting.info.backend_pid)  # fmt: skip
    assert ask("after").json["version"] == 5


@pytest.fixture
def breaking(admin):
    """A ledger that breaks the connection off when an event is posted, in the middle of its transaction."""
    sql(admin, "CREATE SEQUENCE attempts")
    sql(admin, "GRANT USAGE ON attempts TO PUBLIC")
    sql(admin, "CREATE FUNCTION break_off() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
               " PERFORM nextval('public.attempts'); PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL;"
               " END $$")  # fmt: skip
    sql(admin, "CREATE TRIGGER break_off AFTER INSERT ON loan_events EXECUTE FUNCTION break_off()")
    return lambda: sql(admin, "DROP TRIGGER break_off ON loan_events")


def test_a_posting_whose_connection_breaks_is_503_is_not_sent_again_and_can_be_repeated(
    ask, posting, admin, breaking, caplog
):
    for key in ("k", "other"):
        reply = ask(key)
        assert (reply.status_code, reply.json["type"]) == (503, "urn:loaner:problem:outcome-unknown")
        assert reply.headers["Retry-After"] == "1"
    assert sql(admin, "SELECT last_value FROM attempts") == [(2,)]
    breaking()
    assert ask().json["version"] == 4
    assert events(posting) == (4, 4)
    assert "Traceback" not in caplog.text


def test_a_posting_that_takes_too_long_is_undone_and_503(served, make_token, posting, admin):
    client = build_app(with_changes(served, psql_statement_timeout_s=0.2)).test_client()
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}", "Idempotency-Key": "k"}
    with admin.cursor() as cursor:
        cursor.execute("SELECT FROM loans WHERE loan_id = 1 FOR UPDATE")
        reply = client.post(EVENTS, json=BODY, headers=headers)
        assert (reply.status_code, reply.json["type"]) == (503, "urn:loaner:problem:unavailable")
        admin.rollback()
    assert client.post(EVENTS, json=BODY, headers=headers).json["version"] == 4
    assert events(posting) == (4, 4)


def test_a_reply_that_was_lost_after_the_commit_is_given_to_whoever_repeats_the_request(ask, posting, monkeypatch):
    row = ConnectionPool.row
    lost = []

    def lose(database, *parameters):
        found = row(database, *parameters)
        if not lost and "post_events_once" in parameters[0]:
            lost.append(found)
            raise OutcomeUnknown("the connection broke off during COMMIT")
        return found

    monkeypatch.setattr(ConnectionPool, "row", lose)
    assert ask().status_code == 503
    assert events(posting) == (4, 4)
    reply = ask()
    assert (reply.status_code, reply.headers["Idempotent-Replayed"]) == (201, "true")
    assert reply.json == lost[0][1]
    assert events(posting) == (4, 4)


def test_a_service_that_is_killed_again_and_again_posts_everything_once(served, make_token, posting, say):
    url = f"http://127.0.0.1:{free_port()}"
    headers = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    answers, repeated, failures, stop = {}, [], [], threading.Event()

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
                    repeated.append(key)
            number += 1

    threads = [threading.Thread(target=call, args=(f"caller {n}",)) for n in range(6)]
    with running(StandInKong()) as kong:
        variables = {**reach(served.postgres), "KEYS_DIR": served.tokens.keys_dir, "API_GATEWAY_URL": kong.url,
                     "WORKERS": "2", "PORT": url.rpartition(":")[2], "LISTEN_HOST": "127.0.0.1",
                     "DRAIN_S": "0"}  # fmt: skip
        for last in (False, False, True):
            with started(**variables) as (process, told):
                wait_until_up(process, f"{url}/healthcheck", told)
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
                assert "Traceback" not in told()
                assert headers["Authorization"].split()[1] not in told()
    say(f"{len(answers)} postings through two kills; {len(repeated)} had been posted and not answered")
    assert failures
    assert len(answers) > 50
    made = [event["version"] for answer in answers.values() for event in answer["events"]]
    assert sorted(made) == list(range(4, 2 * len(answers) + 4))
    assert events(posting) == (3 + 2 * len(answers), 3 + 2 * len(answers))
