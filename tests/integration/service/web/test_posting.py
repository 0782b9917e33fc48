"""Posting over HTTP: valid requests are posted whole, and invalid ones are rejected with the names of their fields."""

import random
import re
import time
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from native import FEE, INTEREST, PAYMENT, REVERSAL, day_number
from service.domain.money import to_cents
from service.runtime.bootstrap import build_app
from service.web.app import MAX_BODY_BYTES
from tests.conftest import sql
from tests.models.oracle import Event, Ledger
from tests.support.settings import with_changes

PROBLEM = "application/problem+json"
EVENTS = "/api/v1/loan/1/events"
GOOD = {"event_type": "fee", "post_date": "2020-03-02", "amt": "1.50"}
LOAN = {"loan_id": 50, "start_date": "2020-01-01", "initial_amt": "100.00"}
KINDS = {"fee": FEE, "interest": INTEREST, "payment": PAYMENT}


@pytest.fixture
def writer(make_token):
    """Headers with a token that may post."""
    return {"Authorization": f"Bearer {make_token(scopes='api:read,api:write')}"}


@pytest.fixture
def post(client, writer):
    """Posts events to loan 1."""
    return lambda *events, loan=1: client.post(
        f"/api/v1/loan/{loan}/events", json={"events": list(events)}, headers=writer
    )


def count(posting):
    return sql(posting, "SELECT (SELECT count(*) FROM loan_events), (SELECT count(*) FROM loans)")[0]


def rejected_fields(reply, status):
    """Check that a request was rejected, and return the detail of each field."""
    assert (reply.status_code, reply.content_type) == (status, PROBLEM), reply.text
    assert reply.json["code"] == status
    return {error["field"]: error["detail"] for error in reply.json.get("errors", ())}


def test_events_are_posted_and_included_in_the_reply(post, posting):
    reply = post(GOOD, {**GOOD, "event_type": "payment", "amt": "100", "source_id": "receipt 7"})
    assert (reply.status_code, reply.content_type) == (201, "application/json")
    rows = sql(posting, "SELECT tx_id, version, event_type, post_date, amt, source_id FROM loan_events"
                        " WHERE loan_id = 1 AND version > 3 ORDER BY version")  # fmt: skip
    assert [row[2:] for row in rows] == [
        ("fee", date(2020, 3, 2), Decimal("1.50"), None),
        ("payment", date(2020, 3, 2), Decimal("100.00"), "receipt 7"),
    ]
    today = reply.json["date"]
    assert date.fromisoformat(today) >= datetime.now(UTC).date()
    assert reply.json == {
        "loan_id": 1, "version": 5, "date": today, "balance": "801.05", "currency": "USD",
        "events": [{"tx_id": tx_id, "version": version} for tx_id, version, *_ in rows],
    }  # fmt: skip
    assert re.fullmatch(r'"[0-9a-f]{24}"', reply.headers["ETag"])
    assert abs(datetime.fromisoformat(reply.headers["As-Of"]).timestamp() - time.time()) < 60
    assert reply.headers["Cache-Control"] == "private, no-cache"
    assert "Idempotent-Replayed" not in reply.headers


def test_min_version_reads_a_posting_immediately(post, client, bearer):
    assert client.get("/1/2020-03-01", headers=bearer).json["balance"] == "899.55"
    version = post({**GOOD, "post_date": "2019-12-06"}).json["version"]
    reply = client.get(f"/1/2020-03-01?min_version={version}", headers=bearer)
    assert (reply.status_code, reply.json["balance"], reply.json["version"]) == (200, "901.05", 4)


def test_an_event_may_be_dated_before_the_loan_or_in_the_future(post, client, bearer):
    reply = post({**GOOD, "post_date": "0001-01-01"}, {**GOOD, "post_date": "9999-12-31", "amt": "7"})
    assert reply.json["balance"] == "901.05"
    for day, balance in (("2019-12-04", "0.00"), ("2019-12-05", "1001.50"), ("9999-12-31", "908.05")):
        assert client.get(f"/1/{day}?min_version=5", headers=bearer).json["balance"] == balance


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amt", 1), ("amt", 1.5), ("amt", True), ("amt", None), ("amt", []), ("amt", ""), ("amt", "0"),
        ("amt", "0.00"), ("amt", "-1"), ("amt", "+1"), ("amt", "1.001"), ("amt", "1e3"), ("amt", "NaN"),
        ("amt", "Infinity"), ("amt", "9" * 20), ("amt", "99999999999999999"), ("amt", " 1"), ("amt", "1."),
        ("amt", ".5"), ("amt", "1,50"), ("amt", "1_0"), ("amt", "１"), ("amt", "1\n"),
        ("event_type", "gift"), ("event_type", "Fee"), ("event_type", 1), ("event_type", None), ("event_type", ""),
        ("post_date", "2021-02-30"), ("post_date", "20210228"), ("post_date", "2021-2-8"), ("post_date", 1),
        ("post_date", "2021-02-28T00:00:00"), ("post_date", "0000-01-01"), ("post_date", None), ("post_date", ""),
        ("source_id", ""), ("source_id", " "), ("source_id", 7), ("source_id", "x" * 201), ("source_id", "a\x00b"),
        ("source_id", "a\nb"), ("source_id", None),
        ("reverses", 0), ("reverses", -1), ("reverses", "1"), ("reverses", 1.0), ("reverses", True),
        ("reverses", 2**63), ("reverses", None),
        ("version", 1), ("loan_id", 1), ("Amt", "1.00"),
    ],
)  # fmt: skip
def test_an_invalid_member_is_400_and_named_and_nothing_is_posted(post, posting, field, value):
    before = count(posting)
    assert rejected_fields(post(GOOD, {**GOOD, field: value}), 400).keys() == {f"events.1.{field}"}
    assert count(posting) == before


@pytest.mark.parametrize("field", ["event_type", "post_date", "amt"])
def test_a_missing_member_is_named(post, field):
    assert rejected_fields(post({name: GOOD[name] for name in GOOD if name != field}), 400).keys() == {
        f"events.0.{field}"
    }


def test_every_invalid_member_is_named(post):
    bad = {"event_type": "gift", "post_date": "x", "amt": "0", "more": 1}
    assert rejected_fields(post(bad, bad), 400).keys() == {f"events.{n}.{field}" for n in (0, 1) for field in bad}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"), (b"{", "body"), (b"null", "body"), (b"[]", "body"), (b'"{}"', "body"), (b"\xff", "body"),
        (b'{"events": [], "events": []}', "body"), (b'{"events": [{"amt": "1", "amt": "2"}]}', "body"),
        (b'{"events": NaN}', "body"), (b'{"\\ud800": 1}', "body"), (b"[" * 200_000, "body"),
        (b'{"events": ' + b"[" * 900 + b"]" * 900 + b"}", "events.0"), (b'{"events": ' + b"9" * 5000 + b"}", "body"),
        (b"{}", "events"), (b'{"events": []}', "events"), (b'{"events": {}}', "events"),
        (b'{"events": [1]}', "events.0"), (b'{"events": null}', "events"), ('{"events": []}'.encode("utf-16"), "body"),
    ],
)  # fmt: skip
def test_an_invalid_body_is_400(client, writer, body, field):
    reply = client.post(EVENTS, data=body, content_type="application/json", headers=writer)
    assert field in rejected_fields(reply, 400)


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
def test_another_media_type_is_415(client, writer, media_type):
    reply = client.post(EVENTS, data=b'{"events": []}', content_type=media_type, headers=writer)
    assert (reply.status_code, reply.content_type) == (415, PROBLEM)


def test_a_thousand_events_are_posted_and_one_more_is_rejected(post, posting):
    assert rejected_fields(post(*[GOOD] * 1001), 400).keys() == {"events"}
    reply = post(*[GOOD] * 1000)
    assert (reply.status_code, len(reply.json["events"]), reply.json["version"]) == (201, 1000, 1003)
    assert reply.json["balance"] == "2399.55"


def test_a_body_that_is_too_large_is_413(client, writer):
    reply = client.post(EVENTS, data=b" " * (MAX_BODY_BYTES + 1), content_type="application/json", headers=writer)
    assert (reply.status_code, reply.content_type) == (413, PROBLEM)


def test_the_reply_names_at_most_a_hundred_errors(client, writer):
    reply = client.post(EVENTS, json={"events": [{"a": 1}] * 1000}, headers=writer)
    assert len(reply.json["errors"]) == 100


def test_an_unknown_loan_is_404(post, posting):
    before = count(posting)
    reply = post(GOOD, loan=999)
    rejected_fields(reply, 404)
    assert reply.json["type"] == "urn:loaner:problem:unknown-loan"
    assert count(posting) == before


def test_an_existing_source_id_is_409_and_names_the_event(post, posting):
    named = {**GOOD, "source_id": "invoice 1"}
    [event] = post(named).json["events"]
    before = count(posting)
    reply = post(GOOD, named, GOOD)
    assert str(event["tx_id"]) in rejected_fields(reply, 409)["events.1.source_id"]
    assert count(posting) == before
    assert post(named, loan=2).status_code == 201


@pytest.mark.parametrize("field", [{"source_id": "a"}, {"reverses": 1}])
def test_a_duplicate_in_one_request_is_400(post, posting, field):
    before = count(posting)
    [name] = field
    assert rejected_fields(post({**GOOD, **field}, GOOD, {**GOOD, **field}), 400).keys() == {f"events.2.{name}"}
    assert count(posting) == before


def test_an_event_can_be_reversed_once(post, posting):
    [event] = post(GOOD).json["events"]
    back = {**GOOD, "post_date": "2020-03-05", "reverses": event["tx_id"]}
    reply = post(back)
    assert (reply.status_code, reply.json["balance"], reply.json["version"]) == (201, "899.55", 5)
    [reversal] = reply.json["events"]
    before = count(posting)
    assert str(reversal["tx_id"]) in rejected_fields(post(GOOD, back), 409)["events.1.reverses"]
    assert rejected_fields(post({**back, "reverses": reversal["tx_id"]}), 422).keys() == {"events.0.reverses"}
    assert count(posting) == before


@pytest.mark.parametrize("change", [{"amt": "1.51"}, {"event_type": "interest"}, {"reverses": 10**15}])
def test_a_reversal_without_a_matching_event_is_422(post, posting, change):
    [event] = post(GOOD).json["events"]
    before = count(posting)
    reply = post(GOOD, {**GOOD, "reverses": event["tx_id"], **change})
    assert rejected_fields(reply, 422).keys() == {"events.1.reverses"}
    assert count(posting) == before


def test_a_reversal_of_an_event_of_another_loan_is_422(post):
    [event] = post(GOOD, loan=2).json["events"]
    assert rejected_fields(post({**GOOD, "reverses": event["tx_id"]}), 422).keys() == {"events.0.reverses"}


def test_amounts_beyond_the_capacity_of_the_ledger_are_422(post, posting):
    most = {**GOOD, "amt": "9999999999999999.99"}
    assert post(*[most] * 9).status_code == 201
    before = count(posting)
    assert rejected_fields(post(most), 422).keys() == {"events"}
    assert count(posting) == before


def test_balances_after_random_postings_match_a_decimal_model(client, writer, post, bearer):
    chance = random.Random(20)
    loan = {**LOAN, "loan_id": 77}
    assert client.post("/api/v1/loan", json=loan, headers=writer).status_code == 201
    start, posted, version = day_number(date(2020, 1, 1)), [], 0
    open_events = {}
    for _ in range(25):
        batch = []
        for _ in range(chance.randint(1, 4)):
            day = date.fromordinal(date(2019, 12, 20).toordinal() + chance.randint(0, 60))
            event = {"event_type": chance.choice(list(KINDS)), "amt": f"{chance.randint(1, 99999) / 100:.2f}"}
            reversed_id = chance.choice([*open_events, None])
            if reversed_id is not None:
                event = {**open_events.pop(reversed_id), "reverses": reversed_id}
            batch.append({**event, "post_date": day.isoformat()})
        reply = post(*batch, loan=77)
        assert [e["version"] for e in reply.json["events"]] == list(range(version + 1, version + len(batch) + 1))
        version = reply.json["version"]
        for event, posted_event in zip(batch, reply.json["events"], strict=True):
            kind = KINDS[event["event_type"]] | (REVERSAL if "reverses" in event else 0)
            day = day_number(date.fromisoformat(event["post_date"]))
            posted.append(Event(day, kind, to_cents(event["amt"]), posted_event["tx_id"]))
            if "reverses" not in event:
                open_events[posted_event["tx_id"]] = {name: event[name] for name in ("event_type", "amt")}
        ledger = Ledger(start, 100_00, tuple(posted))
        assert Decimal(reply.json["balance"]) == ledger.balance_at(10**6)
        for day in ("2019-12-31", "2020-01-01", "2020-01-15", "2020-02-20"):
            found = client.get(f"/77/{day}?min_version={version}", headers=bearer).json
            assert Decimal(found["balance"]) == ledger.balance_at(day_number(date.fromisoformat(day)))


def test_the_balance_before_the_start_date_is_zero_despite_postings(client, writer, post):
    client.post("/api/v1/loan", json={**LOAN, "start_date": "9000-01-01"}, headers=writer)
    assert post(GOOD, loan=50).json["balance"] == "0.00"


def test_a_loan_is_created(client, writer, bearer):
    reply = client.post("/api/v1/loan", json={**LOAN, "currency": "EUR"}, headers=writer)
    assert (reply.status_code, reply.headers["Location"]) == (201, "/api/v1/loan/50")
    assert reply.json == {**LOAN, "date": reply.json["date"], "balance": "100.00", "currency": "EUR", "version": 0}
    found = client.get(reply.headers["Location"], headers=bearer)
    assert (found.json, found.headers["ETag"]) == (reply.json, reply.headers["ETag"])


def test_the_location_keeps_the_prefix_of_a_gateway(client, writer):
    headers = {**writer, "X-Forwarded-Prefix": "/loaner", "X-Forwarded-For": "10.0.0.1"}
    reply = client.post("/api/v1/loan", json=LOAN, headers=headers)
    assert reply.headers["Location"] == "/loaner/api/v1/loan/50"
    assert reply.json["currency"] == "USD"


@pytest.mark.parametrize("change", [{}, {"initial_amt": "1.00"}])
def test_a_loan_that_exists_is_409(client, writer, posting, change):
    client.post("/api/v1/loan", json=LOAN, headers=writer)
    before = count(posting)
    reply = client.post("/api/v1/loan", json={**LOAN, **change}, headers=writer)
    rejected_fields(reply, 409)
    assert (reply.json["type"], reply.json["loan_id"]) == ("urn:loaner:problem:loan-exists", 50)
    assert count(posting) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loan_id", 0), ("loan_id", -1), ("loan_id", "1"), ("loan_id", 1.0), ("loan_id", True), ("loan_id", 2**63),
        ("initial_amt", 100), ("initial_amt", "-1"), ("initial_amt", "1.001"), ("initial_amt", "1e3"),
        ("start_date", "2020-02-30"), ("currency", "usd"), ("currency", "US"), ("currency", ""), ("currency", None),
        ("version", 1),
    ],
)  # fmt: skip
def test_invalid_terms_are_400_and_named(client, writer, posting, field, value):
    before = count(posting)
    assert rejected_fields(client.post("/api/v1/loan", json={**LOAN, field: value}, headers=writer), 400).keys() == {
        field
    }
    assert count(posting) == before


@pytest.mark.parametrize(("path", "body"), [(EVENTS, {"events": [GOOD]}), ("/api/v1/loan", LOAN)])
def test_a_token_without_the_write_scope_is_403_and_none_is_401(client, make_token, posting, path, body):
    before = count(posting)
    for scopes in ("api:read", "api:writer", ""):
        reply = client.post(path, json=body, headers={"Authorization": f"Bearer {make_token(scopes=scopes)}"})
        rejected_fields(reply, 403)
        assert "api:write" in reply.json["message"]
    assert client.post(path, json=body).status_code == 401
    assert count(posting) == before
    writes_only = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    assert client.post(path, json=body, headers=writes_only).status_code == 201


def test_posting_requires_a_token_even_if_loan_routes_are_public(served):
    client = build_app(with_changes(served, secure_loans=False)).test_client()
    assert client.get("/1/2020-01-01").status_code == 200
    assert client.post(EVENTS, json={"events": [GOOD]}).status_code == 401
    assert client.post("/api/v1/loan", json=LOAN).status_code == 401


def test_posting_is_404_if_it_is_not_configured(served, writer):
    client = build_app(with_changes(served, psql_posting_user=None)).test_client()
    for path, body in ((EVENTS, {"events": [GOOD]}), ("/api/v1/loan", LOAN), (EVENTS, {})):
        rejected_fields(client.post(path, json=body, headers=writer), 404)
        assert client.post(path, json=body).status_code == 401
    assert client.get("/1/2020-01-01", headers=writer).status_code == 200


def test_an_unavailable_database_is_503_with_retry_after(served, writer):
    client = build_app(with_changes(served, psql_port=1)).test_client()
    reply = client.post(EVENTS, json={"events": [GOOD]}, headers=writer)
    rejected_fields(reply, 503)
    assert reply.headers["Retry-After"] == "1"
    assert reply.json["type"] == "urn:loaner:problem:unavailable"
    assert "127.0.0.1" not in reply.text


def test_posting_to_a_read_only_database_is_503_and_reading_works(served, writer, admin):
    sql(admin, f"ALTER DATABASE {served.postgres.database} SET default_transaction_read_only = on")
    client = build_app(served).test_client()
    rejected_fields(client.post(EVENTS, json={"events": [GOOD]}, headers=writer), 503)
    assert client.get("/1/2020-01-01", headers=writer).status_code == 200


def test_a_database_user_without_the_right_to_post_is_503(served, writer, caplog):
    reader = {"psql_posting_user": served.postgres.user, "psql_posting_pw": served.postgres.password}
    client = build_app(with_changes(served, **reader)).test_client()
    rejected_fields(client.post(EVENTS, json={"events": [GOOD]}, headers=writer), 503)
    assert "PSQL_POSTING_USER may not post: permission denied for function" in caplog.text


def test_the_log_names_caller_count_and_loan_of_a_posting_and_nothing_else(post, client, writer, caplog):
    caplog.set_level("INFO")
    post(GOOD, {**GOOD, "amt": "4321.09", "source_id": "invoice-of-ann"})
    client.post("/api/v1/loan", json=LOAN, headers=writer)
    post({**GOOD, "amt": "x"})
    assert "'u1' posted 2 events to loan 1: version 5" in caplog.text
    assert "'u1' created loan 50" in caplog.text
    token = writer["Authorization"].split()[1]
    assert not re.search(f"4321|invoice-of-ann|Traceback|{token}", caplog.text)
