"""Stores the whole ledger in columns, in a memory-mapped file for the portfolio kernel.

A header of 256 bytes is followed by the columns of `Columns`, in their order. Numbers have the byte order of the
machine that wrote the file; other machines reject it.
"""

import mmap
import os
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal, NamedTuple

from native import portfolio_balances
from service.errors import LoanerError

_MAGIC = b"LNPF"
_LAYOUT_VERSION = 1
_BYTE_ORDER = ("little", "big").index(sys.byteorder)
_HEADER = struct.Struct("=4sBBqq200s")  # magic, layout version, byte order, loans, events, cluster
_HEADER_BYTES = 256


class UnusableFile(LoanerError):
    """The file is damaged, or was written by another release or on another kind of machine."""


class ForeignFile(LoanerError):
    """The file was not written by this module, and must not be overwritten."""


class Columns(NamedTuple):
    """The columns of n loans, sorted by id, and of their m events, sorted by (day, tx_id) within a loan.

    Units are days since 1970-01-01 and minor units. Loan i has the events [offsets[i], offsets[i + 1]). `running` is
    the balance after an event. A currency is three letters and a zero byte.
    """

    loan_ids: memoryview  # n x int64
    versions: memoryview  # n x int64
    initials: memoryview  # n x int64
    offsets: memoryview  # (n + 1) x int64
    running: memoryview  # m x int64
    start_days: memoryview  # n x int32
    currencies: memoryview  # n x int32
    days: memoryview  # m x int32

    @classmethod
    def from_buffer(cls, data: mmap.mmap, loans: int, events: int) -> "Columns":
        """Return views of the columns in a mapped file."""
        view, at, columns = memoryview(data), _HEADER_BYTES, []
        for code, count in cls._layout(loans, events):
            end = at + count * array(code).itemsize
            columns.append(view[at:end].cast(code))
            at = end
        return cls(*columns)

    @classmethod
    def size(cls, loans: int, events: int) -> int:
        """Return the size of the file in bytes."""
        return _HEADER_BYTES + sum(count * array(code).itemsize for code, count in cls._layout(loans, events))

    @staticmethod
    def _layout(loans: int, events: int) -> list[tuple[Literal["q", "i"], int]]:
        return [
            *(("q", count) for count in (loans, loans, loans, loans + 1, events)),
            *(("i", count) for count in (loans, loans, events)),
        ]


class LoanColumns(NamedTuple):
    """One loan's ledger, with the units of `Columns`. `days` is int32, `running` is int64."""

    loan_id: int
    version: int
    start_day: int
    initial: int
    currency: str
    days: "array[int]"
    running: "array[int]"


class ColumnarFile:
    """An opened file.

    Args:
        path: The file.
        cluster: Where the ledger was read; versions are comparable only within it (see service/postgres/connect.py).
        columns: Views of the mapped columns.
    """

    def __init__(self, path: Path, cluster: str, columns: Columns) -> None:
        self.path = path
        self.cluster = cluster
        self.columns = columns

    @classmethod
    def open(cls, path: Path) -> "ColumnarFile":
        """Map a file.

        Raises:
            OSError: If it cannot be read.
            UnusableFile: If it is damaged, or written by another release or machine.
            ForeignFile: If it was not written by this module.
        """
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
            if not path.is_file() or not _MAGIC.startswith(head[: len(_MAGIC)]):
                raise ForeignFile(f"{path} is not a portfolio file, and was not changed; choose another path")
            if len(head) < _HEADER_BYTES:
                raise UnusableFile(f"{path} is damaged: its header is incomplete")
            _, layout, order, loans, events, cluster = _HEADER.unpack_from(head)
            if (layout, order) != (_LAYOUT_VERSION, _BYTE_ORDER):
                raise UnusableFile(f"{path} was written by another release or on another kind of machine")
            if min(loans, events) < 0 or os.fstat(file.fileno()).st_size != Columns.size(loans, events):
                raise UnusableFile(f"{path} is damaged: its size does not match its header")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(path, cluster.rstrip(b"\0").decode(errors="replace"), Columns.from_buffer(data, loans, events))

    def __len__(self) -> int:
        """Return the number of loans."""
        return len(self.columns.loan_ids)

    def position(self, loan_id: int) -> int:
        """Return the index of a loan, or where it would be inserted."""
        return bisect_left(self.columns.loan_ids, loan_id)

    def balances(self, day: int, threads: int) -> "array[int]":
        """Return the balance of each loan at the end of a day, in minor units.

        Args:
            day: Days since 1970-01-01.
            threads: Threads of the kernel.

        Raises:
            UnusableFile: If the columns contradict each other.
        """
        _, _, initials, offsets, running, start_days, _, days = self.columns
        columns = {"start_days": start_days, "initials": initials, "offsets": offsets, "days": days, "running": running}
        try:
            balances: array[int] = portfolio_balances(day, **columns, threads=threads)
        except ValueError as err:
            raise UnusableFile(f"{self.path} is damaged; remove it: {err}") from err
        return balances

    def currencies(self) -> list[str]:
        """Return the currency of each loan."""
        names = {code: _currency_name(code) for code in set(self.columns.currencies)}
        return [names[code] for code in self.columns.currencies]


class ColumnarWriter:
    """Fills columns with loans, which must be added in the order of their ids.

    Args:
        columns: The columns of an empty file.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._loans = self._events = 0
        columns.offsets[0] = 0

    def add(self, loan: LoanColumns) -> None:
        """Append a loan."""
        index, target, end = self._loans, self._columns, self._events + len(loan.days)
        target.loan_ids[index], target.versions[index] = loan.loan_id, loan.version
        target.initials[index], target.start_days[index] = loan.initial, loan.start_day
        target.currencies[index] = _currency_code(loan.currency)
        target.days[self._events : end] = loan.days
        target.running[self._events : end] = loan.running
        target.offsets[index + 1] = end
        self._loans, self._events = index + 1, end

    def copy(self, source: Columns, first: int, last: int) -> None:
        """Append the loans [first, last) of other columns."""
        source_start, source_end = source.offsets[first], source.offsets[last]
        start, end = self._loans, self._loans + last - first
        events_start, events_end = self._events, self._events + source_end - source_start
        target, shift = self._columns, events_start - source_start
        for name in ("loan_ids", "versions", "initials", "start_days", "currencies"):
            getattr(target, name)[start:end] = getattr(source, name)[first:last]
        for name in ("days", "running"):
            getattr(target, name)[events_start:events_end] = getattr(source, name)[source_start:source_end]
        offsets = (offset + shift for offset in source.offsets[first + 1 : last + 1])
        target.offsets[start + 1 : end + 1] = array("q", offsets)
        self._loans, self._events = end, events_end

    def check_complete(self) -> None:
        """Check that the columns are full.

        Raises:
            UnusableFile: If loans or events are missing.
        """
        if (self._loans, self._events) != (len(self._columns.loan_ids), len(self._columns.days)):
            raise UnusableFile("the loans' versions do not match the number of their events; no file was written")


@contextmanager
def write_columnar_file(path: Path, cluster: str, loans: int, events: int) -> Iterator[ColumnarWriter]:
    """Write a file of this many loans and events; it replaces the one at `path` only when it is complete.

    Raises:
        OSError: If it cannot be written.
        UnusableFile: If loans or events are missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            _allocate(file.fileno(), Columns.size(loans, events))
            data = mmap.mmap(file.fileno(), 0)
            _HEADER.pack_into(data, 0, _MAGIC, _LAYOUT_VERSION, _BYTE_ORDER, loans, events, cluster.encode())
            writer = ColumnarWriter(Columns.from_buffer(data, loans, events))
            yield writer
            writer.check_complete()
            data.flush()
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


def _currency_code(currency: str) -> int:
    return int.from_bytes(currency.encode("ascii") + b"\0", sys.byteorder, signed=True)


def _currency_name(code: int) -> str:
    return code.to_bytes(4, sys.byteorder, signed=True)[:3].decode("ascii")
