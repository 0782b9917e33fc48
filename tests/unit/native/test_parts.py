"""What a balance is made of: against the oracle, and at the edge of 64 bits."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import FEE, INTEREST, PAYMENT, REVERSAL
from tests.models.oracle import DAYS, Event, Ledger, ledgers

MAX64 = 2**63 - 1
FEES, PAID, EARNED = FEE | REVERSAL, PAYMENT | REVERSAL, INTEREST | REVERSAL
# Few amounts, so that reversals find what they take back.
TWINS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([FEE, INTEREST, PAYMENT, FEES, PAID, EARNED]), st.integers(1, 4)),
    max_size=30,
).map(lambda rows: tuple(Event(day, kind, amount, tx_id) for tx_id, (day, kind, amount) in enumerate(rows)))


def made(core, *events, initial=100):
    """Parts in the end, of events as (kind, amount), one a day."""
    ledger = Ledger(0, initial, tuple(Event(at, kind, amount, at) for at, (kind, amount) in enumerate(events)))
    return core.balance_parts(ledger.build(core), len(events))


@given(ledger=ledgers(), day=DAYS)
def test_the_parts_sum_to_the_balance(core, ledger, day):
    timeline = ledger.build(core)
    parts = core.balance_parts(timeline, day)
    assert sum(parts) == timeline.balance_at(day)
    assert min(parts[:2]) >= 0


@given(events=TWINS, start=st.integers(-1, 9), initial=st.integers(0, 20), day=st.integers(-2, 10))
def test_the_parts_are_what_the_oracle_says(core, events, start, initial, day):
    ledger = Ledger(start, initial, events)
    parts = core.balance_parts(ledger.build(core), day)
    assert tuple(Decimal(part) / 100 for part in parts) == ledger.parts_at(day)
    assert sum(parts) == ledger.build(core).balance_at(day)


@given(ledger=ledgers(), day=DAYS, kind=st.sampled_from([FEE, INTEREST, PAYMENT]), dates=st.tuples(DAYS, DAYS))
def test_what_is_taken_back_was_as_if_never_posted(core, ledger, day, kind, dates):
    amount = 10**15 + 1  # no other has it
    tx_id = max((event.tx_id for event in ledger.events), default=0)
    pair = (Event(dates[0], kind, amount, tx_id + 1), Event(dates[1], kind | REVERSAL, amount, tx_id + 2))
    if tx_id + 2 > MAX64 or not max(dates) <= day:
        return
    longer = Ledger(ledger.start_day, ledger.initial, (*ledger.events, *pair))
    assert core.balance_parts(longer.build(core), day) == core.balance_parts(ledger.build(core), day)


@pytest.mark.parametrize(
    ("events", "parts"),
    [
        ([], (0, 0, 100)),
        ([(FEE, 5), (INTEREST, 7)], (5, 7, 100)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 4)], (1, 7, 100)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 5)], (0, 7, 100)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 8)], (0, 4, 100)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 12)], (0, 0, 100)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 20)], (0, 0, 92)),
        ([(PAYMENT, 130)], (0, 0, -30)),
        ([(PAYMENT, 130), (FEE, 5)], (5, 0, -30)),
        ([(PAYMENT, 130), (FEE, 5), (PAYMENT, 6)], (0, 0, -31)),
        # of what has been paid, and is then taken back
        ([(FEE, 5), (PAYMENT, 8), (FEES, 5)], (0, 0, 92)),
        ([(FEE, 5), (PAYMENT, 8), (PAID, 8)], (5, 0, 100)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 8), (EARNED, 7)], (0, 0, 97)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 8), (FEES, 5)], (0, 0, 99)),
        # of two alike, the later one
        ([(PAYMENT, 8), (FEE, 8), (PAYMENT, 8), (PAID, 8)], (8, 0, 92)),
        # dated before what it takes back, and what it takes back beyond the day
        ([(FEES, 5), (INTEREST, 7), (FEE, 5)], (0, 7, 100)),
        ([(INTEREST, 3), (FEES, 5)], (0, 0, 98)),
        ([(FEE, 5), (PAID, 8)], (5, 0, 108)),
        ([(FEE, 9), (EARNED, 5)], (4, 0, 100)),
        # type and amount have to be the same
        ([(FEE, 5), (INTEREST, 5), (FEES, 5)], (0, 5, 100)),
        ([(FEE, 5), (FEE, 6), (FEES, 5)], (6, 0, 100)),
    ],
)
def test_each_rule(core, events, parts):
    assert made(core, *events) == parts


def test_before_the_start_there_is_nothing(core):
    timeline = Ledger(10, 100, (Event(5, FEE, 3, 1),)).build(core)
    assert [core.balance_parts(timeline, day) for day in (-(2**31), 9, 10)] == [(0, 0, 0), (0, 0, 0), (3, 0, 100)]


def test_a_part_that_does_not_fit_raises_and_never_wraps(core):
    credit = [(PAYMENT, MAX64), (FEE, MAX64)]
    assert made(core, *credit, initial=0) == (MAX64, 0, -MAX64)
    with pytest.raises(OverflowError):
        made(core, *credit, (FEE, 1), initial=0)
    with pytest.raises(OverflowError):
        made(core, (FEE, 50), (PAYMENT, MAX64), (PAYMENT, 5), (INTEREST, 100), (FEES, 50), initial=0)


@pytest.mark.parametrize(("day", "error"), [(2**31, OverflowError), (1.5, TypeError), ("1", TypeError)])
def test_a_day_that_is_none_is_refused_alike(core, day, error):
    with pytest.raises(error):
        core.balance_parts(Ledger(0, 100, ()).build(core), day)
