"""Payments with `accrue`: what has accrued by their dates is charged in the same transaction, and they pay it."""

from datetime import date, timedelta

import pytest

from service.ledger import accrued_events
from tests.conftest import sql
from tests.integration.service.web.test_accrue import writer  # noqa: F401
from tests.support.accruing import TERMS, TODAY, AccruingLoan, fields, shown

FEBRUARY = ("payment", "2020-02-01", "1310.00")


@pytest.fixture
def loan(client, posting, writer):  # noqa: F811
    """A loan that accrues 10.00 a day."""
    return AccruingLoan(client, writer)


def test_a_payment_pays_what_has_accrued_by_its_date(loan):
    reply = loan.post(FEBRUARY, accrue=True)
    assert shown(reply) == [("interest", "2020-02-01", "310.00"), FEBRUARY]
    assert [event["version"] for event in reply.json["events"]] == [2, 3]
    assert loan.parts("2020-02-01") == {"fees": "0.00", "interest": "0.00", "principal": "35500.00"}
    without = loan.another(11)
    assert shown(without.post(FEBRUARY)) == [FEBRUARY]
    assert without.parts("2020-02-01")["principal"] == "35190.00"


def test_each_date_is_accrued_after_the_earlier_payments(loan):
    # From 2020-02-01 on 32,850.00 accrue 9.00 a day.
    payments = [
        ("payment", "2020-03-01", "1.00"), ("payment", "2020-02-01", "3960.00"), ("payment", "2020-03-01", "2.00"),
    ]  # fmt: skip
    assert shown(loan.post(*payments, accrue=True)) == [
        ("interest", "2020-03-01", "261.00"), payments[0], ("interest", "2020-02-01", "310.00"), *payments[1:],
    ]  # fmt: skip
    loan.accrue("2020-03-01", 200)


def test_what_was_charged_too_much_is_credited_before_the_payment(loan):
    loan.post(("interest", "2020-02-01", "400.00"))
    assert shown(loan.post(FEBRUARY, accrue=True)) == [("interest_credit", "2020-02-01", "90.00"), FEBRUARY]


def test_interest_of_the_request_counts(loan):
    given = [("interest", "2020-01-15", "100.00"), FEBRUARY, ("interest", "2020-02-01", "10.00")]
    assert shown(loan.post(*given, accrue=True)) == [given[0], ("interest", "2020-02-01", "200.00"), *given[1:]]


def test_only_payments_are_accrued(loan):
    paid = loan.post(FEBRUARY, accrue=True).json["events"][1]
    others = [("fee", "2020-02-10", "5.00"), ("payment", "2020-02-20", "1310.00", paid["tx_id"])]
    assert len(shown(loan.post(*others, accrue=True))) == 2


def test_a_reversal_of_the_request_counts(loan):
    loan.accrue("2020-01-15")
    paid = loan.post(FEBRUARY, accrue=True).json["events"][1]
    reply = loan.post(
        ("payment", "2020-02-10", "1310.00", paid["tx_id"]), ("payment", "2020-02-11", "410.00"), accrue=True
    )
    assert shown(reply)[1:] == [("interest", "2020-02-11", "100.00"), ("payment", "2020-02-11", "410.00")]
    assert loan.parts("2020-02-11") == {"fees": "0.00", "interest": "0.00", "principal": "36500.00"}


def test_nothing_is_inserted_if_nothing_has_accrued(loan):
    loan.accrue("2020-02-01")
    assert shown(loan.post(FEBRUARY, accrue=True)) == [FEBRUARY]


def test_interest_after_a_payment_in_the_request_refuses_it(loan):
    refused = loan.post(("interest", "2020-03-02", "610.00"), FEBRUARY, status=422, accrue=True)
    assert fields(refused) == ["events.1.post_date"]
    assert loan.events() == []


def test_a_request_may_reverse_the_interest_after_its_payment(loan):
    charged = loan.accrue("2020-03-02").json["events"][0]
    reply = loan.post(("interest", "2020-03-02", "610.00", charged["tx_id"]), FEBRUARY, accrue=True)
    assert shown(reply)[1:] == [("interest", "2020-02-01", "310.00"), FEBRUARY]


def test_interest_after_a_payment_in_the_ledger_refuses_it(loan):
    loan.accrue("2020-03-31")
    refused = loan.post(("fee", "2020-02-01", "1.00"), FEBRUARY, ("payment", "2020-03-31", "1.00"), FEBRUARY,
                        status=422, accrue=True)  # fmt: skip
    assert fields(refused) == ["events.1.post_date", "events.3.post_date"]
    assert len(loan.events()) == 1


def test_a_payment_after_today_is_refused(loan):
    tomorrow = ("payment", str(TODAY + timedelta(days=1)), "1.00")
    refused = loan.post(("payment", str(TODAY), "1.00"), tomorrow, status=422, accrue=True)
    assert fields(refused) == ["events.1.post_date"]
    loan.post(tomorrow)


def test_payments_have_at_most_100_dates(loan):
    first = date(2020, 2, 1)
    payments = [("payment", str(first + timedelta(days=n)), "20.00") for n in range(101)]
    assert fields(loan.post(*payments, status=400, accrue=True)) == ["events"]
    assert len(shown(loan.post(*payments[:100], payments[0], accrue=True))) == 201


def test_accrue_is_a_boolean(loan):
    for value in ("true", 1, None):
        assert fields(loan.post(FEBRUARY, status=400, accrue=value)) == ["accrue"]
    assert shown(loan.post(FEBRUARY, accrue=False)) == [FEBRUARY]


@pytest.mark.parametrize(
    ("events", "status", "expected"),
    [
        ([FEBRUARY, ("payment", "2020-03-01", "1.001")], 400, ["events.1.amt"]),
        ([FEBRUARY, ("payment", "2020-03-01", "99999999999999999")], 400, ["events.1.amt"]),
        ([FEBRUARY, ("fee", "2020-03-01", "1.00", 999)], 422, ["events.1.reverses"]),
        ([FEBRUARY, ("payment", "2020-03-01", "1.00", 1)], 422, ["events.1.reverses"]),
        ([("payment", "2020-01-10", "5.00"), FEBRUARY], 422, ["events.0.post_date"]),
    ],
)
def test_errors_name_the_events_of_the_caller(loan, admin, events, status, expected):
    sql(admin, "SELECT close_period('2020-01-15', 'test')")
    assert fields(loan.post(*events, status=status, accrue=True)) == expected
    assert loan.events() == []


def test_a_reversal_that_is_dated_before_its_event_or_repeated_is_named(loan):
    paid = loan.post(FEBRUARY, accrue=True).json["events"][1]["tx_id"]
    payment = ("payment", "2020-03-01", "20.00")
    early = loan.post(payment, ("payment", "2020-01-31", "1310.00", paid), status=422, accrue=True)
    assert fields(early) == ["events.1.post_date"]
    loan.post(("payment", "2020-02-01", "1310.00", paid))
    repeated = loan.post(payment, ("payment", "2020-02-01", "1310.00", paid), status=409, accrue=True)
    assert fields(repeated) == ["events.1.reverses"]


def test_a_source_id_that_is_taken_is_named(loan):
    def send(status):
        events = [
            {"event_type": kind, "post_date": "2020-02-01", "amt": "5.00", "source_id": f"{kind} 1"}
            for kind in ("fee", "payment")
        ]
        return loan.send(f"{loan.path}/events", {"events": events, "accrue": True}, status)

    send(201)
    assert fields(send(409)) == ["events.0.source_id", "events.1.source_id"]


def test_interest_that_the_ledger_cannot_store_is_named_at_the_payment(loan):
    loan.send("/api/v1/loan", {"loan_id": 11, "start_date": "1900-01-01", "initial_amt": "9000000000000000.00"})
    loan.send("/api/v1/loan/11/terms", {**TERMS, "rate": "10", "effective_date": "1900-01-01"})
    for day in ("1901-01-01", "2020-01-01"):
        events = [{"event_type": kind, "post_date": day, "amt": "1.00"} for kind in ("fee", "payment")]
        refused = loan.send("/api/v1/loan/11/events", {"events": events, "accrue": True}, 422)
        assert fields(refused) == ["events.1.post_date"]


def test_amounts_whose_sum_the_ledger_cannot_store_are_refused(loan):
    large = [("fee", "2020-02-01", "9999999999999999.00")] * 10
    assert fields(loan.post(*large, FEBRUARY, status=422, accrue=True)) == ["events"]


def test_a_repeated_request_gets_its_first_reply(loan):
    first = loan.post(FEBRUARY, accrue=True, key="k")
    loan.accrue("2020-03-31")  # a new request would be refused
    again = loan.post(FEBRUARY, accrue=True, key="k")
    assert (again.data, again.headers["Idempotent-Replayed"]) == (first.data, "true")
    assert loan.post(FEBRUARY, status=409, key="k").json["type"] == "urn:loaner:problem:key-reused"


def test_an_amount_of_18_digits_with_a_key_is_named(loan):
    large = ("payment", "2020-02-01", "999999999999999999")
    for accrue in (False, True):
        assert fields(loan.post(large, status=400, accrue=accrue, key="k")) == ["events.0.amt"]
    body = {"loan_id": 11, "start_date": "2020-01-01", "initial_amt": "999999999999999999"}
    assert fields(loan.send("/api/v1/loan", body, 400, Idempotency_Key="k")) == ["initial_amt"]


def test_it_obeys_the_expected_version(loan):
    loan.post(FEBRUARY, status=412, accrue=True, expected_version=0)
    loan.post(FEBRUARY, accrue=True, expected_version=1)
    loan.send("/api/v1/loan/999/events", {"events": [dict(zip(("event_type", "post_date", "amt"), FEBRUARY,
                                                              strict=True))], "accrue": True}, 404)  # fmt: skip


def test_a_payment_that_is_posted_in_between_counts(loan, posting, monkeypatch):
    charge, raced = accrued_events.charge_on, []

    def race(*arguments):
        if not raced:
            raced.append(sql(posting, "SELECT post_events('{10}', '{payment}', '{2020-01-22}', '{3650.00}')"))
        return charge(*arguments)

    monkeypatch.setattr(accrued_events, "charge_on", race)
    assert shown(loan.post(FEBRUARY, accrue=True))[0] == ("interest", "2020-02-01", "300.00")


def test_a_check_returned_after_three_months_costs_no_interest(loan):
    check = loan.post(("payment", "2020-01-31", "3950.00"), accrue=True).json["events"][1]
    # 32,850.00 accrue 9.00 a day.
    assert [shown(loan.accrue(day))[0][2] for day in ("2020-02-29", "2020-03-31")] == ["261.00", "279.00"]
    loan.post(("payment", "2020-04-30", "3950.00", check["tx_id"]))
    # April's 300.00, and 1.00 for each of the 60 days before.
    assert shown(loan.accrue("2020-04-30")) == [("interest", "2020-04-30", "360.00")]
    assert loan.parts("2020-04-30") == {"fees": "0.00", "interest": "1200.00", "principal": "36500.00"}
    unpaid = loan.another(11)
    unpaid.accrue("2020-04-30")
    assert unpaid.balance("2020-04-30") == loan.balance("2020-04-30") == "37700.00"
