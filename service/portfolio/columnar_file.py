"""Stores the whole ledger in columns, in a memory-mapped file for the portfolio kernel.

A header of 256 bytes is followed by the columns of `Columns`, in their order, without padding. Numbers have the byte
order of the machine that wrote the file; other machines reject it. The header holds the CRC-32 of each column, and ends
with one of its other bytes. Opening the file checks all of them, so that a file damaged on disk is not used.
"""

import mmap
import os
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal, NamedTuple
from zlib import crc32

from native import portfolio_balances, portfolio_parts
from service.errors import LoanerError
from service.portfolio.loan_columns import LoanColumns

_MAGIC = b"LNPF"
_LAYOUT_VERSION = 2
_BYTE_ORDER = ("little", "big").index(sys.byteorder)
_HEADER = struct.Struct("=4sBB2xqq188s10I")  # magic, layout version, byte order, loans, events, cluster, checksums
_CHECKSUM = struct.Struct("=I")  # of the header
_HEADER_BYTES = _HEADER.size + _CHECKSUM.size
_EVENT_COLUMNS = ("days", "running", "links", "kinds")


class UnusableFile(LoanerError):
    """The file is damaged, or does not match the ledger."""


class OutdatedFile(UnusableFile):
    """The file was written by another release or on another kind of machine."""


class ForeignFile(LoanerError):
    """The file was not written by this module, and must not be overwritten."""


class Columns(NamedTuple):
    """The columns of n loans, sorted by id, and of their m events, sorted by (day, tx_id) within a loan.

    Units are days since 1970-01-01 and minor units. Loan i has the events [offsets[i], offsets[i + 1]). `running` is
    the balance after an event. A currency is three letters, and a byte with the number of decimals of the loan's
    amounts. For kinds and links see `LoanColumns`.
    """

    loan_ids: memoryview  # n x int64
    versions: memoryview  # n x int64
    initials: memoryview  # n x int64
    offsets: memoryview  # (n + 1) x int64
    running: memoryview  # m x int64
    start_days: memoryview  # n x int32
    currencies: memoryview  # n x int32
    days: memoryview  # m x int32
    links: memoryview  # m x uint32
    kinds: memoryview  # m x uint8

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

    def checksums(self) -> list[int]:
        """Return the CRC-32 of each column."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(crc32, self))

    @staticmethod
    def _layout(loans: int, events: int) -> list[tuple[Literal["q", "i", "I", "B"], int]]:
        return [
            *(("q", count) for count in (loans, loans, loans, loans + 1, events)),
            *(("i", count) for count in (loans, loans, events)),
            ("I", events),
            ("B", events),
        ]


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
        """Map a file, and check every byte of it.

        Raises:
            OSError: If it cannot be read.
            UnusableFile: If it is damaged.
            OutdatedFile: If it was written by another release or machine.
            ForeignFile: If it was not written by this module.
        """
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
            if not path.is_file():
                raise _foreign(path)
            _check_header(path, head)
            _, _, _, loans, events, cluster, *checksums = _HEADER.unpack_from(head)
            if os.fstat(file.fileno()).st_size != Columns.size(loans, events):
                raise UnusableFile(f"{path} is damaged: its size does not match its header")
            columns = Columns.from_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), loans, events)
        for name, stored, actual in zip(Columns._fields, checksums, columns.checksums(), strict=True):
            if stored != actual:
                raise UnusableFile(f"{path} is damaged: the checksum of its column {name} does not match")
        return cls(path, cluster.rstrip(b"\0").decode(), columns)

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
        """
        balances: array[int] = portfolio_balances(day, **self._kernel_columns(), threads=threads)
        return balances

    def parts(self, day: int, threads: int) -> "array[int]":
        """Return the parts of the balance of each loan at the end of a day, as `native.portfolio_parts` does.

        Args:
            day: Days since 1970-01-01.
            threads: Threads of the kernel.
        """
        columns = {**self._kernel_columns(), "kinds": self.columns.kinds, "links": self.columns.links}
        parts: array[int] = portfolio_parts(day, **columns, threads=threads)
        return parts

    def currencies(self) -> list[tuple[str, int]]:
        """Return the currency of each loan, and the number of decimals of its amounts."""
        decoded = {code: _decode_currency(code) for code in set(self.columns.currencies)}
        return [decoded[code] for code in self.columns.currencies]

    def _kernel_columns(self) -> dict[str, memoryview]:
        return {name: getattr(self.columns, name) for name in ("start_days", "initials", "offsets", "days", "running")}


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
        target.currencies[index] = _encode_currency(loan.currency, loan.exponent)
        for name in _EVENT_COLUMNS:
            getattr(target, name)[self._events : end] = getattr(loan, name)
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
        for name in _EVENT_COLUMNS:
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
            columns = Columns.from_buffer(data, loans, events)
            writer = ColumnarWriter(columns)
            yield writer
            writer.check_complete()
            prefix = (_MAGIC, _LAYOUT_VERSION, _BYTE_ORDER)
            header = _HEADER.pack(*prefix, loans, events, cluster.encode(), *columns.checksums())
            data[:_HEADER_BYTES] = header + _CHECKSUM.pack(crc32(header))
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


def _check_header(path: Path, head: bytes) -> None:
    """Check that a header was written by this module, release and kind of machine, and is undamaged.

    A header whose first bytes are damaged is recognized by its checksum.
    """
    prefix = struct.pack("=4sBB", _MAGIC, _LAYOUT_VERSION, _BYTE_ORDER)
    content = head[len(prefix) : _HEADER.size]
    is_intact = head[_HEADER.size :] == _CHECKSUM.pack(crc32(prefix + content))
    if is_intact and head.startswith(prefix):
        return
    if not is_intact and not _MAGIC.startswith(head[: len(_MAGIC)]):
        raise _foreign(path)
    if len(head) < _HEADER_BYTES:
        raise UnusableFile(f"{path} is damaged: its header is incomplete")
    if not is_intact and not head.startswith(prefix):
        raise OutdatedFile(f"{path} was written by another release or on another kind of machine")
    raise UnusableFile(f"{path} is damaged: the checksum of its header does not match")


def _foreign(path: Path) -> ForeignFile:
    return ForeignFile(f"{path} is not a portfolio file, and was not changed; choose another path")


def _encode_currency(currency: str, exponent: int) -> int:
    return int.from_bytes(currency.encode("ascii") + bytes([exponent]), sys.byteorder, signed=True)


def _decode_currency(code: int) -> tuple[str, int]:
    encoded = code.to_bytes(4, sys.byteorder, signed=True)
    return encoded[:3].decode("ascii"), encoded[3]
