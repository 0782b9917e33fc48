"""Parts of a balance: compared with the decimal model, and at the limits of 64 bits."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import FEE, INTEREST, PAYMENT, REVERSAL
from tests.models.oracle import DAYS, Event, Ledger, ledgers

MAX64 = 2**63 - 1
REVERSED_FEE, REVERSED_PAYMENT, REVERSED_INTEREST = FEE | REVERSAL, PAYMENT | REVERSAL, INTEREST | REVERSAL
# Few amounts, so that reversals match earlier events.
MATCHING_EVENTS = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from([FEE, INTEREST, PAYMENT, REVERSED_FEE, REVERSED_PAYMENT, REVERSED_INTEREST]),
        st.integers(1, 4),
    ),
    max_size=30,
).map(lambda rows: tuple(Event(day, kind, amount, tx_id) for tx_id, (day, kind, amount) in enumerate(rows)))


def parts_after(core, *events, initial=100):
    """Return the parts after (kind, amount) events that are posted one a day."""
    ledger = Ledger(0, initial, tuple(Event(day, kind, amount, day) for day, (kind, amount) in enumerate(events)))
    return core.balance_parts(ledger.build(core), len(events))


@given(ledger=ledgers(), day=DAYS)
def test_parts_sum_to_the_balance(core, ledger, day):
    timeline = ledger.build(core)
    parts = core.balance_parts(timeline, day)
    assert sum(parts) == timeline.balance_at(day)
    assert min(parts[:2]) >= 0


@given(events=MATCHING_EVENTS, start=st.integers(-1, 9), initial=st.integers(0, 20), day=st.integers(-2, 10))
def test_parts_match_the_decimal_model(core, events, start, initial, day):
    ledger = Ledger(start, initial, events)
    parts = core.balance_parts(ledger.build(core), day)
    assert tuple(Decimal(part) / 100 for part in parts) == ledger.parts_at(day)
    assert sum(parts) == ledger.build(core).balance_at(day)


@given(ledger=ledgers(), day=DAYS, kind=st.sampled_from([FEE, INTEREST, PAYMENT]), dates=st.tuples(DAYS, DAYS))
def test_reversed_event_has_no_effect_on_parts(core, ledger, day, kind, dates):
    amount = 10**15 + 1  # differs from all generated amounts
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
        # reversals of events that are already paid, and of payments
        ([(FEE, 5), (PAYMENT, 8), (REVERSED_FEE, 5)], (0, 0, 92)),
        ([(FEE, 5), (PAYMENT, 8), (REVERSED_PAYMENT, 8)], (5, 0, 100)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 8), (REVERSED_INTEREST, 7)], (0, 0, 97)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 8), (REVERSED_FEE, 5)], (0, 0, 99)),
        # of two equal events, the later one is reversed
        ([(PAYMENT, 8), (FEE, 8), (PAYMENT, 8), (REVERSED_PAYMENT, 8)], (8, 0, 92)),
        # reversals dated before their event, with the event on or after the queried day
        ([(REVERSED_FEE, 5), (INTEREST, 7), (FEE, 5)], (0, 7, 100)),
        ([(INTEREST, 3), (REVERSED_FEE, 5)], (0, 0, 98)),
        ([(FEE, 5), (REVERSED_PAYMENT, 8)], (5, 0, 108)),
        ([(FEE, 9), (REVERSED_INTEREST, 5)], (4, 0, 100)),
        # type and amount must match
        ([(FEE, 5), (INTEREST, 5), (REVERSED_FEE, 5)], (0, 5, 100)),
        ([(FEE, 5), (FEE, 6), (REVERSED_FEE, 5)], (6, 0, 100)),
    ],
)
def test_allocation_rules(core, events, parts):
    assert parts_after(core, *events) == parts


def test_parts_are_zero_before_the_start(core):
    timeline = Ledger(10, 100, (Event(5, FEE, 3, 1),)).build(core)
    assert [core.balance_parts(timeline, day) for day in (-(2**31), 9, 10)] == [(0, 0, 0), (0, 0, 0), (3, 0, 100)]


def test_part_beyond_64_bits_raises_instead_of_wrapping(core):
    credit = [(PAYMENT, MAX64), (FEE, MAX64)]
    assert parts_after(core, *credit, initial=0) == (MAX64, 0, -MAX64)
    with pytest.raises(OverflowError):
        parts_after(core, *credit, (FEE, 1), initial=0)
    with pytest.raises(OverflowError):
        parts_after(core, (FEE, 50), (PAYMENT, MAX64), (PAYMENT, 5), (INTEREST, 100), (REVERSED_FEE, 50), initial=0)


@pytest.mark.parametrize(("day", "error"), [(2**31, OverflowError), (1.5, TypeError), ("1", TypeError)])
def test_invalid_day_is_rejected_by_both_builds(core, day, error):
    with pytest.raises(error):
        core.balance_parts(Ledger(0, 100, ()).build(core), day)
