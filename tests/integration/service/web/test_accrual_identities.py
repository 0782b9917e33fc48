"""Interest and payments over HTTP, compared with the model of payoffs in exact fractions."""

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from random import Random

import pytest

from tests.integration.service.web.test_accrue import writer  # noqa: F401
from tests.models.payoff_generator import ALLOCATIONS
from tests.models.payoff_model import DAY_COUNTS, FEES, INTEREST, PRINCIPAL, Event, Loan, Terms
from tests.support.accruing import TERMS, AccruingLoan, shown

LOANS = 25
START = date(2020, 1, 1)
LAST = date(2020, 12, 31)


def to_text(cents):
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"


class ModeledLoan:
    """A loan of the service and of the model, with the same records."""

    def __init__(self, client, writer, loan_id, rng):  # noqa: F811
        self.rng = rng
        rate, day_count, allocation = (
            f"0.{rng.randrange(1, 10**8):08d}",
            rng.choice(DAY_COUNTS),
            rng.choice(ALLOCATIONS),
        )
        self.service = AccruingLoan(client, writer, loan_id, rate=rate, day_count=day_count, allocation=allocation)
        self.model = Loan(START, 3_650_000, (), (Terms(1, START, Fraction(rate), day_count, allocation),))

    def change_terms(self):
        day, rate, day_count = self.day(), f"0.{self.rng.randrange(1, 100):02d}", self.rng.choice(DAY_COUNTS)
        body = {**TERMS, "effective_date": str(day), "rate": rate, "day_count": day_count}
        made = self.service.send(f"{self.service.path}/terms", body).json
        terms = Terms(made["version"], day, Fraction(rate), day_count)
        self.model = replace(self.model, terms=(*self.model.terms, terms))

    def post_random(self):
        reversible = self.model.counted_events(date.max)
        if reversible and self.rng.random() < 0.3:
            first = self.rng.choice(reversible)
            event = (first.kind, str(max(first.day, self.day())), to_text(first.amt), first.tx_id)
        else:
            kind = self.rng.choice(("fee", "payment", "payment", "interest", "interest_credit"))
            event = (kind, str(self.day()), to_text(self.rng.randrange(1, 300_000)))
        self.post(event)

    def post(self, *events, accrue=False):
        reply = self.service.post(*events, **({"accrue": True} if accrue else {}))
        self.note(reply, {event[3] for event in events if len(event) == 4})
        return reply

    def note(self, reply, reversed_ids=frozenset()):
        versions = {event.tx_id: event.version for event in self.model.events}
        reverses = next((versions[tx_id] for tx_id in reversed_ids), None)
        made = [
            Event(e["version"], e["tx_id"], date.fromisoformat(e["post_date"]), e["event_type"],
                  int(e["amt"].replace(".", "")), reverses)
            for e in reply.json["events"]
        ]  # fmt: skip
        self.model = replace(self.model, events=(*self.model.events, *made))

    def day(self):
        return START + timedelta(days=self.rng.randrange((LAST - START).days))

    def check_parts(self, day):
        payoff = self.model.payoff(day)
        expected = {FEES: payoff.fees, INTEREST: payoff.interest, PRINCIPAL: payoff.principal}
        assert self.service.parts(day) == {name: to_text(cents) for name, cents in expected.items()}


@pytest.fixture
def loans(client, posting, writer):  # noqa: F811
    """Random loans."""
    rng = Random(22)
    made = []
    for loan_id in range(100, 100 + LOANS):
        loan = ModeledLoan(client, writer, loan_id, rng)
        for _ in range(rng.randrange(6)):
            loan.post_random()
        if rng.random() < 0.5:
            loan.change_terms()
        made.append(loan)
    return made


def test_accruing_and_paying_agree_with_the_model(loans):
    credited = 0
    for loan in loans:
        day = LAST + timedelta(days=loan.rng.randrange(60))
        before = loan.model.payoff(day)
        if before.uncharged:
            kind = "interest" if before.uncharged > 0 else "interest_credit"
            credited += before.uncharged < 0
            reply = loan.service.accrue(day)
            assert shown(reply) == [(kind, str(day), to_text(abs(before.uncharged)))]
            loan.note(reply)
        loan.service.accrue(day, 200)
        charged = loan.model.payoff(day)
        assert (charged.total, charged.uncharged) == (before.total, 0)
        assert loan.service.balance(day) == to_text(before.total)
        loan.check_parts(day)

        day += timedelta(days=loan.rng.randrange(90))
        payoff = loan.model.payoff(day)
        if payoff.total <= 0:
            continue
        loan.post(("payment", str(day), to_text(payoff.total)), accrue=True)
        for later in (day, day + timedelta(days=1), day + timedelta(days=400)):
            assert loan.service.balance(later) == "0.00"
            assert loan.model.payoff(later).total == 0
            loan.service.accrue(later, 200)
        loan.check_parts(day)
    assert 0 < credited < LOANS


@pytest.mark.parametrize("method", ["annuity", "equal_principal", "bullet"])
@pytest.mark.parametrize("day_count", DAY_COUNTS)
def test_paying_every_installment_on_its_date_ends_at_zero(client, posting, writer, method, day_count):  # noqa: F811
    loan = AccruingLoan(client, writer, day_count=day_count, rate="0.07125")
    body = {
        "effective_date": "2020-01-01", "method": method, "count": 9, "first_due_date": "2020-01-31", "every_months": 1,
        "end_of_month": True,
    }  # fmt: skip
    installments = loan.send(f"{loan.path}/schedule", body).json["installments"]
    payments = [("payment", each["due_date"], each["amt"]) for each in installments]
    halfway = len(payments) // 2
    for payment in payments[:halfway]:
        loan.post(payment, accrue=True)
    loan.post(*payments[halfway:], accrue=True)
    assert loan.balance(installments[-1]["due_date"]) == "0.00"
    loan.accrue("2021-06-30", 200)
