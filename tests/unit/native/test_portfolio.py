"""Portfolio balances: equal to those of each timeline, and inconsistent columns are rejected."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.models.oracle import DAYS, Event, Ledger, ledgers


def to_columns(core, portfolio: list[Ledger]) -> dict[str, array]:
    """Return the columns of a portfolio, as arguments of portfolio_balances."""
    timelines = [ledger.build(core) for ledger in portfolio]
    rows = [timeline.window(-(2**31), 2**31 - 1) for timeline in timelines]
    offsets = [0]
    for events in rows:
        offsets.append(offsets[-1] + len(events))
    return {
        "start_days": array("i", [ledger.start_day for ledger in portfolio]),
        "initials": array("q", [ledger.initial for ledger in portfolio]),
        "offsets": array("q", offsets),
        "days": array("i", [event[0] for events in rows for event in events]),
        "running": array("q", [event[3] for events in rows for event in events]),
    }


def to_parts_columns(core, portfolio: list[Ledger]) -> dict[str, array]:
    """Return the columns of a portfolio, as arguments of portfolio_parts."""
    kinds, links = array("B"), array("I")
    for ledger in portfolio:
        timeline = ledger.build(core)
        _, kind, _, link = timeline.columns()[1]
        kinds.extend(kind)
        links.extend(link or [0] * len(timeline))
    return {**to_columns(core, portfolio), "kinds": kinds, "links": links}


@given(portfolio=st.lists(ledgers(max_events=8), max_size=8), day=DAYS)
def test_balances_equal_those_of_each_timeline(core, portfolio, day):
    balances = core.portfolio_balances(day, **to_columns(core, portfolio))
    assert list(balances) == [ledger.build(core).balance_at(day) for ledger in portfolio]


@pytest.mark.parametrize("count", [63, 64, 65, 200])
def test_binary_search_and_linear_count_agree(core, count):
    ledger = Ledger(0, 1000, tuple(Event(number // 3, 1, 1, number + 1) for number in range(count)))
    columns, timeline = to_columns(core, [ledger]), ledger.build(core)
    for day in range(-1, count // 3 + 2):
        assert list(core.portfolio_balances(day, **columns)) == [timeline.balance_at(day)]


def test_threads_do_not_change_the_result(core):
    loans, events = (20_000, 12) if core.build == "compiled" else (2_000, 120)
    ledger = Ledger(0, 5_00, tuple(Event(number, 1 + number % 3, 1_00, number + 1) for number in range(events)))
    one = to_columns(core, [ledger])
    many = {name: one[name] * loans for name in ("start_days", "initials", "days", "running")}
    many["offsets"] = array("q", range(0, loans * events + 1, events))
    expected = [ledger.build(core).balance_at(7)] * loans
    assert list(core.portfolio_balances(7, **many, threads=2)) == expected


def test_result_is_written_to_the_given_buffer(core):
    columns = to_columns(core, [Ledger(0, 5_00, ())])
    out = array("q", [9])
    assert core.portfolio_balances(1, **columns, out=out) is out
    assert list(out) == [5_00]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offsets": array("q", [0, 2, 1])}, "offsets of loan"),
        ({"offsets": array("q", [-1, 1, 2])}, "offsets of loan 0"),
        ({"offsets": array("q", [0, 1, 3])}, "offsets of loan 1"),
        ({"offsets": array("q", [0, 1])}, "offsets 3"),
        ({"start_days": array("i", [1])}, "start_days"),
        ({"running": array("q", [1])}, "same length"),
        ({"days": array("q", [1, 2])}, "days must be"),
        ({"initials": array("i", [1, 2])}, "initials must be"),
        ({"out": array("q", [1])}, "out"),
        ({"running": memoryview(array("q", [1, 2, 3, 4]))[::2]}, "running must be"),
    ],
)
def test_inconsistent_columns_are_rejected(core, changes, message):
    columns = {
        "start_days": array("i", [0, 0]),
        "initials": array("q", [1, 1]),
        "offsets": array("q", [0, 1, 2]),
        "days": array("i", [1, 1]),
        "running": array("q", [1, 1]),
    }
    with pytest.raises(ValueError, match=message):
        core.portfolio_balances(1, **{**columns, **changes})


def test_read_only_result_buffer_is_rejected(core):
    columns = to_columns(core, [Ledger(0, 5_00, ())])
    with pytest.raises((ValueError, TypeError, BufferError)):
        core.portfolio_balances(1, **columns, out=memoryview(bytes(8)).cast("q"))


@pytest.mark.parametrize(("day", "error"), [(2**31, OverflowError), (1.5, TypeError)])
def test_invalid_day_is_rejected(core, day, error):
    with pytest.raises(error):
        core.portfolio_balances(day, **to_columns(core, []))


# Parts


@given(portfolio=st.lists(ledgers(max_events=8, days=st.integers(0, 9), amounts=st.integers(1, 4)), max_size=8))
def test_parts_equal_those_of_each_timeline(core, portfolio):
    columns = to_parts_columns(core, portfolio)
    for day in (-1, 3, 9):
        expected = [core.balance_parts(ledger.build(core), day) for ledger in portfolio]
        assert list(core.portfolio_parts(day, **columns)) == [part for parts in expected for part in parts]


def test_threads_do_not_change_parts(core):
    loans, events = (20_000, 12) if core.build == "compiled" else (2_000, 120)
    ledger = Ledger(0, 5_00, tuple(Event(number, 1 + number % 3, 1_00, number + 1) for number in range(events)))
    one = to_parts_columns(core, [ledger])
    many = {name: column * loans for name, column in one.items()}
    many["offsets"] = array("q", range(0, loans * events + 1, events))
    expected = core.balance_parts(ledger.build(core), 7)
    assert list(core.portfolio_parts(7, **many, threads=2)) == [*expected] * loans


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offsets": array("q", [0, 2, 1])}, "offsets of loan 1"),
        ({"offsets": array("q", [0, 1, 3])}, "offsets of loan 1"),
        ({"offsets": array("q", [-1, 1, 2])}, "offsets of loan 0"),
        ({"offsets": array("q", [0, 2])}, "offsets 3"),
        ({"start_days": array("i", [0])}, "start_days must have 2"),
        ({"kinds": array("B", [1])}, "same length"),
        ({"links": array("I", [0])}, "same length"),
        ({"running": array("q", [1])}, "same length"),
        ({"kinds": array("i", [1, 1])}, "kinds must be a contiguous column of uint8"),
        ({"links": array("i", [0, 0])}, "links must be a contiguous column of uint32"),
    ],
)
def test_inconsistent_columns_of_parts_are_rejected(core, changes, message):
    columns = {
        "start_days": array("i", [0, 0]),
        "initials": array("q", [1, 1]),
        "offsets": array("q", [0, 1, 2]),
        "days": array("i", [1, 1]),
        "kinds": array("B", [1, 1]),
        "running": array("q", [2, 2]),
        "links": array("I", [0, 0]),
    }
    assert list(core.portfolio_parts(1, **columns)) == [1, 0, 1] * 2
    with pytest.raises(ValueError, match=message):
        core.portfolio_parts(1, **{**columns, **changes})


@pytest.mark.parametrize("links", [[9, 9], [2**32 - 1, 1]])
def test_links_outside_a_loan_are_not_followed(core, links):
    columns = to_parts_columns(core, [Ledger(0, 5, (Event(1, 1, 1, 1), Event(2, 1, 1, 2)))])
    parts = core.portfolio_parts(2, **{**columns, "links": array("I", links)})
    assert list(parts) in ([2, 0, 5], [1, 0, 5])


@pytest.mark.parametrize("running", [[2**63 - 1, -(2**63)], [-(2**63), 2**63 - 1]])
def test_changes_beyond_64_bits_raise_instead_of_wrapping(core, running):
    columns = to_parts_columns(core, [Ledger(0, 5, (Event(1, 1, 1, 1), Event(2, 1, 1, 2)))])
    with pytest.raises(OverflowError, match="a part of loan 0"):
        core.portfolio_parts(2, **{**columns, "running": array("q", running)})


@pytest.mark.parametrize(("day", "error"), [(2**31, OverflowError), (1.5, TypeError)])
def test_invalid_day_of_parts_is_rejected(core, day, error):
    with pytest.raises(error):
        core.portfolio_parts(day, **to_parts_columns(core, []))
