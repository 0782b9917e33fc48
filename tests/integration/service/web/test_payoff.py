"""Payoff and arrears over HTTP: the parts, later days, explanations, both time axes, and what other replies add."""

from contextlib import closing
from fractions import Fraction
from hashlib import sha256

import pytest

from service.ledger.posting import to_rfc3339
from service.postgres.connect import connect
from service.web.routes import history
from tests.conftest import serving, sql
from tests.support.agreements import post_events, post_schedules, post_terms
from tests.support.application import build_app

PAYOFF = "/api/v1/loan/365/payoff"
ARREARS = "/api/v1/loan/365/arrears"


@pytest.fixture(scope="module")
def ledger(databases):
    """A database whose loan 365 accrues 10.00 a day from 2020-01-01, with three installments; 366 has no terms."""
    with databases.create() as settings:
        with closing(connect(settings, "posting")) as connection:
            sql(
                connection,
                "SELECT create_loans('{365,366,367}', '{2020-01-01,2020-01-01,2020-01-01}',"
                " '{36500.00,100.00,90000000000000.00}', '{USD,USD,USD}')",
            )
            post_terms(connection, (365, "2020-01-01", "0.10"))
            installments = [("2020-02-01", "310.00"), ("2020-03-01", "290.00"), ("2020-04-01", "310.00")]
            post_schedules(connection, (365, "2020-01-01", installments))
            post_events(connection, 365, ("fee", "2020-02-10", "25.00"), ("payment", "2020-02-15", "335.00"))
            post_terms(connection, (367, "0001-01-01", "10"))
        yield settings


@pytest.fixture(scope="module")
def app(ledger, keys_dir):
    """An application over the database."""
    return build_app(serving(ledger, keys_dir))


@pytest.fixture
def get(app, bearer):
    """Get a path, and return the members of the reply."""

    def get(path, status=200):
        reply = app.test_client().get(path, headers=bearer)
        assert reply.status_code == status, reply.text
        return reply.json

    return get


def test_the_payoff_is_the_sum_of_its_parts(get):
    assert get(f"{PAYOFF}/2020-02-14") == {
        "loan_id": 365, "date": "2020-02-14", "currency": "USD", "version": 4, "principal": "36500.00",
        "interest_charged": "0.00", "interest_uncharged": "440.00", "fees": "25.00", "total": "36965.00",
        "per_diem": "10.00",
    }  # fmt: skip


def test_a_payment_lowers_the_interest_from_its_date_on(get):
    paid = get(f"{PAYOFF}/2020-02-15")
    assert (paid["principal"], paid["fees"], paid["interest_uncharged"]) == ("36190.00", "0.00", "450.00")
    later = get(f"{PAYOFF}/2020-02-16")
    # 45 days on 36,500.00 and one on 36,190.00, whose interest is 9.915...
    assert (later["interest_uncharged"], later["per_diem"]) == ("459.92", "9.92")


def test_good_through_adds_the_exact_total_of_each_further_day(get):
    found = get(f"{PAYOFF}/2020-02-14?good_through=2020-02-17")
    assert found["totals"] == [
        {"date": day, "total": get(f"{PAYOFF}/{day}")["total"]} for day in ("2020-02-15", "2020-02-16", "2020-02-17")
    ]
    assert "totals" not in get(f"{PAYOFF}/2020-02-14")
    assert get(f"{PAYOFF}/2020-02-14?good_through=2020-02-14")["totals"] == []


@pytest.mark.parametrize("last", ["2020-02-13", "2021-02-15", "9999-12-31"])
def test_good_through_is_bounded(get, last):
    refused = get(f"{PAYOFF}/2020-02-14?good_through={last}", 400)
    assert refused["errors"] == [
        {"field": "good_through", "detail": "expected a date from 2020-02-14 to 2021-02-14, 366 days later"}
    ]


def test_a_client_can_recompute_the_explanation(get):
    found = get(f"{PAYOFF}/2020-02-16?explain=true")
    interest = [Fraction(segment["interest"]) for segment in found["segments"]]
    assert [(s["from"], s["to"], s["principal"], s["rate"], s["days"]) for s in found["segments"]] == [
        ("2020-01-01", "2020-02-15", "36500.00", "0.1", 45),
        ("2020-02-15", "2020-02-16", "36190.00", "0.1", 1),
    ]
    assert interest == [45 * Fraction(3_650_000, 3650), Fraction(3_619_000, 3650)]
    assert Fraction(found["accrued"]) == sum(interest)
    uncharged = Fraction(found["accrued"]) - Fraction(found["charged"]) * 100
    assert round(uncharged) == Fraction(found["interest_uncharged"]) * 100
    lines = [
        "365,USD,2020-01-01,36500.00",
        *(
            ",".join(str(segment[name]) for name in
                     ("from", "to", "principal", "rate", "day_count", "days", "interest"))
            for segment in found["segments"]
        ),
        f"{found['accrued']},{found['charged']}",
        ",".join(found[name] for name in
                 ("date", "principal", "interest_charged", "interest_uncharged", "fees", "total")),
    ]  # fmt: skip
    assert found["digest"] == sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def test_a_loan_without_terms_accrues_nothing_and_is_current(get):
    payoff, arrears = get("/api/v1/loan/366/payoff/2020-12-31"), get("/api/v1/loan/366/arrears/2020-12-31")
    assert (payoff["total"], payoff["interest_uncharged"], payoff["per_diem"]) == ("100.00", "0.00", "0.00")
    assert (arrears["bucket"], arrears["due"], arrears["installments"]) == ("current", "0.00", [])


def test_before_the_start_nothing_is_owed(get):
    assert get(f"{PAYOFF}/2019-12-31")["total"] == "0.00"
    assert get(f"{ARREARS}/2019-12-31")["installments"] == []


@pytest.mark.parametrize(
    ("day", "due", "past_due", "days", "bucket", "oldest"),
    [
        ("2020-01-31", "0.00", "0.00", 0, "current", None),
        ("2020-02-01", "310.00", "0.00", 0, "current", "2020-02-01"),  # due on its date
        ("2020-02-02", "310.00", "310.00", 1, "1-30", "2020-02-01"),  # past due from the next day
        ("2020-02-15", "0.00", "0.00", 0, "current", None),  # 335.00 less the fee of 25.00
        ("2020-03-01", "290.00", "0.00", 0, "current", "2020-03-01"),
        ("2020-04-02", "600.00", "600.00", 32, "31-60", "2020-03-01"),
        ("2020-07-01", "600.00", "600.00", 122, "over 120", "2020-03-01"),
    ],
)
def test_arrears(get, day, due, past_due, days, bucket, oldest):
    found = get(f"{ARREARS}/{day}")
    assert (found["due"], found["past_due"], found["days"], found["bucket"], found["oldest_due_date"]) == (
        due, past_due, days, bucket, oldest,
    )  # fmt: skip


def test_unsatisfied_installments_are_listed(get):
    assert get(f"{ARREARS}/2020-02-15")["installments"] == [
        {"due_date": "2020-03-01", "amt": "290.00", "satisfied": "0.00"},
        {"due_date": "2020-04-01", "amt": "310.00", "satisfied": "0.00"},
    ]


@pytest.mark.parametrize("path", ["payoff/2020-12-31", "payoff/2020-12-31?explain=true", "arrears/9999-12-31"])
def test_an_amount_beyond_64_bits_is_422_and_named(get, path):
    refused = get(f"/api/v1/loan/367/{path.replace('2020-12-31', '9999-12-31')}", 422)
    assert (refused["type"], refused["loan_id"]) == ("urn:loaner:problem:amount-too-large", 367)


@pytest.mark.parametrize(
    "path", [f"{PAYOFF}/2020-02-30", f"{ARREARS}/yesterday", f"{PAYOFF}/2020-02-01?goodthrough=2020-02-02",
             f"{ARREARS}/2020-02-01?as_of_version=1&known_at=2020-01-01T00:00:00Z"]
)  # fmt: skip
def test_bad_input_is_400(get, path):
    assert get(path, 400)["errors"]


def test_an_unknown_loan_is_404(get):
    get("/api/v1/loan/999/payoff/2020-02-01", 404)


def test_arrears_of_april_as_known_in_may_and_in_july(databases, keys_dir, bearer):
    """A payment of March that is recorded later changes the arrears of April only for those who know of it."""
    with databases.create() as settings, closing(connect(settings, "posting")) as connection:
        sql(connection, "SELECT create_loans('{365}', '{2020-01-01}', '{36500.00}', '{USD}')")
        post_terms(connection, (365, "2020-01-01", "0.10"))
        post_schedules(connection, (365, "2020-01-01", [("2020-03-15", "310.00")]))
        client = build_app(serving(settings, keys_dir)).test_client()

        def arrears(query=""):
            reply = client.get(f"{ARREARS}/2020-04-20{query}", headers=bearer)
            assert reply.status_code == 200, reply.text
            return reply.json["past_due"], reply.json["days"]

        assert arrears() == ("310.00", 36)
        [[before, version]] = sql(connection, "SELECT recorded_at, version FROM loan_schedules")
        post_events(connection, 365, ("payment", "2020-03-10", "310.00"))
        [[after]] = sql(connection, "SELECT recorded_at FROM loan_events")
        assert arrears() == arrears(f"?known_at={to_rfc3339(after)}") == ("0.00", 0)
        assert arrears(f"?known_at={to_rfc3339(before)}") == arrears(f"?as_of_version={version}") == ("310.00", 36)


def test_a_cached_loan_answers_with_new_terms(databases, keys_dir, bearer):
    with databases.create() as settings, closing(connect(settings, "posting")) as connection:
        sql(connection, "SELECT create_loans('{365}', '{2020-01-01}', '{36500.00}', '{USD}')")
        client = build_app(serving(settings, keys_dir)).test_client()
        path = f"{PAYOFF}/2020-01-11"
        assert client.get(path, headers=bearer).json["interest_uncharged"] == "0.00"
        for rate, expected in (("0.10", "100.00"), ("0.20", "200.00")):
            post_terms(connection, (365, "2020-01-01", rate))
            assert client.get(path, headers=bearer).json["interest_uncharged"] == expected


def test_a_check_that_is_returned_after_three_months_costs_no_interest(databases, keys_dir, bearer):
    with databases.create() as settings, closing(connect(settings, "posting")) as connection:
        sql(connection, "SELECT create_loans('{365,366}', '{2020-01-01,2020-01-01}', '{36500,36500}', '{USD,USD}')")
        for loan in (365, 366):
            post_terms(connection, (loan, "2020-01-01", "0.10"))
        post_events(connection, 365, ("payment", "2020-02-01", "3650.00"))
        [[tx_id]] = sql(connection, "SELECT tx_id FROM loan_events")
        sql(
            connection,
            "SELECT append_events('{365}', '{payment}', '{2020-05-01}', '{3650.00}', NULL, ARRAY[%s]::bigint[], NULL,"
            " NULL, NULL)",
            tx_id,
        )
        client = build_app(serving(settings, keys_dir)).test_client()

        def payoff(loan, day):
            found = client.get(f"/api/v1/loan/{loan}/payoff/{day}", headers=bearer).json
            return found["principal"], found["interest_uncharged"], found["total"]

        assert payoff(365, "2020-04-30") == ("32850.00", "1111.00", "33961.00")  # 31 days of 10.00, 89 of 9.00
        assert payoff(365, "2020-05-01") == payoff(366, "2020-05-01") == ("36500.00", "1210.00", "37710.00")


def test_a_history_shows_payoff_and_arrears_when_requested(get):
    path = "/api/v1/loan/365/history?from=2020-02-01&to=2020-02-02&step=day"
    assert get(f"{path}&payoff=true&arrears=true")["balances"] == [
        {"date": "2020-02-01", "balance": "36500.00", "interest_uncharged": "310.00", "payoff": "36810.00",
         "past_due": "0.00", "days_past_due": 0},
        {"date": "2020-02-02", "balance": "36500.00", "interest_uncharged": "320.00", "payoff": "36820.00",
         "past_due": "310.00", "days_past_due": 1},
    ]  # fmt: skip
    assert get(path)["balances"][0] == {"date": "2020-02-01", "balance": "36500.00"}


def test_a_history_with_payoffs_is_bounded_by_points_times_events(get, monkeypatch):
    path = "/api/v1/loan/365/history?from=2020-02-01&to=2020-02-10&step=day"
    monkeypatch.setattr(history, "MAX_STEPS", 19)  # ten points, two events
    for flag in ("payoff", "arrears"):
        [error] = get(f"{path}&{flag}=true", 400)["errors"]
        assert error["field"] == "step"
    assert len(get(path)["balances"]) == 10


def test_a_statement_shows_payoff_and_arrears_of_its_last_day(app, bearer, get):
    path = "/api/v1/loan/365/statement?from=2020-02-01&to=2020-02-02"
    found = get(f"{path}&payoff=true&arrears=true")
    members = ("interest_uncharged", "payoff", "past_due", "days_past_due")
    assert [found[name] for name in members] == ["320.00", "36820.00", "310.00", 1]
    assert not set(members) & set(get(path))
    rows = app.test_client().get(f"{path}&payoff=true&arrears=true&format=csv", headers=bearer).text.splitlines()
    assert rows[0].endswith(",reversed_by,interest_uncharged,payoff,past_due,days_past_due,loan_id,currency")
    assert rows[-1] == ",closing,2020-02-02,,,,36500.00,,,,,320.00,36820.00,310.00,1,365,USD"


def test_the_etag_of_a_csv_depends_on_its_columns(app, bearer):
    path = "/api/v1/loan/365/statement?to=2020-02-02&format=csv"
    queries = ("", "&payoff=true", "&arrears=true", "&payoff=true&arrears=true", "&provenance=true")
    tags = [app.test_client().get(path + query, headers=bearer).headers["ETag"] for query in queries]
    assert len(set(tags)) == len(queries)


def test_many_balances_show_payoff_and_arrears_when_requested(app, bearer):
    body = {"loan_ids": [365, 367, 999], "dates": ["2020-02-02", "9999-12-31"], "payoff": True, "arrears": True}
    found = app.test_client().post("/api/v1/balances", json=body, headers=bearer).json["balances"]
    assert found[0] == {
        "loan_id": 365, "date": "2020-02-02", "balance": "36500.00", "currency": "USD", "version": 4,
        "interest_uncharged": "320.00", "payoff": "36820.00", "past_due": "310.00", "days_past_due": 1,
    }  # fmt: skip
    assert [item.get("error") for item in found] == [
        None, None, None, "amount-too-large", "unknown-loan", "unknown-loan",
    ]  # fmt: skip


def test_parts_name_the_order_in_effect(databases, keys_dir, bearer):
    with databases.create() as settings, closing(connect(settings, "posting")) as connection:
        sql(connection, "SELECT create_loans('{365}', '{2020-01-01}', '{100.00}', '{USD}')")
        post_terms(connection, (365, "2020-02-01", "0"), allocation=("principal", "fees", "interest"))
        post_events(connection, 365, ("fee", "2020-01-02", "5.00"), ("payment", "2020-02-01", "10.00"))
        client = build_app(serving(settings, keys_dir)).test_client()
        before, after = (
            client.get(f"/api/v1/loan/365/{day}?parts=true", headers=bearer).json
            for day in ("2020-01-31", "2020-02-01")
        )
    assert before["allocation"] == ["fees", "interest", "principal"]
    assert after["allocation"] == ["principal", "fees", "interest"]
    assert after["parts"] == {"fees": "5.00", "interest": "0.00", "principal": "90.00"}
