"""Reads the ledgers of many loans from Postgres as columns."""

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import Any, NamedTuple

from service.domain.terms import ALLOCATION_CODES, DAY_COUNT_CODES
from service.postgres.sql_fragments import EPOCH, KIND, MINOR_UNITS, SIGNED_AMT

# Most loans have none; the columns are never changed.
_NO_TERMS: "tuple[array[int], ...]" = (array("i"), array("I"), array("I"), array("B"), array("B"))
_NO_SCHEDULES: "tuple[array[int], ...]" = (array("i"), array("I"), array("i"), array("q"))


class LoanColumns(NamedTuple):
    """One loan's records. Units are days since 1970-01-01 and minor units; events are sorted by (day, tx_id).

    Attributes:
        loan_id: The loan.
        version: Its version.
        start_day: The day on which it starts.
        initial: The principal.
        currency: ISO 4217 code.
        exponent: The number of decimals of its amounts.
        days: int32: the day of each event.
        running: int64: the balance after each event.
        kinds: uint8: the kind of each event; see native/LAYOUT.md.
        links: uint32: for a reversal and for the event that it reverses, 1 + the position of the other; else 0.
        term_days: int32: the effective day of each of its terms; ascending and distinct, as in native/LAYOUT.md.
        rates: uint32: their rates.
        grace_days: uint32: their grace days.
        day_counts: uint8: their day counts.
        allocations: uint8: their orders of allocation.
        schedule_days: int32: the effective day of each schedule.
        ends: uint32: the number of installments of each schedule and of all before it.
        due_days: int32: the due day of each installment.
        amounts: int64: their amounts.
    """

    loan_id: int
    version: int
    start_day: int
    initial: int
    currency: str
    exponent: int
    days: "array[int]"
    running: "array[int]"
    kinds: "array[int]"
    links: "array[int]"
    term_days: "array[int]"
    rates: "array[int]"
    grace_days: "array[int]"
    day_counts: "array[int]"
    allocations: "array[int]"
    schedule_days: "array[int]"
    ends: "array[int]"
    due_days: "array[int]"
    amounts: "array[int]"


_INITIAL = LoanColumns._fields.index("initial")


def build_query(
    suffix: str, loans: str = "loans", version: str = "l.version", events: str = "true", *, schedules: bool = True
) -> str:
    """Return the query whose rows `read_columns` converts. Texts are SQL and inserted unchanged.

    One index scan per loan avoids sorting all events. Numbers are sent in network byte order. Transaction ids are sent
    only for loans with reversals, to find the reversed events.

    Args:
        suffix: Which loans `l` to read, and in which order.
        loans: The table of loans, or a query in its place.
        version: The version of a loan `l`.
        events: A condition on the events of a loan `l`.
        schedules: Whether to read schedules.
    """
    found = (
        f"CASE WHEN l.agreements > 0 THEN schedules_of(l.loan_id, {version}, l.exponent) END"
        if schedules
        else "NULL::json"
    )
    return f"""
    SELECT l.loan_id, {version}, l.start_date - {EPOCH}, (l.initial_amt * {MINOR_UNITS})::bigint, l.currency,
           l.exponent, e.days, e.changes, e.kinds, e.tx_ids, e.reverses,
           CASE WHEN l.agreements > 0 THEN terms_of(l.loan_id, {version}) END,
           {found}
    FROM {loans} AS l
    CROSS JOIN LATERAL (
        SELECT string_agg(int4send(day), '') AS days, string_agg(int8send(change), '') AS changes,
               string_agg(int2send(kind), '') AS kinds,
               CASE WHEN bool_or(reverses <> 0) THEN string_agg(int8send(tx_id), '') END AS tx_ids,
               CASE WHEN bool_or(reverses <> 0) THEN string_agg(int8send(reverses), '') END AS reverses
        FROM (
            SELECT post_date - {EPOCH} AS day, ({SIGNED_AMT} * {MINOR_UNITS})::bigint AS change,
                   ({KIND})::smallint AS kind,
                   tx_id, coalesce(reverses, 0) AS reverses
            FROM loan_events
            WHERE loan_id = l.loan_id AND {events}
            ORDER BY post_date, tx_id
        ) AS ordered
    ) AS e
    {suffix}
    """  # noqa: S608  (built from constants, not from input)


def read_columns(rows: Iterable[tuple[Any, ...]]) -> Iterator[LoanColumns]:
    """Convert the rows of `build_query`."""
    for *head, days, changes, kinds, tx_ids, reverses, terms, schedules in rows:
        running = array("q", islice(accumulate(_to_array("q", changes), initial=head[_INITIAL]), 1, None))
        links = _to_links(len(running), _to_array("q", tx_ids), _to_array("q", reverses))
        events = _to_array("i", days), running, array("B", _to_array("h", kinds)), links
        yield LoanColumns._make((*head, *events, *_term_columns(terms), *_schedule_columns(schedules)))


def _term_columns(terms: list[list[Any]] | None) -> "Sequence[array[int]]":
    if not terms:
        return _NO_TERMS
    days, rates, day_counts, allocations, grace_days = zip(*terms, strict=True)
    return (
        array("i", days),
        array("I", rates),
        array("I", grace_days),
        array("B", map(DAY_COUNT_CODES.__getitem__, day_counts)),
        array("B", map(ALLOCATION_CODES.__getitem__, map(tuple, allocations))),
    )


def _schedule_columns(schedules: list[tuple[int, list[list[int]]]] | None) -> "Sequence[array[int]]":
    if not schedules:
        return _NO_SCHEDULES
    days, installments = zip(*schedules, strict=True)
    ends = accumulate(map(len, installments))
    due_days, amounts = zip(*chain.from_iterable(installments), strict=True)
    return array("i", days), array("I", ends), array("i", due_days), array("q", amounts)


def _to_links(events: int, tx_ids: "array[int]", reverses: "array[int]") -> "array[int]":
    positions = {tx_id: position for position, tx_id in enumerate(tx_ids, 1)}
    links = array("I", bytes(4 * events))
    for position, tx_id in enumerate(reverses, 1):
        other = positions.get(tx_id)
        if other is not None:
            links[position - 1], links[other - 1] = other, position
    return links


def _to_array(code: str, data: bytes | None) -> "array[int]":
    column = array(code)
    column.frombytes(data or b"")
    if sys.byteorder == "little":
        column.byteswap()
    return column
