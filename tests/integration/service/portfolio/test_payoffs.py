"""Payoff and arrears of all loans: both ways agree with the model and with requests for single loans."""

from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest

from service.domain.arrears import BUCKETS
from service.portfolio.columnar import ColumnarPortfolio
from service.portfolio.rows import Details, LoanBalance, Total
from service.portfolio.sync import refresh
from tests.conftest import sql
from tests.models import payoff_generator
from tests.models.payoff_generator import LoanGenerator
from tests.models.payoff_model import Event, Loan, Schedule, Terms
from tests.support.agreements import post_schedules, post_terms
from tests.support.random_loans import moment_of, store, to_decimal

ALL = Details(parts=True, payoff=True, arrears=True)
START = date(2020, 1, 1)
PRINCIPAL_FIRST = ("principal", "fees", "interest")
MOST = 10**18 - 1  # the largest principal
INTEREST_BEYOND_64_BITS = Loan(START, MOST, terms=(Terms(1, START, Fraction(10), "ACT/360"),))
LATE_ON = date(2020, 2, 29)
LATE = [  # at both ends of each bucket
    Loan(START, 10_000, schedules=(Schedule(1, START, ((LATE_ON - timedelta(days=days), 5_000),)),))
    for days in (0, 1, 30, 31, 60, 61, 90, 91, 120, 121)
]
NOT_AT_ONCE = date(2020, 6, 1)  # the interest still fits
MUCH_LATER = date(2021, 6, 1)


@pytest.fixture
def settings(databases):
    """Settings for an empty ledger."""
    with databases.create() as chosen:
        yield chosen


@pytest.fixture
def generated(admin, monkeypatch):
    """Random loans, which the ledger has, too. One of them has more interest than 64 bits hold."""
    # The model walks from day to day, so all loans are of the same years.
    monkeypatch.setattr(payoff_generator, "ANCHORS", (date(2020, 1, 31), date(2020, 2, 28)))
    generator = LoanGenerator(Random(7), large=2**55)  # amounts have at most 18 digits
    loans = [generator.generate() for _ in range(100)] + [*LATE, INTEREST_BEYOND_64_BITS]
    store(admin, loans)
    return loans


def expected_row(loan_id: int, loan: Loan, day: date) -> LoanBalance:
    payoff, arrears, _, _ = loan.answers(day)
    parts = tuple(text(part, loan) for part in (payoff.fees, payoff.interest, payoff.principal))
    balance = text(loan.balance(day), loan)
    if not all(-(2**63) <= amount < 2**63 for amount in (payoff.uncharged, payoff.total)):
        return LoanBalance(loan_id, balance, loan.currency, loan.version, parts, ("",) * 2, ("",) * 3, 1)
    shown = text(payoff.uncharged, loan), text(payoff.total, loan)
    late = text(arrears.past_due, loan), str(arrears.days), arrears.bucket
    return LoanBalance(loan_id, balance, loan.currency, loan.version, parts, shown, late)


def text(amount: int, loan: Loan) -> str:
    return f"{to_decimal(amount, loan):f}"


def expected_totals(rows: list[LoanBalance]) -> list[Total]:
    totals = []
    for currency in sorted({row.currency for row in rows}):
        of_currency = [row for row in rows if row.currency == currency]
        digits = max(len(row.balance.partition(".")[2]) for row in of_currency)
        totals.append(
            expected_total(currency, digits, of_currency)._replace(
                buckets=tuple(
                    expected_total(currency, digits, [row for row in of_currency if row.arrears[2] == bucket])._replace(
                        bucket=bucket
                    )
                    for bucket in BUCKETS
                )
            )
        )
    return totals


def expected_total(currency: str, digits: int, rows: list[LoanBalance]) -> Total:
    right = [row for row in rows if not row.errors]

    def total(amounts: list[str]) -> str:
        return f"{sum(map(Decimal, amounts)):.{digits}f}"

    return Total(
        currency,
        len(rows),
        total([row.balance for row in rows]),
        tuple(total([row.parts[part] for row in rows]) for part in range(3)),
        tuple(total([row.payoff[amount] for row in right]) for amount in range(2)),
        (total([row.arrears[0] for row in right]),),
        len(rows) - len(right),
    )


def test_both_ways_agree_with_the_model(generated, refreshed, by_sql):
    columnar = ColumnarPortfolio(refreshed()[0])
    found: Counter[str] = Counter()
    for day in (date(2018, 5, 5), date(2019, 7, 31), LATE_ON, date(2021, 3, 15), date(2023, 12, 31)):
        whole = [expected_row(number, loan, day) for number, loan in enumerate(generated, 1) if loan.start <= day]
        for details in (ALL, Details(payoff=True), Details(arrears=True), Details(parts=True)):
            totals = [only(details, total) for total in expected_totals(whole)]
            rows = [only(details, row) for row in whole]
            assert list(columnar.loans(day, details)) == rows
            assert columnar.totals(day, details) == totals
            assert [row for piece in by_sql.loans(day, details=details) for row in piece] == rows
            assert by_sql.totals(day, details=details) == totals
        found.update(row.arrears[2] or "error" for row in whole)
    assert set(found) == {*BUCKETS, "error"}


def only(details: Details, row):
    """Return a row or a total without what was not requested."""
    if isinstance(row, Total):
        buckets = tuple(only(details, bucket) for bucket in row.buckets) if details.arrears else ()
        row = row._replace(buckets=buckets)
    return row._replace(
        parts=row.parts if details.parts else (),
        payoff=row.payoff if details.payoff else (),
        arrears=row.arrears if details.arrears else (),
        errors=row.errors if details.can_fail else 0,
    )


@pytest.mark.parametrize("version", [0, 2, 5, 11, 40])
def test_what_was_known_at_a_time_agrees_with_the_model(generated, by_sql, version):
    day = date(2020, 12, 31)
    rows = [
        expected_row(number, loan.known(version), day) for number, loan in enumerate(generated, 1) if loan.start <= day
    ]
    moment = moment_of(version)
    assert [row for piece in by_sql.loans(day, moment, ALL) for row in piece] == rows
    assert by_sql.totals(day, moment, ALL) == expected_totals(rows)


def test_rows_agree_with_requests_for_single_loans(generated, refreshed, client, bearer):
    day = date(2021, 6, 1)
    columnar = ColumnarPortfolio(refreshed()[0])
    statuses: Counter[int] = Counter()
    for row in columnar.loans(day, ALL):
        path = f"/api/v1/loan/{row.loan_id}"
        payoff = client.get(f"{path}/payoff/{day}", headers=bearer)
        arrears = client.get(f"{path}/arrears/{day}", headers=bearer)
        statuses[payoff.status_code] += 1
        if row.errors:
            assert (payoff.status_code, arrears.status_code) == (422, 422)
            continue
        members = ("fees", "interest_charged", "principal", "interest_uncharged", "total")
        assert (*row.parts, *row.payoff) == tuple(payoff.json[name] for name in members)
        assert row.arrears == tuple(str(arrears.json[name]) for name in ("past_due", "days", "bucket"))
        assert payoff.json["version"] == arrears.json["version"] == row.version
    assert statuses[422] == 1
    assert set(statuses) == {200, 422}


# The file


def test_new_terms_and_schedules_are_read_and_others_copied(generated, posting, refreshed, by_sql, path, monkeypatch):
    refreshed()
    requested: list[list[int]] = []
    read = refresh.__globals__["_read_loans"]
    monkeypatch.setitem(
        refresh.__globals__, "_read_loans", lambda connection, ids: requested.append(ids) or read(connection, ids)
    )
    post_terms(posting, (3, "2019-01-01", "0.5"), (50, "2019-01-01", "0.25"), allocation=PRINCIPAL_FIRST)
    post_schedules(posting, (7, "2019-01-01", [("2019-02-01", "1"), ("2019-03-01", "2")]))
    [(version,)] = sql(posting, "SELECT version FROM loan_terms WHERE loan_id = 50 ORDER BY version DESC LIMIT 1")
    sql(
        posting,
        "SELECT append_terms('{50}', '{null}', '{null}', '{null}', '{null}', '{null}', %s, '{null}', '{null}', 'ann')",
        [version],
    )
    ledger, is_rewritten = refreshed()
    assert (is_rewritten, requested) == (True, [[3, 7, 50]])
    columnar = ColumnarPortfolio(ledger)
    for day in (date(2019, 7, 31), date(2023, 12, 31)):
        assert columnar.totals(day, ALL) == by_sql.totals(day, details=ALL)
        assert list(columnar.loans(day, ALL)) == [row for piece in by_sql.loans(day, details=ALL) for row in piece]
    merged = path.read_bytes()
    path.unlink()
    refreshed()
    assert path.read_bytes() == merged
    assert refreshed()[1] is False


# Amounts that do not fit


def test_a_loan_that_does_not_fit_is_counted_and_left_out(admin, refreshed, by_sql, client, bearer, command):
    schedule = Schedule(1, START, ((date(2020, 1, 31), 700),))
    usual = Loan(START, 10_000, schedules=(schedule,))
    store(admin, [usual, INTEREST_BEYOND_64_BITS])
    columnar = ColumnarPortfolio(refreshed()[0])
    [fitting] = columnar.totals(NOT_AT_ONCE, ALL)
    assert (fitting.errors, sum(bucket.loans for bucket in fitting.buckets)) == (0, 2)
    [total] = columnar.totals(MUCH_LATER, ALL)
    assert [total] == by_sql.totals(MUCH_LATER, details=ALL)
    assert (total.loans, total.errors, total.balance) == (2, 1, "10000000000000099.99")
    assert (total.parts[2], total.payoff, total.arrears) == ("10000000000000099.99", ("0.00", "100.00"), ("7.00",))
    assert sum(bucket.loans for bucket in total.buckets) == 1
    reply = client.get(f"/api/v1/portfolio/{MUCH_LATER}", query_string={"payoff": "true"}, headers=bearer)
    assert [one["errors"] for one in reply.json["totals"]] == [1]
    query = {"payoff": "true", "arrears": "true", "format": "csv"}
    reply = client.get(f"/api/v1/portfolio/{MUCH_LATER}", query_string=query, headers=bearer)
    assert "2021-06-01,2,9999999999999999.99,USD,1,,,,,,,1\r\n" in reply.text
    ran = command("--date", str(MUCH_LATER), "--csv", "--payoff", "--arrears")
    assert (ran.exit_code, ran.stdout_bytes) == (0, reply.data)


# Replies and the command, for the loan of the documentation: 36,500.00 at 10 %, which is 10.00 a day.

DUE = tuple((date(2020, month, 1), 100_000) for month in (2, 3, 4))
EXAMPLE = Loan(
    START,
    3_650_000,
    events=(Event(3, 1, date(2020, 2, 1), "payment", 100_000),),
    terms=(Terms(1, START, Fraction(1, 10), "ACT/365F", PRINCIPAL_FIRST),),
    schedules=(Schedule(2, START, DUE),),
)
NO_SUMS = {
    "loans": 0, "balance": "0.00", "interest_uncharged": "0.00", "payoff": "0.00", "past_due": "0.00",
}  # fmt: skip


@pytest.fixture
def example(admin):
    """The loan of the example, and one that has neither terms nor a schedule, in another currency."""
    store(admin, [EXAMPLE, Loan(START, 500, currency="JPY")])


def test_totals_have_sums_by_bucket(example, client, bearer):
    query = {"payoff": "true", "arrears": "true"}
    reply = client.get("/api/v1/portfolio/2020-03-02", query_string=query, headers=bearer)
    # 31 days of 10.00, then 30 on 35,500.00, at 9.7260...
    sums = {
        "loans": 1, "balance": "35500.00", "interest_uncharged": "601.78", "payoff": "36101.78", "past_due": "1000.00",
    }  # fmt: skip
    yen = {"loans": 1, "balance": "500", "interest_uncharged": "0", "payoff": "500", "past_due": "0"}
    no_yen = {name: "0" if isinstance(value, str) else 0 for name, value in NO_SUMS.items()}
    assert reply.json == {
        "date": "2020-03-02",
        "totals": [
            {
                "currency": "JPY", **yen, "errors": 0,
                "buckets": [{"bucket": bucket, **(yen if bucket == "current" else no_yen)} for bucket in BUCKETS],
            },
            {
                "currency": "USD", **sums, "errors": 0,
                "buckets": [{"bucket": bucket, **(sums if bucket == "1-30" else NO_SUMS)} for bucket in BUCKETS],
            },
        ],
    }  # fmt: skip


def test_members_are_only_those_requested(example, client, bearer):
    def members(**query):
        reply = client.get("/api/v1/portfolio/2020-03-02", query_string=query, headers=bearer)
        return [set(total) - {"currency", "loans", "balance"} for total in reply.json["totals"]]

    assert members() == [set()] * 2
    assert members(payoff="true") == [{"interest_uncharged", "payoff", "errors"}] * 2
    assert members(arrears="true") == [{"past_due", "errors", "buckets"}] * 2
    assert members(parts="true", payoff="true") == [{"parts", "interest_uncharged", "payoff", "errors"}] * 2


def test_parts_follow_the_order_of_the_terms(admin, refreshed, by_sql, client, bearer):
    events = (
        Event(2, 1, date(2020, 1, 5), "fee", 500),
        Event(3, 2, date(2020, 1, 6), "payment", 10_000),
    )
    store(
        admin,
        [Loan(START, 20_000, events, (Terms(1, START, Fraction(0), "ACT/360", PRINCIPAL_FIRST),))],
    )
    expected = ("5.00", "0.00", "100.00")
    parts = Details(parts=True)
    assert [row.parts for row in ColumnarPortfolio(refreshed()[0]).loans(NOT_AT_ONCE, parts)] == [expected]
    assert [total.parts for total in by_sql.totals(NOT_AT_ONCE, details=parts)] == [expected]
    single = client.get(f"/api/v1/loan/1/{NOT_AT_ONCE}", query_string={"parts": "true"}, headers=bearer)
    assert tuple(single.json["parts"].values()) == expected


def test_the_command_prints_totals_by_bucket(example, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # amounts keep all their digits
    ran = command("--date", "2020-03-02", "--payoff", "--arrears")
    assert ran.exit_code == 0, ran.output
    rows = [line.split() for line in ran.stdout.splitlines() if line.strip("│┃ ").startswith("20")]
    cells = [[cell for cell in row if cell not in ("│", "┃")] for row in rows]
    assert len(cells) == 2 * (len(BUCKETS) + 1)
    assert cells[8] == ["2020-03-02", "USD", "1-30", "1", "35500.00", "601.78", "36101.78", "1000.00", "0"]
    assert cells[-1] == ["2020-03-02", "USD", "all", "1", "35500.00", "601.78", "36101.78", "1000.00", "0"]


def test_the_command_with_a_time_equals_the_service(example, command, client, bearer):
    moment = moment_of(2).isoformat()  # before the payment
    options = ("--date", "2020-03-02", "--csv", "--payoff", "--arrears", "--known-at", moment)
    query = {"payoff": "true", "arrears": "true", "format": "csv", "known_at": moment}
    reply = client.get("/api/v1/portfolio/2020-03-02", query_string=query, headers=bearer)
    assert reply.text.splitlines()[:3] == [
        "date,loan_id,balance,currency,version,interest_uncharged,payoff,past_due,days_past_due,bucket,loans,errors",
        "2020-03-02,1,36500.00,USD,2,610.00,37110.00,2000.00,30,1-30,,0",
        "2020-03-02,2,500,JPY,0,0,500,0,0,current,,0",
    ]
    ran = command(*options)
    assert (ran.exit_code, ran.stdout_bytes) == (0, reply.data)


@pytest.mark.parametrize("name", ["payoff", "arrears"])
def test_an_invalid_flag_is_400_and_named(example, client, bearer, name):
    reply = client.get("/api/v1/portfolio/2020-03-02", query_string={name: "yes"}, headers=bearer)
    assert (reply.status_code, [error["field"] for error in reply.json["errors"]]) == (400, [name])


def test_interest_grows_by_the_day(example, refreshed):
    columnar = ColumnarPortfolio(refreshed()[0])
    days = [START + timedelta(days=number) for number in range(31)]
    assert [next(columnar.loans(day, ALL)).payoff[0] for day in days] == [f"{10 * number}.00" for number in range(31)]
