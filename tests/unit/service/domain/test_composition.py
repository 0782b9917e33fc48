"""What a balance consists of: the sums by type add up to it on every day."""

import random

import pytest

from native import FEE, INTEREST, PAYMENT, REVERSAL, Timeline
from service.domain.composition import compose

START = 18_262


def build(events: list[tuple[int, int, int, int]]) -> Timeline:
    """Return a timeline of events, each a tuple of day, kind, amount and the transaction id that it reverses."""
    count = len(events)
    days, kinds, amounts, reverses = zip(*events, strict=True) if events else ((), (), (), ())
    return Timeline.build(
        loan_id=1, version=count, horizon=1, start_day=START, initial=5000, currency="USD", exponent=2, days=days,
        kinds=kinds, amounts=amounts, tx_ids=range(1, count + 1), versions=range(1, count + 1),
        recorded_at=[0] * count, reverses=reverses,
    )  # fmt: skip


def test_before_the_start_nothing_counts():
    assert compose(build([(START - 3, FEE, 7, 0)]), START - 1) == (0, {}, 0, 0)


def test_events_before_the_start_count_from_the_start_on():
    assert compose(build([(START - 3, FEE, 7, 0)]), START) == (5000, {"fee": 7}, 1, 0)


def test_a_reversal_counts_with_the_type_of_its_event():
    ledger = build([(START, FEE, 7, 0), (START, PAYMENT, 90, 0), (START + 1, PAYMENT | REVERSAL, 90, 2)])
    assert compose(ledger, START) == (5000, {"fee": 7, "payment": -90}, 2, 0)
    assert compose(ledger, START + 1) == (5000, {"fee": 7, "payment": 0}, 3, 1)


@pytest.mark.parametrize("seed", range(20))
def test_the_sums_add_up_to_the_balance_on_every_day(seed):
    chosen = random.Random(seed)
    events = []
    for tx_id in range(1, 60):
        day = START + tx_id // 2
        open_events = [n for n, event in enumerate(events, 1) if event[1] < REVERSAL and all(e[3] != n for e in events)]
        if open_events and chosen.random() < 0.25:
            number = chosen.choice(open_events)
            events.append((day, events[number - 1][1] | REVERSAL, events[number - 1][2], number))
        else:
            events.append((day, chosen.choice((FEE, INTEREST, PAYMENT)), chosen.randrange(1, 900), 0))
    ledger = build(events)
    for day in range(START, START + 40):
        found = compose(ledger, day)
        assert found.principal + sum(found.changes.values()) == ledger.balance_at(day)
        assert found.events == ledger.position(day)
