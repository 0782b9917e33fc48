"""Writes a columnar file."""

import mmap
import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from service.portfolio.columnar_file import HEADER_BYTES, UnusableFile, encode_currency, pack_header
from service.portfolio.columns import GROUPS, Columns, Counts, close_gaps, file_size
from service.portfolio.loan_columns import LoanColumns

_LOAN_COLUMNS = ("loan_ids", "versions", "initials", "start_days", "currencies")


class ColumnarWriter:
    """Fills columns with loans, which must be added in the order of their ids.

    Args:
        columns: The columns of an empty file.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._loans = 0
        self._rows = [0] * len(GROUPS)
        for group in GROUPS:
            getattr(columns, group.offsets)[0] = 0

    @property
    def counts(self) -> Counts:
        """What has been written."""
        return Counts(self._loans, *self._rows)

    def add(self, loan: LoanColumns) -> None:
        """Append a loan."""
        index, target = self._loans, self._columns
        target.loan_ids[index], target.versions[index] = loan.loan_id, loan.version
        target.initials[index], target.start_days[index] = loan.initial, loan.start_day
        target.currencies[index] = encode_currency(loan.currency, loan.exponent)
        self._loans = index + 1
        for number, (offsets, names) in enumerate(GROUPS):
            start = end = self._rows[number]
            if count := len(getattr(loan, names[0])):
                end = self._rows[number] = start + count
                for name in names:
                    getattr(target, name)[start:end] = getattr(loan, name)
            getattr(target, offsets)[index + 1] = end

    def copy(self, source: Columns, first: int, last: int) -> None:
        """Append the loans [first, last) of other columns."""
        start, end, target = self._loans, self._loans + last - first, self._columns
        for name in _LOAN_COLUMNS:
            getattr(target, name)[start:end] = getattr(source, name)[first:last]
        for number, (offsets, names) in enumerate(GROUPS):
            source_offsets = getattr(source, offsets)
            source_start, source_end = source_offsets[first], source_offsets[last]
            rows_start, rows_end = self._rows[number], self._rows[number] + source_end - source_start
            for name in names:
                getattr(target, name)[rows_start:rows_end] = getattr(source, name)[source_start:source_end]
            shift = rows_start - source_start
            shifted = (offset + shift for offset in source_offsets[first + 1 : last + 1])
            getattr(target, offsets)[start + 1 : end + 1] = array("q", shifted)
            self._rows[number] = rows_end
        self._loans = end


@contextmanager
def write_columnar_file(path: Path, cluster: str, capacity: Counts) -> Iterator[ColumnarWriter]:
    """Write a file; it replaces the one at `path` only when it is complete.

    Args:
        path: The file.
        cluster: Where the ledger was read.
        capacity: The numbers of loans and events, and the largest possible numbers of the other rows.

    Raises:
        OSError: If it cannot be written.
        UnusableFile: If loans or events are missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            _allocate(file.fileno(), file_size(HEADER_BYTES, capacity))
            data = mmap.mmap(file.fileno(), 0)
            writer = ColumnarWriter(Columns.from_buffer(data, HEADER_BYTES, capacity))
            yield writer
            used = writer.counts
            if used[:2] != capacity[:2]:
                raise UnusableFile("the loans' versions do not match the number of their records; no file was written")
            close_gaps(data, HEADER_BYTES, capacity, used)
            data[:HEADER_BYTES] = pack_header(cluster, used, Columns.from_buffer(data, HEADER_BYTES, used))
            data.flush()
            os.truncate(file.fileno(), file_size(HEADER_BYTES, used))
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _allocate(descriptor: int, size: int) -> None:
    """Allocate the whole file: on a full disk, writing to a mapped page without a block would kill the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)
