"""Timelines: compared with the decimal model, at the limits of 32 and 64 bits, and read from invalid bytes."""

import gc
import struct
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import FEE, INTEREST, PAYMENT, REVERSAL
from tests.models.oracle import DAYS, Event, Ledger, ledgers

MAX64, MIN64 = 2**63 - 1, -(2**63)
MAX_DAY, MIN_DAY = 2**31 - 1, -(2**31)
SMALL = Ledger(10, 100_00, (Event(12, INTEREST, 1_00, 1), Event(12, PAYMENT, 30_00, 2), Event(20, FEE, 5_00, 3)))
# A fee, a payment, and the reversal of the fee; recorded at 1, 2 and 3 microseconds.
REVERSED = Ledger(
    10,
    100_00,
    (Event(12, FEE, 5_00, 1, 0, 1), Event(13, PAYMENT, 5_00, 2, 0, 2), Event(14, FEE | REVERSAL, 5_00, 3, 1, 3)),
)


@given(ledger=ledgers(), days=st.lists(DAYS, max_size=20))
def test_balances_match_the_decimal_model(core, ledger, days):
    timeline = ledger.build(core)
    expected = [ledger.balance_at(day) for day in days]
    assert [ledger.money(timeline.balance_at(day)) for day in days] == expected
    assert timeline.balances_at(days) == [timeline.balance_at(day) for day in days]


@given(ledger=ledgers(), order=st.randoms(use_true_random=False))
def test_posting_order_does_not_matter(core, ledger, order):
    shuffled = list(ledger.events)
    order.shuffle(shuffled)
    assert bytes(replace(ledger, events=tuple(shuffled)).build(core)) == bytes(ledger.build(core))


@given(ledger=ledgers())
def test_bytes_round_trip(core, ledger):
    data = bytes(ledger.build(core))
    parsed = core.Timeline(data)
    assert bytes(parsed) == data
    assert len(data) == parsed.nbytes == 64 + 45 * len(ledger.events)
    assert (parsed.loan_id, parsed.version, parsed.horizon) == (7, len(ledger.events), 12345)
    assert (parsed.start_day, parsed.initial, parsed.currency) == (ledger.start_day, ledger.initial, "USD")
    assert parsed.exponent == ledger.exponent
    assert len(parsed) == len(ledger.events)


@given(ledger=ledgers(), offset=st.integers(0, 7))
def test_unaligned_bytes_are_read_correctly(core, ledger, offset):
    data = bytes(ledger.build(core))
    shifted = memoryview(b"x" * offset + data)[offset:]
    assert core.Timeline(shifted).balances_at(range(-1000, 1000, 50)) == core.Timeline(data).balances_at(
        range(-1000, 1000, 50)
    )


@settings(max_examples=300)
@given(ledger=ledgers(max_events=5), data=st.data())
def test_changed_byte_is_rejected_or_leaves_a_consistent_ledger(core, ledger, data):
    changed = bytearray(bytes(ledger.build(core)))
    position = data.draw(st.integers(0, len(changed) - 1))
    changed[position] ^= data.draw(st.integers(1, 255))
    try:
        timeline = core.Timeline(bytes(changed))
    except ValueError:
        return
    balance = timeline.initial
    rows = timeline.window(MIN_DAY, MAX_DAY)
    for _, _, amount, running, *_ in rows:
        balance += amount
        assert running == balance
    assert len({version for _, _, _, _, _, version, *_ in rows}) == len(rows)
    assert {(reverses, tx_id) for _, _, _, _, tx_id, _, _, reverses, _ in rows if reverses} == {
        (tx_id, reversed_by) for _, _, _, _, tx_id, _, _, _, reversed_by in rows if reversed_by
    }


@settings(max_examples=300)
@given(data=st.binary(max_size=300))
def test_random_bytes_are_rejected(core, data):
    with pytest.raises(ValueError, match="timeline"):
        core.Timeline(data)


@given(ledger=ledgers(max_events=5), data=st.data())
def test_truncated_or_extended_bytes_are_rejected(core, ledger, data):
    valid = bytes(ledger.build(core))
    length = data.draw(st.integers(0, len(valid) - 1))
    with pytest.raises(ValueError, match="timeline"):
        core.Timeline(valid[:length])
    with pytest.raises(ValueError, match="timeline"):
        core.Timeline(valid + b"\0")


@pytest.mark.parametrize(
    ("offset", "layout", "value", "message"),
    [
        (0, "4s", b"LNTM", "not a timeline"),
        (4, "H", 2, "layout 2"),
        (4, "H", 4, "layout 4"),
        (6, "H", 5, "exponent 5"),
        (16, "q", -1, "negative"),
        (32, "q", -1, "negative"),
        (32, "q", 5, "does not equal the sum"),
        (44, "4s", b"usd\0", "capital letters"),
        (44, "4s", b"USDX", "capital letters"),
        *((48 + 4 * field, "I", count, "expected .* bytes") for field in range(4) for count in (2, 2**32 - 1)),
        (64, "q", 7, "does not equal the sum"),
        (64 + 24, "q", 0, "not valid for kind"),
        (64 + 24, "q", -1_00, "not valid for kind"),
        (64 + 72, "q", -62_135_596_800_000_001, "out of range"),
        (64 + 80, "q", 253_402_300_800_000_000, "out of range"),
        (64 + 96, "I", 0, "version 0 is not"),
        (64 + 96, "I", 2, "another event has version 2"),
        (64 + 104, "I", 4, "version 4 is not"),
        (64 + 108, "I", 1, "a reversal, and no other event"),
        (64 + 116, "I", 0, "a reversal, and no other event"),
        (64 + 116, "I", 4, "does not exist"),
        (64 + 116, "I", 2**32 - 1, "does not exist"),
        (64 + 116, "I", 2, "another type or amount"),
        (64 + 116, "I", 3, "is a reversal"),
        (64 + 120, "i", 14, "must be ordered"),
        (64 + 132, "B", 0, "unknown event kind"),
        (64 + 132, "B", 5, "unknown event kind"),
        (64 + 132, "B", PAYMENT, "not valid for kind"),
        (64 + 132, "B", INTEREST, "another type or amount"),
    ],
)
def test_layout_rules_are_enforced(core, offset, layout, value, message):
    data = bytearray(bytes(REVERSED.build(core)))
    struct.pack_into("<" + layout, data, offset, value)
    with pytest.raises(ValueError, match=message):
        core.Timeline(bytes(data))


@pytest.mark.parametrize("tx_id", [0, 1])
def test_transaction_ids_of_one_day_must_increase(core, tx_id):
    data = bytearray(bytes(SMALL.build(core)))
    struct.pack_into("<q", data, 64 + 56, tx_id)
    with pytest.raises(ValueError, match="must be ordered"):
        core.Timeline(bytes(data))


def test_reversed_event_of_another_amount_is_rejected(core):
    data = bytearray(bytes(REVERSED.build(core)))
    struct.pack_into("<3q3q", data, 64, 105_00, 100_00, 96_00, 5_00, -5_00, -4_00)
    with pytest.raises(ValueError, match="another type or amount"):
        core.Timeline(bytes(data))


def test_event_that_is_reversed_twice_is_rejected(core):
    events = (Event(1, FEE, 5, 1), Event(1, FEE, 5, 2), *(Event(2, FEE | REVERSAL, 5, 2 + n, n) for n in (1, 2)))
    data = bytearray(bytes(Ledger(0, 100, events).build(core)))
    struct.pack_into("<I", data, 64 + 36 * 4 + 12, 1)
    with pytest.raises(ValueError, match="already reversed"):
        core.Timeline(bytes(data))


def test_versions_beyond_the_number_of_events_must_be_distinct(core):
    events = {"version": 2**40, "versions": [2**32 - 1, 5, 2**32 - 2]}
    timeline = SMALL.build(core, **events)
    assert [row[5] for row in timeline.events(0, 3)] == [2**32 - 1, 5, 2**32 - 2]
    data = bytearray(bytes(timeline))
    struct.pack_into("<I", data, 64 + 96, 5)
    with pytest.raises(ValueError, match="another event has version 5"):
        core.Timeline(bytes(data))


def test_layout_of_the_previous_release_is_rejected(core):
    header = struct.pack("<4sHHqqQqi4sQQ", b"LNTL", 2, 0, 7, 1, 1, 100_00, 10, b"USD\0", 1, 0)
    with pytest.raises(ValueError, match="unsupported timeline layout 2: expected 3"):
        core.Timeline(header + struct.pack("<qqqqIIiB", 101_00, 1_00, 1, 0, 1, 0, 12, FEE))


def test_bytes_whose_running_balance_overflows_are_rejected(core):
    data = bytearray(bytes(Ledger(0, MAX64, ()).build(core)))
    struct.pack_into("<I", data, 48, 1)
    data += struct.pack("<qqqqIIiB", MIN64, 1, 1, 0, 1, 0, 1, FEE)
    with pytest.raises(ValueError, match="64 bits"):
        core.Timeline(bytes(data))


def test_a_timeline_is_not_initialized_again(core):
    timeline = REVERSED.build(core)
    longer = bytearray(bytes(timeline))
    longer[48:52] = (10**6).to_bytes(4, "little")
    for data in (bytes(longer), bytes(timeline)):
        with pytest.raises(TypeError, match="immutable"):
            timeline.__init__(data)
    assert (len(timeline), bytes(timeline)) == (len(REVERSED.events), bytes(REVERSED.build(core)))


def test_mutable_buffer_is_copied(core):
    data = bytearray(bytes(SMALL.build(core)))
    timeline = core.Timeline(data)
    before = timeline.balance_at(20)
    data[:] = bytes(len(data))
    assert timeline.balance_at(20) == before


def test_bytes_have_the_documented_layout(core):
    header = struct.unpack_from("<4sHHqqQqi4s4I", bytes(REVERSED.build(core, exponent=3)))
    assert header == (b"LNTL", 3, 3, 7, 3, 12345, 100_00, 10, b"USD\0", 3, 0, 0, 0)
    columns = struct.unpack_from("<3q3q3q3q3I3I3i3B", bytes(REVERSED.build(core, versions=[1, 3, 2])), 64)
    assert columns == (
        *(105_00, 100_00, 95_00),
        *(5_00, -5_00, -5_00),
        *(1, 2, 3),
        *(1, 2, 3),
        *(1, 3, 2),
        *(0, 0, 1),
        *(12, 13, 14),
        *(FEE, PAYMENT, FEE | REVERSAL),
    )


def test_bytes_have_the_same_layout_on_a_big_endian_machine(core, monkeypatch):
    here = bytes(REVERSED.build(core))
    monkeypatch.setattr(sys, "byteorder", "big")  # native integers stay as they are, so each column is swapped
    swapped = bytes(REVERSED.build(core))
    assert swapped[:64] == here[:64]
    columns = "3q3q3q3q3I3I3i3B"
    assert struct.unpack_from(">" + columns, swapped, 64) == struct.unpack_from("<" + columns, here, 64)
    timeline = core.Timeline(swapped)
    assert bytes(timeline) == swapped
    assert timeline.balances_at([10, 12, 13, 14]) == [100_00, 105_00, 100_00, 95_00]
    assert bytes(timeline.with_horizon(99)) != swapped
    assert timeline.with_horizon(99).events(0, 3) == timeline.events(0, 3)


def test_bytes_of_a_bytes_object_are_not_copied(core):
    data = bytes(SMALL.build(core))
    assert bytes(core.Timeline(data)) is data


def test_columns_outlive_the_timeline_and_cannot_be_written(core):
    days, kinds, running, links = core.Timeline(bytes(REVERSED.build(core))).columns()[1]
    gc.collect()
    assert (list(days), list(kinds), list(running), list(links)) == (
        [12, 13, 14],
        [FEE, PAYMENT, FEE | REVERSAL],
        [105_00, 100_00, 95_00],
        [3, 0, 1],
    )
    assert [view.format for view in (days, kinds, running, links)] == ["i", "B", "q", "I"]
    for view in (days, kinds, running, links):
        with pytest.raises(TypeError, match="read-only"):
            view[0] = 1


def test_a_currency_is_shared_by_all_timelines(core):
    data = bytes(SMALL.build(core))
    assert core.Timeline(data).currency is core.Timeline(data).currency


@pytest.mark.parametrize(("ledger", "links"), [(SMALL, 0), (REVERSED, sys.getsizeof(bytes(3 * 4)))])
def test_the_size_of_a_timeline_includes_its_bytes(core, ledger, links):
    timeline = ledger.build(core)
    besides = sys.getsizeof(timeline) - sys.getsizeof(bytes(timeline)) - links
    if core.build == "compiled":
        assert 0 < besides <= 184  # one object, which the garbage collector need not visit
        assert not gc.is_tracked(timeline)
    else:
        assert besides > 8 * sys.getsizeof(memoryview(b""))


def test_events_show_version_time_and_both_ends_of_a_reversal(core):
    assert REVERSED.build(core).events(0, 3) == [
        (12, FEE, 5_00, 105_00, 1, 1, 1, 0, 3),
        (13, PAYMENT, -5_00, 100_00, 2, 2, 2, 0, 0),
        (14, FEE | REVERSAL, -5_00, 95_00, 3, 3, 3, 1, 0),
    ]


@given(ledger=ledgers())
def test_events_match_those_that_were_posted(core, ledger):
    reversals, versions = ledger.reversals(), ledger.versions()
    rows = ledger.build(core).window(MIN_DAY, MAX_DAY)
    assert [(*row[:3], *row[4:]) for row in rows] == [
        (e.day, e.kind, e.signed, e.tx_id, versions[e.tx_id], e.recorded_at, e.reverses, reversals.get(e.tx_id, 0))
        for e in sorted(ledger.events, key=lambda event: (event.day, event.tx_id))
    ]


def test_balance_is_zero_before_the_start_and_then_the_principal(core):
    timeline = Ledger(10, 100_00, ()).build(core)
    assert timeline.balances_at([MIN_DAY, 9, 10, 11, MAX_DAY]) == [0, 0, 100_00, 100_00, 100_00]


def test_event_before_the_start_counts_from_the_start(core):
    timeline = Ledger(10, 100_00, (Event(5, PAYMENT, 1_00, 1),)).build(core)
    assert timeline.balances_at([5, 9, 10]) == [0, 0, 99_00]


def test_reversal_counts_with_the_opposite_sign(core):
    events = (Event(11, PAYMENT, 40_00, 1), Event(12, PAYMENT | REVERSAL, 40_00, 2, 1))
    timeline = Ledger(10, 100_00, events).build(core)
    assert timeline.balances_at([11, 12]) == [60_00, 100_00]


@pytest.mark.parametrize(("day", "error"), [(MAX_DAY + 1, OverflowError), (MIN_DAY - 1, OverflowError)])
def test_day_beyond_32_bits_is_rejected_by_both_builds(core, day, error):
    for query in (SMALL.build(core).balance_at, lambda day: SMALL.build(core).balances_at([day])):
        with pytest.raises(error):
            query(day)
    with pytest.raises(error):
        SMALL.build(core).window(day, 0)
    with pytest.raises(error):
        SMALL.build(core).changes(0, day)


@pytest.mark.parametrize("day", [1.0, 1.5, "1", None])
def test_non_integer_day_is_rejected_by_both_builds(core, day):
    with pytest.raises(TypeError):
        SMALL.build(core).balance_at(day)


def test_balance_above_64_bits_raises_instead_of_wrapping(core):
    full = Ledger(0, MAX64 - 5, (Event(1, FEE, 5, 1),))
    assert full.build(core).balance_at(1) == MAX64
    with pytest.raises(OverflowError):
        Ledger(0, MAX64 - 5, (Event(1, FEE, 6, 1),)).build(core)
    early = (Event(1, PAYMENT | REVERSAL, 6, 2, 1), Event(2, PAYMENT, 6, 1))
    with pytest.raises(OverflowError):
        Ledger(0, MAX64 - 5, early).build(core)


def test_balance_below_64_bits_raises_instead_of_wrapping(core):
    events = (Event(1, PAYMENT, MAX64, 1), Event(2, PAYMENT, 1, 2))
    assert Ledger(0, 0, events).build(core).balance_at(2) == MIN64
    with pytest.raises(OverflowError):
        Ledger(0, 0, (*events, Event(3, PAYMENT, 1, 3))).build(core)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"days": [12, 12]}, ValueError, "same length"),
        ({"versions": [1, 2]}, ValueError, "same length"),
        ({"recorded_at": []}, ValueError, "same length"),
        ({"reverses": [0] * 4}, ValueError, "same length"),
        ({"exponent": 5}, ValueError, "exponent 5"),
        ({"exponent": -1}, OverflowError, None),
        ({"exponent": 2.0}, TypeError, None),
        ({"versions": [1, 1, 2]}, ValueError, "another event has version 1"),
        ({"versions": [0, 1, 2]}, ValueError, "version 0 is not"),
        ({"versions": [1, 2, 4]}, ValueError, "version 4 is not"),
        ({"versions": [1, 2, 2**32]}, OverflowError, None),
        ({"versions": [1, 2, 3.0]}, TypeError, None),
        ({"recorded_at": [0, 0, 2**62]}, ValueError, "out of range"),
        ({"recorded_at": [0, 0, 0.5]}, TypeError, None),
        ({"reverses": [0, 0, 1]}, ValueError, "a reversal, and no other event"),
        ({"kinds": [INTEREST, PAYMENT, INTEREST | REVERSAL]}, ValueError, "a reversal, and no other event"),
        ({"kinds": [FEE, FEE, FEE | REVERSAL], "reverses": [0, 0, 9]}, ValueError, "transaction id 9 is not in"),
        ({"kinds": [FEE, FEE, FEE | REVERSAL], "reverses": [0, 0, 3]}, ValueError, "is a reversal"),
        ({"kinds": [FEE, FEE, FEE | REVERSAL], "reverses": [0, 0, 1]}, ValueError, "another type or amount"),
        ({"kinds": [FEE, FEE, FEE | REVERSAL], "reverses": [0, 0, "1"]}, TypeError, None),
        ({"kinds": [FEE, FEE, FEE | REVERSAL], "reverses": [0, 0, 1.0]}, TypeError, None),
        (
            {"kinds": [FEE, *[FEE | REVERSAL] * 2], "amounts": [1] * 3, "reverses": [0, 1, 1]},
            ValueError,
            "already reversed",
        ),
        ({"days": [12, 11, 20]}, ValueError, "order"),
        ({"tx_ids": [2, 1, 3]}, ValueError, "order"),
        ({"tx_ids": [1, 1, 3]}, ValueError, "order"),
        ({"kinds": [FEE, 0, FEE]}, ValueError, "unknown event kind"),
        ({"kinds": [FEE, 300, FEE]}, OverflowError, None),
        ({"amounts": [1, 0, 1]}, ValueError, "not positive"),
        ({"amounts": [1, -5, 1]}, ValueError, "not positive"),
        ({"amounts": [1, 1.5, 1]}, TypeError, None),
        ({"amounts": [1, 2**63, 1]}, OverflowError, None),
        ({"days": [1, 2, 2**31]}, OverflowError, None),
        ({"start_day": 2**31}, OverflowError, None),
        ({"initial": -1}, ValueError, "negative"),
        ({"initial": 2**63}, OverflowError, None),
        ({"version": -1}, ValueError, "negative"),
        ({"horizon": -1}, OverflowError, None),
        ({"horizon": 2**64}, OverflowError, None),
        ({"initial": 1.5}, TypeError, None),
        ({"loan_id": "x"}, TypeError, None),
        ({"start_day": 1.0}, TypeError, None),
        ({"currency": "US"}, ValueError, "capital letters"),
        ({"currency": "ÜSD"}, ValueError, "capital letters"),
        ({"currency": "usd"}, ValueError, "capital letters"),
    ],
)
def test_invalid_columns_are_rejected_by_both_builds(core, changes, error, message):
    with pytest.raises(error, match=message):
        SMALL.build(core, **changes)


@given(ledger=ledgers(), first=DAYS, last=DAYS)
def test_window_contains_the_events_of_its_days(core, ledger, first, last):
    rows = ledger.build(core).window(first, last)
    expected = sorted((e.day, e.tx_id, e.kind) for e in ledger.events if first <= e.day <= last)
    assert [(day, tx_id, kind) for day, kind, _, _, tx_id, *_ in rows] == expected


@given(ledger=ledgers(), day=DAYS, first=st.integers(-3, 40), last=st.integers(-3, 40))
def test_events_are_selected_by_position(core, ledger, day, first, last):
    timeline = ledger.build(core)
    rows = timeline.window(MIN_DAY, MAX_DAY)
    assert timeline.events(first, last) == [row for position, row in enumerate(rows) if first <= position < last]
    assert timeline.events(0, timeline.position(day)) == timeline.window(MIN_DAY, day)


@pytest.mark.parametrize("position", [1.0, "1", None])
def test_non_integer_position_is_rejected_by_both_builds(core, position):
    with pytest.raises(TypeError):
        SMALL.build(core).events(0, position)


@given(ledger=ledgers(), first=DAYS, last=DAYS)
def test_changes_determine_the_balance_of_every_day(core, ledger, first, last):
    timeline = ledger.build(core)
    changes = timeline.changes(first, last)
    if last < first:
        assert changes == []
        return
    by_day = dict(changes)
    assert list(by_day) == sorted(by_day)
    balance = None
    for day in range(first, last + 1):
        balance = by_day.get(day, balance)
        assert balance == timeline.balance_at(day)


def test_widest_window_contains_all_events(core):
    assert len(SMALL.build(core).window(MIN_DAY, MAX_DAY)) == 3
