"""Balance histories: the points of each step, and rejected requests."""

from datetime import UTC, datetime

import pytest

pytestmark = pytest.mark.shared_ledger

HISTORY = "/api/v1/loan/1/history"


def points(reply):
    assert reply.status_code == 200, reply.text
    return [(point["date"], point["balance"]) for point in reply.json["balances"]]


def test_the_default_range_is_from_the_start_date_to_today(client, bearer):
    before = datetime.now(UTC).date().isoformat()
    reply = client.get(HISTORY, headers=bearer)
    assert points(reply) == [
        ("2019-12-05", "1000.00"), ("2020-01-31", "1010.00"), ("2020-02-29", "899.50"), ("2020-03-01", "899.55"),
    ]  # fmt: skip
    members = {name: value for name, value in reply.json.items() if name not in ("balances", "to")}
    assert members == {"loan_id": 1, "currency": "USD", "version": 3, "from": "2019-12-05", "step": "change"}
    assert before <= reply.json["to"] <= datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("to=2019-12-01", [("2019-12-01", "0.00")]),
        ("to=2019-12-31", [("2019-12-05", "1000.00")]),
        ("from=9999-12-31", [("9999-12-31", "899.55")]),
        ("from=2019-12-04&to=2019-12-05", [("2019-12-04", "0.00"), ("2019-12-05", "1000.00")]),
        ("from=2020-02-28&to=2020-03-01&step=day",
         [("2020-02-28", "1010.00"), ("2020-02-29", "899.50"), ("2020-03-01", "899.55")]),
        ("from=2019-12-31&to=2020-02-02&step=month",
         [("2019-12-31", "1000.00"), ("2020-01-31", "1010.00"), ("2020-02-02", "1010.00")]),
        ("from=2020-02-01&to=2020-02-29&step=month", [("2020-02-29", "899.50")]),
        ("from=9999-12-01&to=9999-12-31&step=month", [("9999-12-31", "899.55")]),
        ("from=0001-01-01&to=0001-01-01&step=day", [("0001-01-01", "0.00")]),
    ],
)  # fmt: skip
def test_the_step_selects_the_days(client, bearer, query, expected):
    assert points(client.get(f"{HISTORY}?{query}", headers=bearer)) == expected


def test_a_day_whose_events_cancel_each_other_is_not_a_change(client, bearer, posting):
    with posting, posting.cursor() as cursor:
        cursor.execute(
            "SELECT post_events(ARRAY[3, 3], ARRAY['fee', 'payment'], ARRAY['2020-07-01', '2020-07-01']::date[],"
            " ARRAY[1.00, 1.00])"
        )
    assert points(client.get("/api/v1/loan/3/history?to=2020-12-31", headers=bearer)) == [("2020-06-01", "50.00")]


@pytest.mark.parametrize(
    ("query", "field", "expected"),
    [
        ("from=2020-02-30", "from", "expected a date that exists"),
        ("from=", "from", "expected a date written"),
        ("to=yesterday", "to", "expected a date written"),
        ("from=2020-02-02&to=2020-02-01", "from", "expected a date that is not after `to`, 2020-02-01"),
        ("step=week", "step", "expected one of change, day, month"),
        ("step=", "step", "expected one of"),
        ("min_version=x", "min_version", "expected a whole number"),
        ("from=0001-01-01&to=9999-12-31&step=day", "step", "expected at most 10000 points, got 3652059"),
        ("from=0001-01-01&to=9999-12-31&step=month", "step", "expected at most 10000 points, got 119988"),
        ("from=2000-01-01&to=2027-05-19&step=day", "step", "expected at most 10000 points, got 10001"),
    ],
)
def test_an_invalid_parameter_is_400_and_named(client, bearer, query, field, expected):
    reply = client.get(f"{HISTORY}?{query}", headers=bearer)
    assert (reply.status_code, [error["field"] for error in reply.json["errors"]]) == (400, [field])
    assert reply.json["errors"][0]["detail"].startswith(expected)


def test_ten_thousand_points_are_returned(client, bearer):
    found = points(client.get(f"{HISTORY}?from=2000-01-01&to=2027-05-18&step=day", headers=bearer))
    assert (len(found), found[-1]) == (10_000, ("2027-05-18", "899.55"))


def test_more_than_ten_thousand_changes_are_rejected(client, bearer, posting):
    with posting, posting.cursor() as cursor:
        cursor.execute(
            "SELECT post_events(array_agg(3), array_agg('fee'::text), array_agg('2020-06-01'::date + n),"
            " array_agg(1.00)) FROM generate_series(1, 10000) AS n"
        )
    whole = client.get("/api/v1/loan/3/history?to=9999-12-31", headers=bearer)
    assert (whole.status_code, whole.json["errors"][0]["field"]) == (400, "step")
    assert "10001" in whole.json["message"]
    part = client.get("/api/v1/loan/3/history?from=2020-06-02&to=9999-12-31", headers=bearer)
    assert points(part)[-1] == ("2047-10-18", "10050.00")


@pytest.mark.parametrize(("path", "status"), [("/api/v1/loan/999/history", 404), ("/api/v1/loan/x/history", 400)])
def test_an_unknown_or_invalid_loan_is_rejected(client, bearer, path, status):
    assert client.get(path, headers=bearer).status_code == status
