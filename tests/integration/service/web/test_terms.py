"""The terms of a loan over HTTP: posted once, listed as they were recorded, and never hidden by a cache."""

from decimal import Decimal

import pytest

from tests.conftest import sql
from tests.support.application import build_app
from tests.support.settings import with_changes

TERMS = "/api/v1/loan/1/terms"
EVENTS = "/api/v1/loan/1/events"
GOOD = {
    "effective_date": "2020-01-01",
    "rate": "0.10",
    "day_count": "ACT/365F",
    "allocation": ["fees", "interest", "principal"],
    "grace_days": 10,
}
FEE = {"events": [{"event_type": "fee", "post_date": "2020-03-05", "amt": "1.50"}]}


@pytest.fixture
def writer(make_token):
    """Headers with a token that may post."""
    return {"Authorization": f"Bearer {make_token(scopes='api:read api:write', userId='ann')}"}


@pytest.fixture
def post(client, writer):
    """Posts terms of loan 1, and returns the reply."""

    def post(body=GOOD, status=201, path=TERMS, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = client.post(path, json=body, headers={**writer, **named})
        assert reply.status_code == status, reply.text
        return reply

    return post


@pytest.fixture
def read(client, bearer):
    """Requests the terms of loan 1."""

    def read(query=None, status=200, path=TERMS, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        reply = client.get(path, query_string=query or {}, headers={**bearer, **named})
        assert reply.status_code == status, reply.text
        return reply

    return read


def fields(reply):
    return {error["field"] for error in reply.json["errors"]}


def applying(reply):
    return [terms["version"] for terms in reply.json["terms"] if terms["applies"]]


def test_posted_terms_are_in_the_reply_and_in_the_list(post, read):
    made = post({**GOOD, "source_id": "agreement 7", "memo": "as agreed"})
    assert made.json == {
        "loan_id": 1, "version": 4, "recorded_at": made.json["recorded_at"], "posted_by": "ann", **GOOD,
        "reverses": None, "source_id": "agreement 7", "memo": "as agreed",
    }  # fmt: skip
    assert made.headers["ETag"].startswith('"4-')
    reply = read()
    members = {name: value for name, value in made.json.items() if name != "loan_id"}
    assert reply.json == {
        "loan_id": 1, "version": 4, "terms": [{**members, "reversed_by": None, "applies": True}], "next_cursor": None,
    }  # fmt: skip
    assert reply.headers["ETag"].startswith('"4-')
    assert reply.headers["As-Of"]
    assert reply.headers["Cache-Control"] == "private, no-cache"
    read(status=304, If_None_Match=reply.headers["ETag"])


def test_terms_change_no_balance_but_the_version(post, client, bearer):
    before = client.get("/1/2020-03-01", headers=bearer).json
    post()
    after = client.get("/1/2020-03-01?min_version=4", headers=bearer).json
    assert after == {**before, "version": 4}


def test_of_one_effective_date_the_last_terms_that_are_not_reversed_apply(post, read):
    for rate in ("0.10", "0.11", "0.12"):
        post({**GOOD, "rate": rate})
    undone = post({"reverses": 6, "memo": "typing error"}).json
    assert {**GOOD, "rate": "0.12"}.items() <= undone.items()
    assert (undone["version"], undone["reverses"], undone["memo"], undone["source_id"]) == (
        7, 6, "typing error", None,
    )  # fmt: skip
    reply = read()
    assert applying(reply) == [5]
    assert [terms["reversed_by"] for terms in reply.json["terms"]] == [None, None, 7, None]
    assert [applying(read({"as_of_version": version})) for version in range(3, 8)] == [[], [4], [5], [6], [5]]


def test_each_state_shows_what_was_known_in_it(post, read):
    recorded = [post().json["recorded_at"]]
    post(FEE, path=EVENTS)
    recorded.append(post({**GOOD, "rate": "0.2"}).json["recorded_at"])
    recorded.append(post({"reverses": 6}).json["recorded_at"])
    for version, moment in zip((4, 6, 7), recorded, strict=True):
        known, at = read({"known_at": moment}), read({"as_of_version": version})
        assert known.json == at.json
        assert (known.json["version"], "As-Of" in known.headers) == (version, False)
    read({"as_of_version": 8}, status=412)
    read({"min_version": 8}, status=412)
    read({"known_at": "2100-01-01T00:00:00Z"}, status=412)
    read({"known_at": recorded[0], "as_of_version": 4}, status=400)
    read(path="/api/v1/loan/999/terms", status=404)


def test_versions_with_gaps_are_exact_for_every_route(post, client, bearer, read):
    post()  # version 4
    post(FEE, path=EVENTS)
    moment = post({**GOOD, "rate": "0.2"}).json["recorded_at"]
    post(FEE, path=EVENTS)
    listed = read({"limit": 1}, path=EVENTS)
    found, cursors = [], 0
    while True:
        found += [event["version"] for event in listed.json["events"]]
        if listed.json["next_cursor"] is None:
            break
        cursors += 1
        listed = read({"limit": 1, "cursor": listed.json["next_cursor"]}, path=EVENTS)
    assert (found, cursors) == ([1, 2, 3, 5, 7], 4)
    for path in ("/1/2020-03-05", "/api/v1/loan/1", "/api/v1/loan/1/statement", "/api/v1/loan/1/history", EVENTS):
        for query, version in (({"known_at": moment}, 6), ({"as_of_version": 6}, 6), ({"min_version": 7}, 7)):
            assert read(query, path=path).json["version"] == version
        read({"min_version": 8}, status=412, path=path)
    assert read({"known_at": moment}, path="/1/2020-03-05").json["balance"] == "901.05"


def test_pages_show_the_version_of_the_first_page(post, read):
    for rate in ("0.1", "0.2", "0.3"):
        post({**GOOD, "rate": rate})
    first = read({"limit": 2})
    post({"reverses": 5})
    second = read({"limit": 2, "cursor": first.json["next_cursor"]})
    assert [terms["version"] for terms in first.json["terms"] + second.json["terms"]] == [4, 5, 6]
    assert (second.json["version"], second.json["next_cursor"], "As-Of" in second.headers) == (6, None, False)
    cursor = first.json["next_cursor"]
    for query, path in (
        ({"as_of_version": 7}, TERMS), ({}, "/api/v1/loan/2/terms"), ({}, "/api/v1/loan/1/schedule"), ({}, EVENTS),
    ):  # fmt: skip
        assert fields(read({**query, "cursor": cursor}, status=400, path=path)) == {"cursor"}
    read({"cursor": cursor[:-1]}, status=400)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("effective_date", "2020-02-30"), ("effective_date", 1), ("effective_date", None),
        ("rate", 0.1), ("rate", 1), ("rate", "-0.1"), ("rate", "10.1"), ("rate", "0.123456789"), ("rate", "10%"),
        ("rate", "1e-2"), ("rate", "NaN"), ("rate", ""), ("rate", ".1"), ("rate", None), ("rate", "０"),
        ("day_count", "ACT/365"), ("day_count", "act/360"), ("day_count", 360), ("day_count", None),
        ("allocation", ["fees", "interest"]), ("allocation", ["fees", "interest", "interest"]),
        ("allocation", "fees,interest,principal"), ("allocation", []), ("allocation", None),
        ("grace_days", -1), ("grace_days", 3651), ("grace_days", "10"), ("grace_days", 1.0), ("grace_days", True),
        ("grace_days", None),
        ("source_id", ""), ("source_id", 7), ("memo", "=1"), ("memo", None),
        ("posted_by", "ann"), ("version", 1), ("Rate", "0.1"), ("expected_version", -1), ("expected_version", "3"),
    ],
)  # fmt: skip
@pytest.mark.shared_ledger
def test_an_invalid_member_is_400_and_named_and_nothing_is_posted(post, read_only, field, value):
    reply = post({**GOOD, field: value}, status=400)
    assert fields(reply) == {field}
    assert sql(read_only, "SELECT count(*) FROM loan_terms") == [(0,)]


def test_an_unknown_part_is_named(post):
    reply = post({**GOOD, "allocation": ["fees", "gift", "principal"]}, status=400)
    assert fields(reply) == {"allocation.1"}


@pytest.mark.parametrize("field", sorted(GOOD))
@pytest.mark.shared_ledger
def test_a_missing_member_is_named(post, field):
    assert fields(post({name: GOOD[name] for name in GOOD if name != field}, status=400)) == {field}


def test_a_reversal_has_no_terms_beside_it(post):
    post()
    assert fields(post({**GOOD, "reverses": 4}, status=400)) == GOOD.keys()
    post({"reverses": 4, "source_id": "x", "memo": "typing error", "expected_version": 4})


def test_a_reversal_names_a_record_that_can_be_reversed(post):
    post()
    post({"reverses": 4})
    for version in (1, 5, 6, 99):  # an event, a reversal, none
        reply = post({"reverses": version}, status=422)
        assert (fields(reply), reply.json["type"]) == ({"reverses"}, "urn:loaner:problem:posting-refused")
    reply = post({"reverses": 4}, status=409)
    assert (reply.json["type"], reply.json["errors"]) == (
        "urn:loaner:problem:record-exists",
        [{"field": "reverses", "detail": "this record is already reversed by version 5"}],
    )


def test_a_source_id_is_taken_once_among_the_terms_of_a_loan(post):
    post({**GOOD, "source_id": "7"})
    assert fields(post({**GOOD, "source_id": "7"}, status=409)) == {"source_id"}
    post({**GOOD, "source_id": "7"}, path="/api/v1/loan/2/terms")
    post({"events": [{**FEE["events"][0], "source_id": "7"}]}, path=EVENTS)


def test_a_repeated_request_is_posted_once(post, read):
    first = post(Idempotency_Key="k")
    again = post({**GOOD, "rate": "0.1"}, Idempotency_Key="k")  # the same rate
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert len(read().json["terms"]) == 1
    for other in ({**GOOD, "rate": "0.11"}, {"reverses": 4}):
        assert post(other, status=409, Idempotency_Key="k").json["type"] == "urn:loaner:problem:key-reused"


def test_terms_are_posted_to_the_expected_version_only(post, client, bearer):
    etag = client.get("/1/2020-02-29", headers=bearer).headers["ETag"]
    post({**GOOD, "expected_version": 3}, If_Match=etag)
    for body, headers in ((GOOD, {"If_Match": etag}), ({**GOOD, "expected_version": 3}, {})):
        reply = post(body, status=412, **headers)
        assert (reply.json["type"], reply.json["version"]) == ("urn:loaner:problem:version-changed", 4)
    post({**GOOD, "expected_version": 9}, status=400, If_Match=etag)
    post({**FEE, "expected_version": 3}, status=412, path=EVENTS)
    post({**FEE, "expected_version": 4}, path=EVENTS)


def test_effective_dates_obey_closed_periods_but_not_max_future_days(served, writer, admin):
    client = build_app(with_changes(served, max_future_days=1)).test_client()
    for day, status in (("9999-12-31", 201), ("2020-01-01", 201)):
        reply = client.post(TERMS, json={**GOOD, "effective_date": day}, headers=writer)
        assert reply.status_code == status, reply.text
    sql(admin, "SELECT close_period('2020-01-31', 'test')")
    reply = client.post(TERMS, json={**GOOD, "effective_date": "2020-01-31"}, headers=writer)
    assert (reply.status_code, fields(reply), "2020-01-31" in reply.text) == (422, {"effective_date"}, True)
    reply = client.post(TERMS, json={"reverses": 5}, headers=writer)
    assert (reply.status_code, fields(reply)) == (422, {"reverses"})
    assert client.post(TERMS, json={"reverses": 4}, headers=writer).status_code == 201


def test_posting_requires_the_scope_and_an_existing_loan(client, bearer, post):
    assert client.post(TERMS, json=GOOD, headers=bearer).status_code == 403
    assert client.post(TERMS, json=GOOD).status_code == 401
    assert post(path="/api/v1/loan/999/terms", status=404).json["type"] == "urn:loaner:problem:unknown-loan"
    assert post({**GOOD, "expected_version": 1}, path="/api/v1/loan/999/terms", status=404)


def test_an_interest_credit_is_posted_listed_and_reversed(post, read):
    credit = {"event_type": "interest_credit", "post_date": "2020-03-05", "amt": "1.50"}
    made = post({"events": [credit]}, path=EVENTS).json
    assert Decimal(made["balance"]) == Decimal("898.05")
    [listed] = read({"event_type": "interest_credit"}, path=EVENTS).json["events"]
    assert (listed["event_type"], listed["amt"]) == ("interest_credit", "1.50")
    entry = read({"from": "2020-03-05"}, path="/api/v1/loan/1/statement").json["events"][-1]
    assert (entry["event_type"], entry["signed_amt"]) == ("interest_credit", "-1.50")
    undone = post({"events": [{**credit, "reverses": made["events"][0]["tx_id"]}]}, path=EVENTS).json
    assert undone["balance"] == "899.55"
    total = read(path="/api/v1/portfolio/2020-03-05").json["totals"]
    assert [each["balance"] for each in total if each["currency"] == "USD"] == ["399.55"]
