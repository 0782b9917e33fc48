"""Stores the whole ledger in columns, in a memory-mapped file for the portfolio kernels.

A header of 256 bytes is followed by the columns of `Columns`. Other kinds of machines reject their byte order. The
header holds the CRC-32 of each column, and ends with one of its other bytes. Opening the file checks all of them, so
that a file damaged on disk is not used.
"""

import mmap
import os
import struct
import sys
from bisect import bisect_left
from pathlib import Path
from zlib import crc32

from service.errors import LoanerError
from service.portfolio.columns import Columns, Counts, file_size

_MAGIC = b"LNPF"
_LAYOUT_VERSION = 3
_BYTE_ORDER = ("little", "big").index(sys.byteorder)
_HEADER = struct.Struct("=4sBB2x5q116s22I")  # magic, layout version, byte order, counts, cluster, checksums
_CHECKSUM = struct.Struct("=I")  # of the header
HEADER_BYTES = _HEADER.size + _CHECKSUM.size


class UnusableFile(LoanerError):
    """The file is damaged, or does not match the ledger."""


class OutdatedFile(UnusableFile):
    """The file was written by another release or on another kind of machine."""


class ForeignFile(LoanerError):
    """The file was not written by this module, and must not be overwritten."""


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
            head = file.read(HEADER_BYTES)
            if not path.is_file():
                raise _foreign(path)
            _check_header(path, head)
            _, _, _, loans, events, terms, schedules, installments, cluster, *checksums = _HEADER.unpack_from(head)
            counts = Counts(loans, events, terms, schedules, installments)
            if os.fstat(file.fileno()).st_size != file_size(HEADER_BYTES, counts):
                raise UnusableFile(f"{path} is damaged: its size does not match its header")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            columns = Columns.from_buffer(data, HEADER_BYTES, counts)
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

    def currencies(self) -> list[tuple[str, int]]:
        """Return the currency of each loan, and the number of decimals of its amounts."""
        decoded = {code: _decode_currency(code) for code in set(self.columns.currencies)}
        return [decoded[code] for code in self.columns.currencies]


def pack_header(cluster: str, counts: Counts, columns: Columns) -> bytes:
    """Return the header of a file."""
    prefix = (_MAGIC, _LAYOUT_VERSION, _BYTE_ORDER)
    header = _HEADER.pack(*prefix, *counts, cluster.encode(), *columns.checksums())
    return header + _CHECKSUM.pack(crc32(header))


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
    if len(head) < HEADER_BYTES:
        raise UnusableFile(f"{path} is damaged: its header is incomplete")
    if not is_intact and not head.startswith(prefix):
        raise OutdatedFile(f"{path} was written by another release or on another kind of machine")
    raise UnusableFile(f"{path} is damaged: the checksum of its header does not match")


def _foreign(path: Path) -> ForeignFile:
    return ForeignFile(f"{path} is not a portfolio file, and was not changed; choose another path")


def encode_currency(currency: str, exponent: int) -> int:
    """Return a currency and the number of decimals of amounts as one integer."""
    return int.from_bytes(currency.encode("ascii") + bytes([exponent]), sys.byteorder, signed=True)


def _decode_currency(code: int) -> tuple[str, int]:
    encoded = code.to_bytes(4, sys.byteorder, signed=True)
    return encoded[:3].decode("ascii"), encoded[3]
