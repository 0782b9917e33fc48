"""Posting over HTTP: valid requests are posted whole, and invalid ones are rejected with the names of their fields."""

import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from native import FEE, INTEREST, PAYMENT, REVERSAL, day_number
from service.web.app import MAX_BODY_BYTES
from tests.conftest import sql
from tests.models.oracle import Event, Ledger
from tests.support.application import build_app
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
        "recorded_at": reply.json["recorded_at"],
        "events": [
            {"tx_id": tx_id, "version": version, "event_type": kind, "post_date": day.isoformat(), "amt": str(amt)}
            for tx_id, version, kind, day, amt, _ in rows
        ],
    }  # fmt: skip
    assert re.fullmatch(r'"5-[0-9a-f]{24}"', reply.headers["ETag"])
    assert abs(datetime.fromisoformat(reply.headers["As-Of"]).timestamp() - time.time()) < 60
    assert reply.headers["Cache-Control"] == "private, no-cache"
    assert "Idempotent-Replayed" not in reply.headers


def test_min_version_reads_a_posting_immediately(post, client, bearer):
    assert client.get("/1/2020-03-01", headers=bearer).json["balance"] == "899.55"
    version = post({**GOOD, "post_date": "2019-12-06"}).json["version"]
    reply = client.get(f"/1/2020-03-01?min_version={version}", headers=bearer)
    assert (reply.status_code, reply.json["balance"], reply.json["version"]) == (200, "901.05", 4)


def test_an_event_may_be_dated_before_the_loan_or_in_the_future(served, writer, bearer):
    client = build_app(with_changes(served, max_future_days=0)).test_client()
    reply = client.post(
        EVENTS,
        json={"events": [{**GOOD, "post_date": "0001-01-01"}, {**GOOD, "post_date": "9999-12-31", "amt": "7"}]},
        headers=writer,
    )
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
        ("memo", ""), ("memo", " "), ("memo", 7), ("memo", "x" * 201), ("memo", "a\nb"), ("memo", "a\x00b"),
        ("memo", "=1+1"), ("memo", " =1+1"), ("memo", "+1"), ("memo", "-1"), ("memo", "@A1"), ("memo", "\tx"),
        ("memo", "\rx"), ("memo", "\uff1d1"), ("memo", None), ("posted_by", "ann"),
        ("reverses", 0), ("reverses", -1), ("reverses", "1"), ("reverses", 1.0), ("reverses", True),
        ("reverses", 2**63), ("reverses", None),
        ("version", 1), ("loan_id", 1), ("Amt", "1.00"),
    ],
)  # fmt: skip
@pytest.mark.shared_ledger
def test_an_invalid_member_is_400_and_named_and_nothing_is_posted(post, read_only, field, value):
    before = count(read_only)
    assert rejected_fields(post(GOOD, {**GOOD, field: value}), 400).keys() == {f"events.1.{field}"}
    assert count(read_only) == before


@pytest.mark.parametrize("field", ["event_type", "post_date", "amt"])
@pytest.mark.shared_ledger
def test_a_missing_member_is_named(post, field):
    assert rejected_fields(post({name: GOOD[name] for name in GOOD if name != field}), 400).keys() == {
        f"events.0.{field}"
    }


@pytest.mark.shared_ledger
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
@pytest.mark.shared_ledger
def test_an_invalid_body_is_400(client, writer, body, field):
    reply = client.post(EVENTS, data=body, content_type="application/json", headers=writer)
    assert field in rejected_fields(reply, 400)


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
@pytest.mark.shared_ledger
def test_another_media_type_is_415(client, writer, media_type):
    reply = client.post(EVENTS, data=b'{"events": []}', content_type=media_type, headers=writer)
    assert (reply.status_code, reply.content_type) == (415, PROBLEM)


def test_a_thousand_events_are_posted_and_one_more_is_rejected(post, posting):
    assert rejected_fields(post(*[GOOD] * 1001), 400).keys() == {"events"}
    reply = post(*[GOOD] * 1000)
    assert (reply.status_code, len(reply.json["events"]), reply.json["version"]) == (201, 1000, 1003)
    assert reply.json["balance"] == "2399.55"


@pytest.mark.shared_ledger
def test_a_body_that_is_too_large_is_413(client, writer):
    reply = client.post(EVENTS, data=b" " * (MAX_BODY_BYTES + 1), content_type="application/json", headers=writer)
    assert (reply.status_code, reply.content_type) == (413, PROBLEM)


@pytest.mark.shared_ledger
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
            day = date.fromordinal(date(2019, 12, 20).toordinal() + chance.randint(0, 60)).isoformat()
            event = {"event_type": chance.choice(list(KINDS)), "amt": f"{chance.randint(1, 99999) / 100:.2f}"}
            reversed_id = chance.choice([*open_events, None])
            if reversed_id is not None:
                event, first = open_events.pop(reversed_id)
                event, day = {**event, "reverses": reversed_id}, max(day, first)
            batch.append({**event, "post_date": day})
        reply = post(*batch, loan=77)
        assert [e["version"] for e in reply.json["events"]] == list(range(version + 1, version + len(batch) + 1))
        version = reply.json["version"]
        for event, posted_event in zip(batch, reply.json["events"], strict=True):
            kind = KINDS[event["event_type"]] | (REVERSAL if "reverses" in event else 0)
            day = day_number(date.fromisoformat(event["post_date"]))
            posted.append(Event(day, kind, int(Decimal(event["amt"]) * 100), posted_event["tx_id"]))
            if "reverses" not in event:
                terms = {name: event[name] for name in ("event_type", "amt")}
                open_events[posted_event["tx_id"]] = terms, event["post_date"]
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
    created = dict(reply.json)
    recorded_at = created.pop("recorded_at")
    assert created == {**LOAN, "date": created["date"], "balance": "100.00", "currency": "EUR", "version": 0}
    assert abs(datetime.fromisoformat(recorded_at).timestamp() - time.time()) < 60
    assert client.get(reply.headers["Location"], headers=bearer).json == created


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
        ("currency", "XAU"), ("currency", "XXX"), ("currency", "ABC"), ("posted_by", "ann"), ("initial_amt", "1.000"),
        ("version", 1),
    ],
)  # fmt: skip
@pytest.mark.shared_ledger
def test_invalid_terms_are_400_and_named(client, writer, read_only, field, value):
    before = count(read_only)
    assert rejected_fields(client.post("/api/v1/loan", json={**LOAN, field: value}, headers=writer), 400).keys() == {
        field
    }
    assert count(read_only) == before


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


@pytest.mark.parametrize(
    ("currency", "amt", "too_precise", "too_large"),
    [
        ("JPY", "1000", ["1000.50", "1000.0", "0.5"], "1" + "0" * 18),
        ("USD", "10.25", ["10.255", "10.250"], "1" + "0" * 16),
        ("KWD", "1.234", ["1.2345", "1.2340"], "1" + "0" * 15),
        ("CLF", "1.2345", ["1.23456"], "1" + "0" * 14),
    ],
)
def test_amounts_have_at_most_the_decimals_of_the_currency(
    client, writer, bearer, posting, currency, amt, too_precise, too_large
):
    loan = {**LOAN, "currency": currency}
    before = count(posting)
    for wrong in [*too_precise, too_large]:
        reply = client.post("/api/v1/loan", json={**loan, "initial_amt": wrong}, headers=writer)
        assert rejected_fields(reply, 400).keys() == {"initial_amt"}, wrong
        assert reply.json["type"] == "urn:loaner:problem:invalid-request"
    assert count(posting) == before
    reply = client.post("/api/v1/loan", json={**loan, "initial_amt": amt}, headers=writer)
    assert (reply.json["initial_amt"], reply.json["balance"]) == (amt, amt)
    events = "/api/v1/loan/50/events"
    before = count(posting)
    for wrong in [*too_precise, too_large]:
        body = {"events": [{**GOOD, "amt": amt}, {**GOOD, "amt": wrong}]}
        reply = client.post(events, json=body, headers=writer)
        [detail] = [rejected_fields(reply, 400)["events.1.amt"]]
        assert detail.startswith("expected"), wrong
        assert (currency in detail) or "18 digits" in detail
        assert reply.json["type"] == "urn:loaner:problem:invalid-request"
    assert count(posting) == before
    reply = client.post(events, json={"events": [{**GOOD, "amt": amt}]}, headers=writer)
    assert Decimal(reply.json["balance"]) == 2 * Decimal(amt)
    assert client.get("/50/2020-12-31?min_version=1", headers=bearer).json["balance"] == reply.json["balance"]
    whole = {**GOOD, "amt": "1", "event_type": "payment"}
    balance = client.post(events, json={"events": [whole]}, headers=writer).json["balance"]
    assert balance == str(2 * Decimal(amt) - 1)


def test_a_reversal_may_not_be_dated_before_its_event_but_on_its_date(served, writer, posting):
    client = build_app(with_changes(served, max_future_days=0)).test_client()
    limited = build_app(served).test_client()
    for day, before in (("0001-01-02", "0001-01-01"), ("2020-03-02", "2020-03-01"), ("9999-12-31", "9999-12-30")):
        event = {**GOOD, "post_date": day}
        [posted] = client.post(EVENTS, json={"events": [event]}, headers=writer).json["events"]
        back = {**event, "reverses": posted["tx_id"]}
        stored = count(posting)
        reply = limited.post(EVENTS, json={"events": [GOOD, {**back, "post_date": before}]}, headers=writer)
        detail = rejected_fields(reply, 422)["events.1.post_date"]
        assert (reply.json["type"], day in detail) == ("urn:loaner:problem:posting-refused", True)
        assert count(posting) == stored
        assert limited.post(EVENTS, json={"events": [back]}, headers=writer).status_code == 201  # in the future, too


def test_an_event_far_in_the_future_is_422(served, post, writer, posting):
    today = datetime.now(UTC).date()
    latest = (today + timedelta(days=366)).isoformat()
    late = (today + timedelta(days=367)).isoformat()
    assert post({**GOOD, "post_date": latest}).status_code == 201
    before = count(posting)
    reply = post(GOOD, {**GOOD, "post_date": late})
    assert latest in rejected_fields(reply, 422)["events.1.post_date"]
    assert reply.json["type"] == "urn:loaner:problem:posting-refused"
    assert count(posting) == before
    for days, status in ((367, 201), (0, 201), (3_652_059, 201), (1, 422)):
        client = build_app(with_changes(served, max_future_days=days)).test_client()
        event = {**GOOD, "post_date": late}
        assert client.post(EVENTS, json={"events": [event]}, headers=writer).status_code == status, days


def test_a_reversal_far_in_the_future_on_another_date_is_422(served, writer):
    client = build_app(with_changes(served, max_future_days=0)).test_client()
    event = {**GOOD, "post_date": "9000-01-01"}
    [posted] = client.post(EVENTS, json={"events": [event]}, headers=writer).json["events"]
    back = {**event, "post_date": "9000-01-02", "reverses": posted["tx_id"]}
    reply = build_app(served).test_client().post(EVENTS, json={"events": [back]}, headers=writer)
    assert rejected_fields(reply, 422).keys() == {"events.0.post_date"}


def test_nothing_is_posted_in_a_closed_period(client, post, writer, posting, admin):
    sql(admin, "SELECT close_period('2020-03-31', 'first quarter')")
    before = count(posting)
    reply = post({**GOOD, "post_date": "2020-04-01"}, {**GOOD, "post_date": "2020-03-31"})
    assert "2020-03-31" in rejected_fields(reply, 422)["events.1.post_date"]
    reply = client.post("/api/v1/loan", json={**LOAN, "start_date": "2020-03-31"}, headers=writer)
    assert "2020-03-31" in rejected_fields(reply, 422)["start_date"]
    assert reply.json["type"] == "urn:loaner:problem:posting-refused"
    assert count(posting) == before
    assert post({**GOOD, "post_date": "2020-04-01"}).status_code == 201
    loan = {**LOAN, "start_date": "2020-04-01"}
    assert client.post("/api/v1/loan", json=loan, headers=writer).status_code == 201


def test_the_ledger_knows_who_posted_and_why(client, post, make_token, writer, posting):
    post({**GOOD, "memo": "Überweisung – 5 €"}, GOOD)
    odd = {"Authorization": f"Bearer {make_token(scopes='api:write', userId='a' + chr(0) + 'b')}"}
    assert client.post(EVENTS, json={"events": [GOOD]}, headers=odd).status_code == 201
    rows = sql(posting, "SELECT posted_by, memo FROM loan_events WHERE loan_id = 1 AND version > 3 ORDER BY version")
    assert rows == [("u1", "Überweisung – 5 €"), ("u1", None), (r"a\x00b", None)]
    client.post("/api/v1/loan", json=LOAN, headers=writer)
    assert sql(posting, "SELECT posted_by FROM loans WHERE loan_id = 50") == [("u1",)]


def test_a_posting_may_expect_a_version(client, writer, posting):
    def submit(expected, key=None):
        headers = {**writer, "Idempotency-Key": key} if key else writer
        body = {"events": [GOOD], "expected_version": expected}
        return client.post(EVENTS, json=body, headers=headers)

    before = count(posting)
    for expected in (2, 4, 0, 2**63 - 1):
        reply = submit(expected, "k")
        assert rejected_fields(reply, 412) == {}
        assert reply.json["type"] == "urn:loaner:problem:version-changed"
        assert (reply.json["loan_id"], reply.json["version"]) == (1, 3)
    assert count(posting) == before
    first = submit(3, "k")  # a 412 is not kept
    assert (first.status_code, first.json["version"]) == (201, 4)
    again = submit(3, "k")  # although the posting itself has moved the version
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (201, first.data, "true")
    assert submit(3).status_code == 412
    reply = client.post("/api/v1/loan/999/events", json={"events": [GOOD], "expected_version": 0}, headers=writer)
    assert reply.status_code == 404


@pytest.mark.parametrize("expected", [-1, 1.0, "3", None, True, 2**63])
@pytest.mark.shared_ledger
def test_an_invalid_expected_version_is_400(client, writer, expected):
    body = {"events": [GOOD], "expected_version": expected}
    assert rejected_fields(client.post(EVENTS, json=body, headers=writer), 400).keys() == {"expected_version"}


def test_of_two_postings_that_expect_a_version_one_is_posted(served, writer, posting):
    client = build_app(served).test_client
    with ThreadPoolExecutor(8) as pool:
        body = {"events": [GOOD], "expected_version": 3}
        replies = list(pool.map(lambda _: client().post(EVENTS, json=body, headers=writer), range(8)))
    assert sorted(reply.status_code for reply in replies if reply.status_code != 503).count(201) == 1
    assert sql(posting, "SELECT version FROM loans WHERE loan_id = 1") == [(4,)]


def escaped(value):
    """Return compact JSON in which every character of every string is escaped."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{escaped(name)}:{escaped(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(escaped, value)) + "]"
    if isinstance(value, int):
        return str(value)
    units = value.encode("utf-16-be").hex()
    return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'


def test_the_largest_request_of_the_schema_is_not_too_large(client, writer, posting):
    longest = "\U0001f4b6" * 196  # two escapes each
    event = {
        "event_type": "interest",
        "post_date": "2020-03-02",
        "amt": "000000000000000001.00",
        "memo": longest + "1234",
    }
    events = [{**event, "source_id": longest + f"{n:04}"} for n in range(1000)]
    body = escaped({"events": events, "expected_version": 3})
    beside = (
        len(escaped({"reverses": 2**63 - 1})) + 2 * 6 + 8 * 6
    )  # what a reversal adds, two decimals, four characters
    assert len(body) + 1000 * beside < MAX_BODY_BYTES
    reply = client.post(EVENTS, data=body, content_type="application/json", headers=writer)
    assert (reply.status_code, reply.json["version"]) == (201, 1003), reply.text[:300]
    assert sql(posting, "SELECT count(*), min(length(memo)) FROM loan_events WHERE memo IS NOT NULL") == [(1000, 200)]
