"""Charging the interest that has accrued to one loan: by amount, to the version that was read, or not at all."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from service.ledger import accrual
from service.ledger.timeline_lookup import TimelineLookup
from tests.conftest import sql
from tests.support.accruing import TERMS, TODAY, AccruingLoan, fields, shown


@pytest.fixture
def writer(make_token):
    """Headers with a token that may post."""
    return {"Authorization": f"Bearer {make_token(scopes='api:read api:write', userId='ann')}"}


@pytest.fixture
def loan(client, posting, writer):
    """A loan that accrues 10.00 a day."""
    return AccruingLoan(client, writer)


def test_what_has_accrued_is_charged_once(loan):
    first = loan.accrue("2020-03-02")
    assert shown(first) == [("interest", "2020-03-02", "610.00")]
    assert {name: first.json[name] for name in ("loan_id", "date", "balance", "currency", "version")} == {
        "loan_id": 10, "date": TODAY.isoformat(), "balance": "37110.00", "currency": "USD", "version": 2,
    }  # fmt: skip
    again = loan.accrue("2020-03-02", 200)
    assert again.json == {
        "loan_id": 10, "date": TODAY.isoformat(), "balance": "37110.00", "currency": "USD", "version": 2, "events": [],
    }  # fmt: skip
    assert (again.headers["ETag"][:3], again.headers["As-Of"] > "2020") == ('"2-', True)
    assert loan.events() == [("interest", "2020-03-02", "610.00")]
    assert loan.parts("2020-03-02") == {"fees": "0.00", "interest": "610.00", "principal": "36500.00"}


def test_the_event_says_who_charged_it_and_why(loan, posting):
    loan.accrue("2020-03-02")
    assert sql(posting, "SELECT posted_by, memo FROM loan_events WHERE loan_id = 10") == [
        ("ann", "accrued through 2020-03-02")
    ]


def test_each_month_charges_what_has_accrued_since_the_last(loan):
    amounts = [shown(loan.accrue(day))[0][2] for day in ("2020-01-31", "2020-02-29", "2020-03-31")]
    assert amounts == ["300.00", "290.00", "310.00"]


def test_a_correction_that_is_dated_back_charges_the_difference(loan):
    loan.accrue("2020-03-02")
    loan.post(("payment", "2020-02-01", "3650.00"))  # 1.00 a day less for 30 days
    assert shown(loan.accrue("2020-03-02")) == [("interest_credit", "2020-03-02", "30.00")]
    loan.accrue("2020-03-02", 200)
    loan.send(f"{loan.path}/terms", {**TERMS, "rate": "0.20"})
    assert shown(loan.accrue("2020-03-02")) == [("interest", "2020-03-02", "580.00")]
    loan.accrue("2020-03-02", 200)


def test_a_loan_without_terms_and_days_before_accrual_need_nothing(client, loan, writer):
    loan.accrue("2019-12-31", 200)
    loan.accrue("2020-01-01", 200)
    reply = client.post("/api/v1/loan/1/accrue", json={"date": "2020-03-02"}, headers=writer)
    assert (reply.status_code, reply.json["version"], reply.json["events"]) == (200, 3, [])


def test_interest_after_the_date_refuses_it_unless_it_is_reversed(loan):
    later = loan.accrue("2020-03-31").json["events"][0]
    refused = loan.accrue("2020-02-29", 422)
    assert refused.json["type"] == "urn:loaner:problem:posting-refused"
    assert refused.json["errors"] == [
        {"field": "date", "detail": "the loan has interest dated 2020-03-31, which is later"}
    ]
    loan.post(("interest", "2020-03-31", "900.00", later["tx_id"]))
    assert shown(loan.accrue("2020-02-29")) == [("interest", "2020-02-29", "590.00")]
    loan.post(("interest_credit", "2020-03-01", "1.00"))
    assert fields(loan.accrue("2020-02-29", 422)) == ["date"]


def test_a_date_after_today_is_refused(loan):
    assert fields(loan.accrue(TODAY + timedelta(days=1), 422)) == ["date"]
    loan.accrue(TODAY)


def test_a_date_in_a_closed_period_is_refused_even_if_nothing_is_to_be_charged(loan, admin):
    loan.accrue("2020-02-29")
    sql(admin, "SELECT close_period('2020-03-31', 'test')")
    for day in ("2020-02-29", "2020-03-31"):
        refused = loan.accrue(day, 422)
        expected = "expected a date after 2020-03-31, until which the ledger is closed"
        assert refused.json["errors"] == [{"field": "date", "detail": expected}]
    assert shown(loan.accrue("2020-04-01")) == [("interest", "2020-04-01", "320.00")]


def test_interest_that_the_ledger_cannot_store_is_refused(client, posting, writer):
    loan = AccruingLoan(client, writer, rate="10")
    loan.post(("fee", "2020-01-01", "1.00"))
    loan.send("/api/v1/loan", {"loan_id": 11, "start_date": "1900-01-01", "initial_amt": "9000000000000000.00"})
    loan.send("/api/v1/loan/11/terms", {**TERMS, "rate": "10", "effective_date": "1900-01-01"})
    for day in ("1901-01-01", "2020-01-01"):  # more than an amount may be, and more than 64 bits
        refused = loan.send("/api/v1/loan/11/accrue", {"date": day}, 422)
        expected = "the interest that has accrued exceeds what the ledger can store"
        assert refused.json["errors"] == [{"field": "date", "detail": expected}]


@pytest.mark.parametrize(
    ("body", "field"), [({}, "date"), ({"date": "2020-02-30"}, "date"), ({"date": "2020-03-02", "more": 1}, "more")]
)
def test_an_invalid_body_is_400(loan, body, field):
    assert fields(loan.send(f"{loan.path}/accrue", body, 400)) == [field]


def test_it_needs_a_loan_and_the_right_to_post(client, loan, bearer):
    loan.send("/api/v1/loan/999/accrue", {"date": "2020-03-02"}, 404)
    assert client.post(f"{loan.path}/accrue", json={"date": "2020-03-02"}, headers=bearer).status_code == 403


def test_only_post_is_allowed(client, loan, bearer):
    for method in ("GET", "PUT", "DELETE"):
        reply = client.open(f"{loan.path}/accrue", method=method, headers=bearer)
        assert reply.status_code == 405
        assert set(reply.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}


def test_a_repeated_request_gets_its_first_reply(loan):
    first = loan.accrue("2020-03-02", Idempotency_Key="k")
    loan.post(("payment", "2020-02-01", "3650.00"))
    again = loan.accrue("2020-03-02", Idempotency_Key="k")
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    reused = loan.accrue("2020-03-03", 409, Idempotency_Key="k")
    assert reused.json["type"] == "urn:loaner:problem:key-reused"
    loan.accrue("2020-01-01", 422, Idempotency_Key="other")  # interest is dated later
    assert shown(loan.accrue("2020-03-02", Idempotency_Key="other")) == [("interest_credit", "2020-03-02", "30.00")]


def test_a_repetition_that_finds_the_first_request_posted_gets_its_reply(loan, monkeypatch):
    first = []
    find = accrual.find_later_interest

    def race(*arguments):
        if not first:
            first.append(None)
            with ThreadPoolExecutor(1) as pool:
                first.append(pool.submit(loan.accrue, "2020-03-02", Idempotency_Key="k").result())
        return find(*arguments)

    monkeypatch.setattr(accrual, "find_later_interest", race)
    again = loan.accrue("2020-03-02", Idempotency_Key="k")
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first[1].data, "true")
    assert len(loan.events()) == 1


def test_it_obeys_the_expected_version(loan):
    loan.accrue("2020-01-31", 412, body={"expected_version": 2})
    loan.accrue("2020-01-31", body={"expected_version": 1})
    digest = "0f1e2d3c4b5a69788796a5b4"
    reply = loan.accrue("2020-02-29", 412, If_Match=f'"1-{digest}"')
    assert (reply.json["type"], reply.json["version"]) == ("urn:loaner:problem:version-changed", 2)
    loan.accrue("2020-02-29", If_Match=f'"1-{digest}", "2-{digest}"')
    loan.accrue("2020-02-29", 412, body={"expected_version": 2})


def test_no_cache_decides_that_nothing_is_to_be_charged(loan, monkeypatch):
    monkeypatch.setattr(TimelineLookup, "get", lambda *_: pytest.fail("a cache may be stale"))
    assert loan.accrue("2020-03-02").status_code == 201
    assert loan.accrue("2020-03-02", 200).json["events"] == []


def test_a_payment_that_is_posted_while_interest_is_computed_counts(loan, posting, monkeypatch):
    find, raced = accrual.find_later_interest, []

    def race(*arguments):
        if not raced:
            raced.append(sql(posting, "SELECT post_events('{10}', '{payment}', '{2020-02-01}', '{3650.00}')"))
        return find(*arguments)

    monkeypatch.setattr(accrual, "find_later_interest", race)
    assert shown(loan.accrue("2020-03-02")) == [("interest", "2020-03-02", "580.00")]


def test_simultaneous_requests_charge_once(loan):
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: loan.request(f"{loan.path}/accrue", {"date": "2020-03-02"}), range(8)))
    assert sorted(reply.status_code for reply in replies) == [200] * 7 + [201]
    assert loan.events() == [("interest", "2020-03-02", "610.00")]
