"""Terms and schedules of a timeline: returned as built, laid out as documented, and validated by both builds."""

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import ALLOCATIONS, DAY_COUNTS, FEE, INTEREST_CREDIT, MAX_GRACE_DAYS, MAX_RATE, PAYMENT, REVERSAL
from tests.models.oracle import Event, Ledger, ledgers

MAX64, MAX_DAY, MIN_DAY = 2**63 - 1, 2**31 - 1, -(2**31)
ANY_DAY = st.one_of(st.integers(-1000, 1000), st.integers(MIN_DAY, MAX_DAY))
TERMS = [(10, 10_000_000, 0, 0, 0), (40, MAX_RATE, 3, 5, MAX_GRACE_DAYS)]
SCHEDULES = [(10, [(41, 50_00), (72, 51_00)]), (50, []), (60, [(72, 1), (72, 2)])]
LEDGER = Ledger(
    10, 100_00, (Event(12, FEE, 5_00, 1), Event(13, PAYMENT, 5_00, 2), Event(14, FEE | REVERSAL, 5_00, 3, 1))
)


@st.composite
def all_terms(draw):
    """Generate terms with distinct effective days, in order."""
    days = sorted(draw(st.sets(ANY_DAY, max_size=5)))
    values = st.integers(0, MAX_RATE), st.integers(0, 3), st.integers(0, 5), st.integers(0, MAX_GRACE_DAYS)
    return [(day, *draw(st.tuples(*values))) for day in days]


@st.composite
def all_schedules(draw):
    """Generate schedules with distinct effective days, in order; some without installments."""
    installments = st.lists(st.tuples(ANY_DAY, st.integers(1, MAX64)), max_size=5).map(
        lambda rows: sorted(rows, key=lambda row: row[0])
    )
    return [(day, draw(installments)) for day in sorted(draw(st.sets(ANY_DAY, max_size=4)))]


def build(core):
    return LEDGER.build(core, version=8, terms=TERMS, schedules=SCHEDULES)


@given(ledger=ledgers(max_events=5), terms=all_terms(), schedules=all_schedules())
def test_terms_and_schedules_are_returned_as_built(core, ledger, terms, schedules):
    plain = ledger.build(core)
    timeline = ledger.build(core, terms=terms, schedules=schedules)
    data = bytes(timeline)
    parsed = core.Timeline(data)
    assert (parsed.terms, parsed.schedules) == (timeline.terms, timeline.schedules) == (terms, schedules)
    installments = sum(len(rows) for _, rows in schedules)
    size = 64 + 45 * len(ledger.events) + 14 * len(terms) + 8 * len(schedules) + 12 * installments
    assert bytes(parsed) == data
    assert parsed.nbytes == len(data) == size
    assert parsed.events(0, 99) == plain.events(0, 99)
    for ours, theirs in zip(parsed.columns()[1], plain.columns()[1], strict=True):
        assert (ours is None and theirs is None) or list(ours) == list(theirs)


def test_a_timeline_without_terms_has_none(core):
    assert (LEDGER.build(core).terms, LEDGER.build(core).schedules) == ([], [])


def test_codes_are_positions_in_the_documented_names():
    assert DAY_COUNTS == ("ACT/365F", "ACT/360", "ACT/ACT", "30E/360")
    assert tuple(sorted(ALLOCATIONS)) == ALLOCATIONS
    assert len(ALLOCATIONS) == 6
    assert ALLOCATIONS[0] == ("fees", "interest", "principal")


COLUMNS = "3q3q3q3q4q3I3I3i2i2I2I3i3I4i3B2B2B"
VALUES = (
    *(105_00, 100_00, 95_00),
    *(5_00, -5_00, -5_00),
    *(1, 2, 3),
    *(0, 0, 0),
    *(50_00, 51_00, 1, 2),
    *(1, 2, 3),
    *(0, 0, 1),
    *(12, 13, 14),
    *(10, 40),
    *(10_000_000, MAX_RATE),
    *(0, MAX_GRACE_DAYS),
    *(10, 50, 60),
    *(2, 2, 4),
    *(41, 72, 72, 72),
    *(FEE, PAYMENT, FEE | REVERSAL),
    *(0, 3),
    *(0, 5),
)


def test_bytes_have_the_documented_layout(core):
    data = bytes(build(core))
    assert struct.unpack_from("<4I", data, 48) == (3, 2, 3, 4)
    assert struct.unpack_from("<" + COLUMNS, data, 64) == VALUES
    assert len(data) == 64 + struct.calcsize("<" + COLUMNS)


def test_bytes_have_the_same_layout_on_a_big_endian_machine(core, monkeypatch):
    here = bytes(build(core))
    monkeypatch.setattr(sys, "byteorder", "big")
    swapped = bytes(build(core))
    assert swapped[:64] == here[:64]
    assert struct.unpack_from(">" + COLUMNS, swapped, 64) == VALUES
    timeline = core.Timeline(swapped)
    assert (bytes(timeline), timeline.terms, timeline.schedules) == (swapped, TERMS, SCHEDULES)


def test_another_horizon_keeps_terms_and_schedules(core):
    timeline = build(core).with_horizon(99)
    assert (timeline.horizon, timeline.terms, timeline.schedules) == (99, TERMS, SCHEDULES)


def test_the_size_includes_terms_and_schedules(core):
    longer = sys.getsizeof(build(core)) - sys.getsizeof(LEDGER.build(core))
    assert longer >= 14 * 2 + 8 * 3 + 12 * 4


@pytest.mark.parametrize("offset", range(8))
def test_unaligned_bytes_are_read_correctly(core, offset):
    timeline = core.Timeline(memoryview(b"x" * offset + bytes(build(core)))[offset:])
    assert (timeline.terms, timeline.schedules, len(timeline.events(0, 9))) == (TERMS, SCHEDULES, 3)


EVENTS = 12 * 8 + 4 * 8 + 9 * 4  # bytes of the columns of events and amounts before the terms


@pytest.mark.parametrize(
    ("offset", "layout", "value", "message"),
    [
        (12 * 8, "q", 0, "not positive"),
        (12 * 8 + 24, "q", -1, "not positive"),
        (EVENTS, "i", 40, "terms 1: terms must be ordered"),
        (EVENTS, "i", 41, "terms 1: terms must be ordered"),
        (EVENTS + 8, "I", MAX_RATE + 1, "terms 0: the rate 1000000001"),
        (EVENTS + 12, "I", 2**32 - 1, "terms 1: the rate"),
        (EVENTS + 16, "I", 2**31, "terms 0: 2147483648 grace days"),
        (EVENTS + 24, "i", 50, "schedule 1: schedules must be ordered"),
        (EVENTS + 28, "i", 60, "schedule 2: schedules must be ordered"),
        (EVENTS + 36, "I", 3, "schedule 1: its end 2"),
        (EVENTS + 36, "I", 2**32 - 1, "schedule 0: its end"),
        (EVENTS + 44, "I", 5, "schedule 2: its end 5"),
        (EVENTS + 44, "I", 3, "1 installments belong to none"),
        (EVENTS + 48, "i", 73, "schedule 0: installments must be ordered"),
        (EVENTS + 60, "i", 71, "schedule 2: installments must be ordered"),
        (EVENTS + 67, "B", 4, "terms 0: unknown day count 4"),
        (EVENTS + 68, "B", 255, "terms 1: unknown day count"),
        (EVENTS + 69, "B", 6, "terms 0: unknown allocation 6"),
        (EVENTS + 70, "B", 255, "terms 1: unknown allocation"),
    ],
)
def test_layout_rules_are_enforced(core, offset, layout, value, message):
    data = bytearray(bytes(build(core)))
    struct.pack_into("<" + layout, data, 64 + offset, value)
    with pytest.raises(ValueError, match=message):
        core.Timeline(bytes(data))


def test_installments_without_a_schedule_are_rejected(core):
    data = bytearray(bytes(LEDGER.build(core)))
    struct.pack_into("<I", data, 60, 1)
    start = 64 + 12 * 8
    data = data[:start] + struct.pack("<q", 1) + data[start : start + 36] + struct.pack("<i", 1) + data[start + 36 :]
    with pytest.raises(ValueError, match="1 installments belong to none"):
        core.Timeline(bytes(data))


@given(data=st.data())
def test_changed_byte_is_rejected_or_leaves_valid_terms_and_schedules(core, data):
    changed = bytearray(bytes(build(core)))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        timeline = core.Timeline(bytes(changed))
    except ValueError:
        return
    rebuilt = LEDGER.build(core, version=8, terms=timeline.terms, schedules=timeline.schedules)
    assert (rebuilt.terms, rebuilt.schedules) == (timeline.terms, timeline.schedules)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"terms": [(1, 0, 0, 0, 0), (1, 0, 0, 0, 0)]}, ValueError),
        ({"terms": [(2, 0, 0, 0, 0), (1, 0, 0, 0, 0)]}, ValueError),
        ({"terms": [(1, MAX_RATE + 1, 0, 0, 0)]}, ValueError),
        ({"terms": [(1, -1, 0, 0, 0)]}, OverflowError),
        ({"terms": [(1, 0.1, 0, 0, 0)]}, TypeError),
        ({"terms": [(1.0, 0, 0, 0, 0)]}, TypeError),
        ({"terms": [(1, 0, "ACT/360", 0, 0)]}, TypeError),
        ({"terms": [(1, 0, 4, 0, 0)]}, ValueError),
        ({"terms": [(1, 0, 0, 6, 0)]}, ValueError),
        ({"terms": [(1, 0, 256, 0, 0)]}, OverflowError),
        ({"terms": [(1, 0, 0, 0, -1)]}, OverflowError),
        ({"terms": [(1, 0, 0, 0, 2**31)]}, ValueError),
        ({"terms": [(2**31, 0, 0, 0, 0)]}, OverflowError),
        ({"terms": [(1, 0, 0, 0)]}, ValueError),
        ({"schedules": [(1, []), (1, [])]}, ValueError),
        ({"schedules": [(2**31, [])]}, OverflowError),
        ({"schedules": [(1, [(2, 0)])]}, ValueError),
        ({"schedules": [(1, [(2, -1)])]}, ValueError),
        ({"schedules": [(1, [(2, 2**63)])]}, OverflowError),
        ({"schedules": [(1, [(2, 1.0)])]}, TypeError),
        ({"schedules": [(1, [(2, 1), (1, 1)])]}, ValueError),
        ({"schedules": [(1, [(2**31, 1)])]}, OverflowError),
    ],
)
def test_invalid_terms_and_schedules_are_rejected_by_both_builds(core, changes, error):
    with pytest.raises(error):
        LEDGER.build(core, **changes)


def test_interest_credit_reduces_the_balance_and_its_reversal_increases_it(core):
    events = (Event(11, INTEREST_CREDIT, 4_00, 1), Event(12, INTEREST_CREDIT | REVERSAL, 4_00, 2, 1))
    timeline = Ledger(10, 100_00, events).build(core)
    assert timeline.balances_at([10, 11, 12]) == [100_00, 96_00, 100_00]
