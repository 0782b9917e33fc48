"""Identities of payoff and arrears on random loans, in both builds of the core."""

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from service.domain.schedule import METHODS, ScheduleMethod, make_installments
from tests.models.oracle import Event as OracleEvent
from tests.models.oracle import Ledger
from tests.models.payoff_generator import LoanGenerator
from tests.models.payoff_model import Event, Loan, Terms, in_effect
from tests.models.payoff_timeline import KINDS, build_timeline, terms_row, to_number
from tests.support.core import load_core

LOANS = 200
MAX64 = 2**63 - 1


@pytest.fixture(params=["compiled", "interpreted"])
def core(request):
    return load_core(request.param)


def loans_with_days(count: int = LOANS):
    """Yield random loans whose amounts fit 64 bits, and a day of each."""
    for number in range(count):
        generator = LoanGenerator(Random(f"identities/{number}"))
        loan = generator.generate()
        [day] = generator.days(loan, 1)
        if abs(loan.payoff(day).total) < MAX64 // 8:
            yield loan, day


def post(loan: Loan, kind: str, day: date, amt: int) -> Loan:
    """Return the loan with another event, the last of its day."""
    tx_id = 1 + max((event.tx_id for event in loan.events), default=0)
    return replace(loan, events=(*loan.events, Event(loan.version + 1, tx_id, day, kind, amt)))


def accrue(core: Any, loan: Loan, day: date) -> Loan:
    """Return the loan after charging what has accrued by a day."""
    uncharged = core.payoff_at(build_timeline(core, loan), to_number(day)).uncharged
    if uncharged == 0:
        return loan
    return post(loan, "interest" if uncharged > 0 else "interest_credit", day, abs(uncharged))


def settle(core: Any, loan: Loan, day: date) -> Loan:
    """Return the loan after paying what its payoff is on a day, or refunding it by a fee."""
    total = core.payoff_at(build_timeline(core, loan), to_number(day)).total
    return loan if total == 0 else post(loan, "payment" if total > 0 else "fee", day, abs(total))


def payoff(core: Any, loan: Loan, day: date) -> Any:
    return core.payoff_at(build_timeline(core, loan), to_number(day))


def accrued(core: Any, loan: Loan, day: date) -> Fraction:
    segments = core.accrual_segments(build_timeline(core, loan), to_number(day))
    return sum((Fraction(each.numerator, each.denominator) for each in segments), Fraction(0))


def until(loan: Loan, day: date) -> Loan:
    """Return the loan without events after a day, and without reversals of these."""
    gone = {event.version for event in loan.events if event.day > day}
    kept = [event for event in loan.events if event.version not in gone and event.reverses not in gone]
    return replace(loan, events=tuple(kept))


def test_parts_sum_to_the_balance_and_to_the_payoff(core):
    for loan, day in loans_with_days():
        found, timeline = payoff(core, loan, day), build_timeline(core, loan)
        parts = (found.fees, found.interest, found.principal)
        assert sum(parts) == timeline.balance_at(to_number(day))
        assert core.balance_parts(timeline, to_number(day)) == parts
        assert sum(parts) + found.uncharged == found.total


def test_accrual_is_additive_before_rounding(core):
    compared = 0
    for loan, day in loans_with_days():
        loan = replace(loan, events=tuple(e for e in loan.events if e.reverses is None))
        begin = loan.first_accrual_day()
        if begin is None or day <= begin:
            continue
        middle = begin + (day - begin) * Random(loan.initial).random()
        whole, first = accrued(core, loan, day), accrued(core, loan, middle)
        # The same loan with terms that are known from the middle on only accrues the second part.
        terms = [terms for terms in loan.effective_terms if terms.effective > middle]
        current = in_effect(loan.effective_terms, middle)
        assert current is not None
        rest = accrued(core, replace(loan, terms=(replace(current, effective=middle), *terms)), day)
        if any(event.kind == "payment" and event.day < middle for event in loan.events):
            continue  # their allocation depends on the terms before
        assert first + rest == whole
        compared += 1
    assert compared > LOANS // 10


def test_repeating_the_terms_on_any_day_changes_no_accrual(core):
    compared = 0
    for loan, day in loans_with_days():
        for split in (day - timedelta(days=1), day - timedelta(days=17), loan.start + (day - loan.start) / 2):
            current = loan.terms_on(split)
            if current is not None and current.effective != split:
                repeated = replace(
                    loan, terms=(*loan.terms, replace(current, version=loan.version + 1, effective=split))
                )
                assert accrued(core, repeated, day) == accrued(core, loan, day)
                assert payoff(core, repeated, day) == payoff(core, loan, day)
                compared += 1
    assert compared > LOANS // 2


def test_accruing_leaves_the_payoff_and_nothing_uncharged(core):
    changed = 0
    for loan, day in loans_with_days():
        before = payoff(core, loan, day)
        charged = accrue(core, loan, day)
        after = payoff(core, charged, day)
        assert (after.total, after.uncharged) == (before.total, 0)
        assert accrue(core, charged, day) == charged  # a second run charges nothing
        changed += charged != loan
    assert changed > LOANS // 10


def test_paying_the_payoff_settles_the_loan_on_that_day(core):
    paid = 0
    for loan, day in loans_with_days():
        if day >= loan.start and payoff(core, loan, day).total > 0:
            assert payoff(core, settle(core, loan, day), day).total == 0
            paid += 1
    assert paid > LOANS // 10


def test_accruing_and_paying_settles_the_loan_for_good(core):
    settled = 0
    for loan, day in loans_with_days():
        loan = until(loan, day)
        if day < loan.start or payoff(core, loan, day).total <= 0:
            continue
        loan = settle(core, accrue(core, loan, day), day)
        timeline = build_timeline(core, loan)
        number = to_number(day)
        assert timeline.balance_at(number) == 0
        later = [number, number + 1, number + 29, number + 31, number + 365, number + 36_500]
        assert core.payoff_totals(timeline, later) == [0] * len(later)
        assert {core.arrears_at(timeline, each) for each in later} == {(0, 0, 0, None)}
        settled += 1
    assert settled > LOANS // 10


def random_schedule(rng: Random) -> tuple[Loan, date, int]:
    """Return a loan with terms, the effective date of its schedule, and the number of installments."""
    generator = LoanGenerator(rng)
    drawn = generator.generate()
    start = drawn.start
    terms = [replace(each, rate=min(each.rate, Fraction(1, 2))) for each in drawn.effective_terms]
    terms = [replace(each, version=version) for version, each in enumerate(terms, 1)]
    return Loan(start, rng.randint(1, rng.choice((10**4, 10**8, 10**13))), (), tuple(terms)), start, rng.randint(1, 8)


def test_accruing_and_paying_each_installment_on_its_date_settles_the_loan(core):
    settled = 0
    for number in range(LOANS):
        rng = Random(f"schedules/{number}")
        loan, start, count = random_schedule(rng)
        first = start + timedelta(days=rng.randrange(1, 60))
        method = ScheduleMethod(rng.choice(METHODS), count, first, rng.randint(1, 4))
        rows = [terms_row(terms) for terms in loan.terms]
        try:
            installments = make_installments(method, loan.initial, start, rows)
        except ValueError:
            continue
        for due_date, amount in installments:
            loan = post(accrue(core, loan, due_date), "payment", due_date, amount)
        assert loan.balance(due_date) == 0
        timeline = build_timeline(core, loan)
        assert core.payoff_totals(timeline, [to_number(due_date) + days for days in (0, 1, 400)]) == [0, 0, 0]
        assert loan.payoff(due_date).total == 0  # by the model, too
        settled += 1
    assert settled > LOANS // 2


def test_a_loan_without_terms_answers_as_before(core):
    for loan, day in loans_with_days():
        loan = replace(
            loan, terms=(), schedules=(), events=tuple(e for e in loan.events if e.kind != "interest_credit")
        )
        tx_ids = {event.version: event.tx_id for event in loan.events}
        events = [
            OracleEvent(
                to_number(e.day), KINDS[e.kind] | (0 if e.reverses is None else 0x80), e.amt, e.tx_id,
                0 if e.reverses is None else tx_ids[e.reverses],
            )
            for e in loan.events
        ]  # fmt: skip
        ledger = Ledger(to_number(loan.start), loan.initial, tuple(events), 0)
        timeline, number = build_timeline(core, replace(loan)), to_number(day)
        assert timeline.balance_at(number) == ledger.balance_at(number)
        parts = ledger.parts_at(number)
        assert core.balance_parts(timeline, number) == parts
        assert core.payoff_at(timeline, number) == (*parts, 0, sum(parts), 0)
        assert core.arrears_at(timeline, number) == (0, 0, 0, None)
        assert core.accrual_segments(timeline, number) == []
        assert core.first_accrual_day(timeline) is None


def test_the_example_of_the_definitions(core):
    start = date(2020, 1, 1)
    loan = Loan(start, 36_500_00, (), (Terms(1, start, Fraction("0.10"), "ACT/365F"),))
    assert payoff(core, loan, date(2020, 3, 2)) == (0, 0, 36_500_00, 610_00, 37_110_00, 10_00)
    lower = post(loan, "payment", date(2020, 2, 1), 3_650_00)  # lowers interest from its date on
    assert payoff(core, lower, date(2020, 3, 2)).uncharged == 31 * 10_00 + 30 * 9_00
    event = lower.events[0]
    returned = Event(3, 9, date(2020, 5, 1), "payment", event.amt, event.version)
    loan = replace(lower, events=(event, returned))
    assert payoff(core, loan, date(2020, 4, 30)).uncharged == 31 * 10_00 + 89 * 9_00
    assert payoff(core, loan, date(2020, 5, 1)).uncharged == 121 * 10_00  # as if it had never been posted
