"""All loans' ledgers in columns, in a file that is mapped into memory: what the portfolio kernel reads.

After a header of 256 bytes follow the columns of `Columns`, in their order. Numbers are in the byte order of the
machine that wrote the file, and for which alone it is meant.
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
    """A file that is no such ledger, or is damaged, or of another machine or release."""


class ForeignFile(LoanerError):
    """A file that was never such a ledger: somebody may need it."""


class Columns(NamedTuple):
    """Of n loans in the order of their ids, and of m events, each loan's in the order of (day, transaction id).

    Units: days since 1970-01-01, minor units. offsets: loan i has the events [offsets[i], offsets[i + 1]). running:
    what was owed after an event. currencies: three letters and a zero.
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
    def over(cls, data: mmap.mmap, loans: int, events: int) -> "Columns":
        """The columns in the bytes of a file."""
        view, at, columns = memoryview(data), _HEADER_BYTES, []
        for code, count in cls._layout(loans, events):
            end = at + count * array(code).itemsize
            columns.append(view[at:end].cast(code))
            at = end
        return cls(*columns)

    @classmethod
    def size(cls, loans: int, events: int) -> int:
        """How many bytes the file has."""
        return _HEADER_BYTES + sum(count * array(code).itemsize for code, count in cls._layout(loans, events))

    @staticmethod
    def _layout(loans: int, events: int) -> list[tuple[Literal["q", "i"], int]]:
        return [
            *(("q", count) for count in (loans, loans, loans, loans + 1, events)),
            *(("i", count) for count in (loans, loans, events)),
        ]


class LoanColumns(NamedTuple):
    """One loan's ledger, as in `Columns`. days: int32, running: int64."""

    loan_id: int
    version: int
    start_day: int
    initial: int
    currency: str
    days: "array[int]"
    running: "array[int]"


class ColumnarFile:
    """What a file holds. cluster: within what versions mean something (see service/connection.py)."""

    def __init__(self, path: Path, cluster: str, columns: Columns) -> None:
        self.path = path
        self.cluster = cluster
        self.columns = columns

    @classmethod
    def open(cls, path: Path) -> "ColumnarFile":
        """Map a file. Raises: OSError; UnusableFile; ForeignFile."""
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
            if not path.is_file() or not _MAGIC.startswith(head[: len(_MAGIC)]):
                raise ForeignFile(f"{path} is no ledger in columns, and is left as it is")
            if len(head) < _HEADER_BYTES:
                raise UnusableFile(f"{path} is damaged: it ends too soon")
            _, layout, order, loans, events, cluster = _HEADER.unpack_from(head)
            if (layout, order) != (_LAYOUT_VERSION, _BYTE_ORDER):
                raise UnusableFile(f"{path} is of another release or machine")
            if min(loans, events) < 0 or os.fstat(file.fileno()).st_size != Columns.size(loans, events):
                raise UnusableFile(f"{path} is damaged: it has another size than it should")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(path, cluster.rstrip(b"\0").decode(errors="replace"), Columns.over(data, loans, events))

    def __len__(self) -> int:
        """How many loans."""
        return len(self.columns.loan_ids)

    def position(self, loan_id: int) -> int:
        """Where the loan is, or would be."""
        return bisect_left(self.columns.loan_ids, loan_id)

    def balances(self, day: int, threads: int) -> "array[int]":
        """What each loan owed at the end of a day (a day number). Raises: UnusableFile if columns do not agree."""
        _, _, initials, offsets, running, start_days, _, days = self.columns
        columns = {"start_days": start_days, "initials": initials, "offsets": offsets, "days": days, "running": running}
        try:
            balances: array[int] = portfolio_balances(day, **columns, threads=threads)
        except ValueError as err:
            raise UnusableFile(f"{self.path} is damaged, and has to be removed: {err}") from err
        return balances

    def currencies(self) -> list[str]:
        """The currency of each loan."""
        names = {code: _currency_of(code) for code in set(self.columns.currencies)}
        return [names[code] for code in self.columns.currencies]


class ColumnarWriter:
    """Fills the columns, loan by loan in the order of their ids."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._loans = self._events = 0
        columns.offsets[0] = 0

    def add(self, loan: LoanColumns) -> None:
        """The next loan."""
        at, to, end = self._loans, self._columns, self._events + len(loan.days)
        to.loan_ids[at], to.versions[at], to.initials[at] = loan.loan_id, loan.version, loan.initial
        to.start_days[at], to.currencies[at] = loan.start_day, _currency_code(loan.currency)
        to.days[self._events : end] = loan.days
        to.running[self._events : end] = loan.running
        to.offsets[at + 1] = end
        self._loans, self._events = at + 1, end

    def copy(self, source: Columns, first: int, last: int) -> None:
        """The next loans: those of other columns from one position up to, and without, another."""
        begin, finish = source.offsets[first], source.offsets[last]
        at, to, shift = self._loans, self._columns, self._events - begin
        end, events_end = at + last - first, self._events + finish - begin
        for name in ("loan_ids", "versions", "initials", "start_days", "currencies"):
            getattr(to, name)[at:end] = getattr(source, name)[first:last]
        for name in ("days", "running"):
            getattr(to, name)[self._events : events_end] = getattr(source, name)[begin:finish]
        to.offsets[at + 1 : end + 1] = array("q", (offset + shift for offset in source.offsets[first + 1 : last + 1]))
        self._loans, self._events = end, events_end

    def check_full(self) -> None:
        """Raises: UnusableFile if loans or events are missing."""
        if (self._loans, self._events) != (len(self._columns.loan_ids), len(self._columns.days)):
            raise UnusableFile("the ledger's versions do not count its events: no file was written")


@contextmanager
def write_columnar_file(path: Path, cluster: str, loans: int, events: int) -> Iterator[ColumnarWriter]:
    """A file of so many loans and events, to be filled. It takes its place when it is whole, or not at all.

    Raises: OSError; UnusableFile.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            _make_room(file.fileno(), Columns.size(loans, events))
            data = mmap.mmap(file.fileno(), 0)
            _HEADER.pack_into(data, 0, _MAGIC, _LAYOUT_VERSION, _BYTE_ORDER, loans, events, cluster.encode())
            writer = ColumnarWriter(Columns.over(data, loans, events))
            yield writer
            writer.check_full()
            data.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _make_room(descriptor: int, size: int) -> None:
    """All of it now, where that can be done: on a full disk, to write through a map later is the end of the process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)


def _currency_code(currency: str) -> int:
    return int.from_bytes(currency.encode("ascii") + b"\0", sys.byteorder, signed=True)


def _currency_of(code: int) -> str:
    return code.to_bytes(4, sys.byteorder, signed=True)[:3].decode("ascii")
