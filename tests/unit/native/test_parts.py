"""Parts of a balance: compared with the decimal model, and at the limits of 64 bits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import FEE, INTEREST, PAYMENT, REVERSAL
from tests.models.oracle import DAYS, Event, Ledger, ledgers

MAX64 = 2**63 - 1
REVERSED_FEE, REVERSED_PAYMENT, REVERSED_INTEREST = FEE | REVERSAL, PAYMENT | REVERSAL, INTEREST | REVERSAL
# Few days and amounts, so that many events have the same type, amount or day, and payments meet fees and interest.
DENSE_LEDGERS = ledgers(days=st.integers(0, 9), amounts=st.integers(1, 4))


def build(core, *events, initial=100):
    """Return the timeline of (kind, amount, number of the reversed event) rows, dated one a day and numbered from 1."""
    rows = [Event(day, *row[:2], day + 1, *row[2:]) for day, row in enumerate(events)]
    return Ledger(0, initial, tuple(rows)).build(core)


def parts_after(core, *events, initial=100):
    return core.balance_parts(build(core, *events, initial=initial), len(events))


@given(ledger=ledgers(), day=DAYS)
def test_parts_sum_to_the_balance(core, ledger, day):
    timeline = ledger.build(core)
    parts = core.balance_parts(timeline, day)
    assert sum(parts) == timeline.balance_at(day)
    assert min(parts[:2]) >= 0


@given(ledger=DENSE_LEDGERS, day=st.integers(-2, 10))
def test_parts_match_the_decimal_model(core, ledger, day):
    parts = core.balance_parts(ledger.build(core), day)
    assert tuple(map(ledger.money, parts)) == ledger.parts_at(day)
    assert sum(parts) == ledger.build(core).balance_at(day)


@given(ledger=DENSE_LEDGERS, kind=st.sampled_from([FEE, INTEREST, PAYMENT]), amount=st.integers(1, 4), data=st.data())
def test_reversed_event_has_no_effect_on_parts(core, ledger, kind, amount, data):
    day, dates = data.draw(st.integers(0, 10)), data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    tx_id = max((event.tx_id for event in ledger.events), default=0)
    pair = (Event(dates[0], kind, amount, tx_id + 1), Event(dates[1], kind | REVERSAL, amount, tx_id + 2, tx_id + 1))
    if tx_id + 2 > MAX64 or not max(dates) <= day:
        return
    longer = Ledger(ledger.start_day, ledger.initial, (*ledger.events, *pair))
    assert core.balance_parts(longer.build(core), day) == core.balance_parts(ledger.build(core), day)


def test_the_reversed_event_is_the_linked_one_and_not_a_later_one_of_its_type_and_amount(core):
    day = {"2019-12-31": 0, "2020-01-01": 1, "2020-01-15": 15, "2020-02-01": 32, "2020-03-01": 61, "2020-03-02": 62}
    events = (
        Event(day["2020-01-01"], PAYMENT, 10_00, 1),
        Event(day["2020-01-15"], FEE, 10_00, 2),
        Event(day["2020-02-01"], PAYMENT, 10_00, 3),
        Event(day["2020-03-01"], REVERSED_PAYMENT, 10_00, 4, 1),
    )
    timeline = Ledger(day["2019-12-31"], 100_00, events).build(core)
    assert core.balance_parts(timeline, day["2020-03-02"]) == (0, 0, 100_00)
    assert core.balance_parts(timeline, day["2020-03-01"]) == (0, 0, 100_00)
    assert core.balance_parts(timeline, day["2020-03-01"] - 1) == (0, 0, 90_00)
    assert core.balance_parts(timeline, day["2020-01-15"]) == (10_00, 0, 90_00)


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
        ([(FEE, 5), (PAYMENT, 8), (REVERSED_FEE, 5, 1)], (0, 0, 92)),
        ([(FEE, 5), (PAYMENT, 8), (REVERSED_PAYMENT, 8, 2)], (5, 0, 100)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 8), (REVERSED_INTEREST, 7, 2)], (0, 0, 97)),
        ([(FEE, 5), (INTEREST, 7), (PAYMENT, 8), (REVERSED_FEE, 5, 1)], (0, 0, 99)),
        # of two equal payments, either one is reversed
        ([(PAYMENT, 8), (FEE, 8), (PAYMENT, 8), (REVERSED_PAYMENT, 8, 3)], (8, 0, 92)),
        ([(PAYMENT, 8), (FEE, 8), (PAYMENT, 8), (REVERSED_PAYMENT, 8, 1)], (0, 0, 100)),
        # reversals dated before their event
        ([(REVERSED_FEE, 5, 3), (INTEREST, 7), (FEE, 5)], (0, 7, 100)),
        ([(FEE, 5), (REVERSED_FEE, 5, 3), (FEE, 5)], (5, 0, 100)),
    ],
)
def test_allocation_rules(core, events, parts):
    assert parts_after(core, *events) == parts


@pytest.mark.parametrize(
    ("events", "parts"),
    [
        ([(INTEREST, 3), (REVERSED_FEE, 5, 3), (FEE, 5)], (0, 0, 98)),
        ([(FEE, 5), (REVERSED_PAYMENT, 8, 3), (PAYMENT, 8)], (5, 0, 108)),
        ([(FEE, 9), (REVERSED_INTEREST, 5, 3), (INTEREST, 5)], (4, 0, 100)),
    ],
)
def test_reversal_dated_before_its_event_counts_by_itself_until_then(core, events, parts):
    assert core.balance_parts(build(core, *events), len(events) - 2) == parts


def test_parts_are_zero_before_the_start(core):
    timeline = Ledger(10, 100, (Event(5, FEE, 3, 1),)).build(core)
    assert [core.balance_parts(timeline, day) for day in (-(2**31), 9, 10)] == [(0, 0, 0), (0, 0, 0), (3, 0, 100)]


def test_part_beyond_64_bits_raises_instead_of_wrapping(core):
    credit = [(PAYMENT, MAX64), (FEE, MAX64)]
    assert parts_after(core, *credit, initial=0) == (MAX64, 0, -MAX64)
    with pytest.raises(OverflowError):
        parts_after(core, *credit, (FEE, 1), initial=0)


@pytest.mark.parametrize(("day", "error"), [(2**31, OverflowError), (1.5, TypeError), ("1", TypeError)])
def test_invalid_day_is_rejected_by_both_builds(core, day, error):
    with pytest.raises(error):
        core.balance_parts(Ledger(0, 100, ()).build(core), day)
