"""`known_at` and `parts` of requests about many loans: they agree with requests for single loans, and never change."""

import csv
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from io import StringIO

import pytest

from service.postgres.connect import connect

BALANCES = "/api/v1/balances"
PORTFOLIO = "/api/v1/portfolio/2020-12-31"
DAY = "2020-12-31"
SOON = "2999-01-01T00:00:00Z"


@pytest.fixture
def post(client, make_token):
    """Posts to the ledger, and returns the reply."""
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}

    def post(path, **body):
        reply = client.post(path, json=body, headers=headers)
        assert reply.status_code == 201, reply.text
        return reply.json

    return post


@pytest.fixture
def moments(post):
    """Recording times between postings: of a fee, its reversal, a loan in JPY, and an interest for it."""
    fee = post("/api/v1/loan/1/events", events=[{"event_type": "fee", "post_date": "2020-04-01", "amt": "7.00"}])
    reversal = {"event_type": "fee", "post_date": "2020-04-02", "amt": "7.00", "reverses": fee["events"][0]["tx_id"]}
    undone = post("/api/v1/loan/1/events", events=[reversal])
    loan = post("/api/v1/loan", loan_id=10, start_date="2020-05-01", initial_amt="1000", currency="JPY")
    interest = {"event_type": "interest", "post_date": "2020-06-01", "amt": "5"}
    last = post("/api/v1/loan/10/events", events=[interest])
    return [reply["recorded_at"] for reply in (fee, undone, loan, last)]


@pytest.fixture
def send(client, bearer):
    def send(status=200, **body):
        reply = client.post(BALANCES, json=body, headers=bearer)
        assert reply.status_code == status, reply.text
        return reply

    return send


@pytest.fixture
def report(client, bearer):
    def report(status=200, **query):
        reply = client.get(PORTFOLIO, query_string=query, headers=bearer)
        assert reply.status_code == status, reply.text
        return reply

    return report


def test_balances_known_at_a_time_equal_those_of_single_requests(client, bearer, moments, send):
    loans, days = [10, 1, 2, 3, 999], ["2020-04-01", "2020-04-02", DAY]
    for moment in moments:
        for snapshot in ({}, {"snapshot": True}):
            reply = send(loan_ids=loans, dates=days, known_at=moment, parts=True, **snapshot)
            assert "As-Of" not in reply.headers
            for item in reply.json["balances"]:
                path = f"/{item['loan_id']}/{item['date']}"
                single = client.get(path, query_string={"known_at": moment, "parts": "true"}, headers=bearer)
                if "error" in item:
                    assert (single.status_code, item["error"]) == (404, "unknown-loan")
                else:
                    expected = {name: value for name, value in single.json.items() if name != "allocation"}
                    assert item == expected, (moment, path)


def test_answers_for_a_time_never_change(moments, send, report, post):
    asked = [
        lambda moment: send(loan_ids=[1, 10], dates=[DAY], known_at=moment, parts=True),
        lambda moment: report(known_at=moment, parts="true"),
        lambda moment: report(known_at=moment),
        lambda moment: report(known_at=moment, format="csv", parts="true"),
        lambda moment: report(known_at=moment, format="csv"),
    ]
    before = [ask(moment).data for ask in asked for moment in moments]
    post("/api/v1/loan/1/events", events=[{"event_type": "payment", "post_date": "2020-01-01", "amt": "1"}])
    post("/api/v1/loan", loan_id=11, start_date="2020-01-01", initial_amt="1")
    assert [ask(moment).data for ask in asked for moment in moments] == before


def test_totals_and_rows_with_parts_agree_with_single_balances(client, bearer, moments, report):
    for known in ({}, *({"known_at": moment} for moment in moments)):
        singles = [
            client.get(f"/{loan}/{DAY}", query_string={**known, "parts": "true"}, headers=bearer).json
            for loan in (1, 2, 3, 10)
        ]
        singles = [single for single in singles if "balance" in single]
        reply = report(parts="true", **known)
        assert ("As-Of" in reply.headers) == (not known)
        for total in reply.json["totals"]:
            of_currency = [single for single in singles if single["currency"] == total["currency"]]
            assert total["loans"] == len(of_currency)
            assert Decimal(total["balance"]) == sum(Decimal(single["balance"]) for single in of_currency)
            for name, part in total["parts"].items():
                assert Decimal(part) == sum(Decimal(single["parts"][name]) for single in of_currency), (known, name)
        assert {total["currency"] for total in reply.json["totals"]} == {single["currency"] for single in singles}
        plain = report(**known).json["totals"]
        assert plain == [
            {name: value for name, value in total.items() if name != "parts"} for total in reply.json["totals"]
        ]
        rows = list(csv.DictReader(StringIO(report(parts="true", format="csv", **known).text)))
        assert [
            (int(row["loan_id"]), row["balance"], row["version"], row["fees"], row["interest"], row["principal"])
            for row in rows
            if row["loan_id"]
        ] == [
            (single["loan_id"], single["balance"], str(single["version"]), *single["parts"].values())
            for single in singles
        ]


def test_amounts_have_the_decimals_of_the_currency(moments, report, send):
    [yen, _] = report(parts="true").json["totals"]
    assert yen == {
        "currency": "JPY", "loans": 1, "balance": "1005",
        "parts": {"fees": "0", "interest": "5", "principal": "1000"},
    }  # fmt: skip
    assert send(loan_ids=[10], dates=[DAY]).json["balances"][0]["balance"] == "1005"


def test_a_time_that_is_too_recent_is_412_with_the_limit(send, report, settings):
    for reply in (
        send(412, loan_ids=[1], dates=[DAY], known_at=SOON),
        report(412, known_at=SOON),
        report(412, known_at=SOON, parts="true"),
        report(412, known_at=SOON, format="csv"),
        report(412, known_at=SOON, format="csv", parts="true"),
    ):
        assert reply.json["type"] == "urn:loaner:problem:time-not-reached"
        assert datetime.fromisoformat(reply.json["known_until"])
    with closing(connect(settings, "posting")) as slow, slow.cursor() as cursor:
        cursor.execute("SELECT create_loans(ARRAY[20], ARRAY['2020-01-01'::date], ARRAY[1], ARRAY['USD'])")
        [now] = sql_row(slow, "SELECT clock_timestamp()")
        for reply in (
            send(412, loan_ids=[1], dates=[DAY], known_at=now.isoformat()),
            report(412, known_at=now.isoformat()),
        ):
            assert datetime.fromisoformat(reply.json["known_until"]) < now


def sql_row(connection, query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"known_at": 1}, "known_at"), ({"known_at": None}, "known_at"), ({"known_at": "2020-01-01"}, "known_at"),
        ({"known_at": ""}, "known_at"), ({"known_at": ["2020-01-01T00:00:00Z"]}, "known_at"), ({"parts": 1}, "parts"),
        ({"parts": "true"}, "parts"), ({"parts": None}, "parts"), ({"as_of_version": 1}, "as_of_version"),
    ],
)  # fmt: skip
@pytest.mark.shared_ledger
def test_an_invalid_member_is_400_and_named(send, members, field):
    reply = send(400, loan_ids=[1], dates=[DAY], **members)
    assert [error["field"] for error in reply.json["errors"]] == [field]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"known_at": "x"}, "known_at"), ({"known_at": ""}, "known_at"), ({"parts": "1"}, "parts"),
        ({"parts": ""}, "parts"), ({"as_of_version": "1"}, "as_of_version"), ({"explain": "true"}, "explain"),
    ],
)  # fmt: skip
@pytest.mark.shared_ledger
def test_an_invalid_parameter_of_the_portfolio_is_400_and_named(report, query, field):
    reply = report(400, **query)
    assert [error["field"] for error in reply.json["errors"]] == [field]


@pytest.mark.shared_ledger
def test_before_the_first_loan_nothing_was_known(send, report):
    reply = send(loan_ids=[1, 2], dates=[DAY], known_at="2000-01-01t00:00:00.123456789z")
    assert {item["error"] for item in reply.json["balances"]} == {"unknown-loan"}
    assert report(known_at="2000-01-01T00:00:00Z", parts="true").json["totals"] == []
