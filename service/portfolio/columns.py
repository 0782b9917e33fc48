"""The columns of many loans, which the portfolio kernels read: in a mapped file, or of some loans in memory.

In a file they follow each other in the order of `Columns`, without padding: those of 8 bytes first, so that each is
aligned. Numbers have the byte order of the machine that wrote the file.
"""

import mmap
import os
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, chain, pairwise
from typing import Literal, NamedTuple
from zlib import crc32

from service.portfolio.loan_columns import LoanColumns

Code = Literal["q", "i", "I", "B"]


class Counts(NamedTuple):
    """The numbers of loans, and of the rows that they have."""

    loans: int
    events: int
    terms: int
    schedules: int
    installments: int


class RowGroup(NamedTuple):
    """The rows of one kind that loans have.

    Attributes:
        offsets: The column of offsets: loan i has the rows [offsets[i], offsets[i + 1]).
        columns: The columns of these rows.
    """

    offsets: str
    columns: tuple[str, ...]


# In the order of Counts, after the loans.
GROUPS = (
    RowGroup("offsets", ("days", "running", "links", "kinds")),
    RowGroup("term_offsets", ("term_days", "rates", "grace_days", "day_counts", "allocations")),
    RowGroup("schedule_offsets", ("schedule_days", "ends")),
    RowGroup("installment_offsets", ("due_days", "amounts")),
)


class Columns(NamedTuple):
    """The columns of n loans, sorted by id, and of what they have.

    Units are days since 1970-01-01 and minor units. A loan's events are sorted by (day, tx_id), its terms and schedules
    by effective day, and the installments of a schedule by due day. `running` is the balance after an event. A currency
    is three letters, and a byte with the number of decimals of the loan's amounts. For the others see `LoanColumns`.
    """

    loan_ids: memoryview  # int64
    versions: memoryview
    initials: memoryview
    offsets: memoryview
    term_offsets: memoryview
    schedule_offsets: memoryview
    installment_offsets: memoryview
    running: memoryview
    amounts: memoryview
    start_days: memoryview  # int32
    currencies: memoryview
    days: memoryview
    term_days: memoryview
    schedule_days: memoryview
    due_days: memoryview
    links: memoryview  # uint32
    rates: memoryview
    grace_days: memoryview
    ends: memoryview
    kinds: memoryview  # uint8
    day_counts: memoryview
    allocations: memoryview

    @classmethod
    def from_buffer(cls, data: mmap.mmap, start: int, counts: Counts) -> "Columns":
        """Return views of the columns in a mapped file, the first of which begins at `start`."""
        view = memoryview(data)
        bounds = pairwise(_bounds(start, counts))
        return cls(*(view[at:end].cast(code) for (at, end), code in zip(bounds, _CODES.values(), strict=True)))

    def checksums(self) -> list[int]:
        """Return the CRC-32 of each column."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(crc32, self))


_CODES: dict[str, Code] = dict(zip(Columns._fields, ["q"] * 9 + ["i"] * 6 + ["I"] * 4 + ["B"] * 3, strict=True))  # type: ignore[arg-type]


def join_loans(loans: Sequence[LoanColumns]) -> "dict[str, array[int]]":
    """Return the columns of loans by their names, without those that only a file has."""
    columns = {"start_days": array("i", [loan.start_day for loan in loans])}
    columns["initials"] = array("q", [loan.initial for loan in loans])
    for offsets, names in GROUPS:
        counts = (len(getattr(loan, names[0])) for loan in loans)
        columns[offsets] = array("q", accumulate(counts, initial=0))
        for name in names:
            columns[name] = array(_CODES[name], chain.from_iterable(getattr(loan, name) for loan in loans))
    return columns


def file_size(start: int, counts: Counts) -> int:
    """Return the size in bytes of a file whose first column begins at `start`."""
    return _bounds(start, counts)[-1]


def close_gaps(data: mmap.mmap, start: int, capacity: Counts, used: Counts) -> None:
    """Move columns so that those for `capacity`, of which only `used` are filled, become those for `used`."""
    before, after = _bounds(start, capacity), _bounds(start, used)
    for source, (target, end) in zip(before, pairwise(after), strict=False):
        if source != target:
            data.move(target, source, end - target)


def _bounds(start: int, counts: Counts) -> list[int]:
    """Return where each column begins, and where the last one ends."""
    bounds = [start]
    for code, rows in zip(_CODES.values(), _rows(counts), strict=True):
        bounds.append(bounds[-1] + rows * array(code).itemsize)
    return bounds


def _rows(counts: Counts) -> Iterator[int]:
    """Yield the number of rows of each column."""
    of_group = {name: rows for group, rows in zip(GROUPS, counts[1:], strict=True) for name in group.columns} | {
        group.offsets: counts.loans + 1 for group in GROUPS
    }
    for name in Columns._fields:
        yield of_group.get(name, counts.loans)
