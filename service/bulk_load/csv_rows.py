"""Reads and validates the rows of a CSV file, and reports every invalid one."""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from service.bulk_load.content_digest import BYTE_ORDER_MARK, ContentDigest
from service.bulk_load.foreign_format import recognize
from service.bulk_load.formats import Format

MAX_LINE_BYTES = 4096
_BLOCK_BYTES = 65_536
_NAME = re.compile(r"[^\W\d].*")  # of any column; the first field of a row without a header is a number


@dataclass(frozen=True)
class BadRow:
    """One reason why a row cannot be loaded."""

    file: str
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.reason}"


class Rows:
    """Iterates over a file's valid rows in the format of COPY, preceded by their line numbers.

    Args:
        path: The file, which is read once. Its first line is read immediately.
        format: The columns that it may have.
        on_read: Receives the number of bytes of each piece that is read.

    Attributes:
        columns: The file's columns in their order; empty if its header is invalid or it has another format.
        content: Identifies the content, after the iteration.
        bad: The errors found so far.
        bad_loans: Loans of invalid rows whose loan id is valid.
        bad_events: The same with source ids.
        good: The number of valid rows.
    """

    def __init__(self, path: Path, format: Format, on_read: Callable[[int], object] = lambda size: None) -> None:
        self.path = path
        self.content = ContentDigest()
        self.bad: list[BadRow] = []
        self.bad_loans: set[int] = set()
        self.bad_events: set[tuple[int, str]] = set()
        self.good = 0
        self._on_read = on_read
        self._dates: set[bytes] = set()
        self._lines = self._read_lines()
        self._first_line = next(self._lines, b"").removeprefix(BYTE_ORDER_MARK)
        self.columns = {name: column for name, column in format.items() if column.required}
        foreign = recognize(self._first_line[:MAX_LINE_BYTES], format, len(self.columns))
        if foreign is None:
            self._has_header = self._read_header(format)
        else:
            self._has_header, self.columns = False, {}
            self.reject(1, "file", foreign)

    def reject(self, number: int, field: str, reason: str) -> None:
        """Record that a row cannot be loaded."""
        self.bad.append(BadRow(str(self.path), number, field, reason))

    def __iter__(self) -> Iterator[bytes]:
        plain = re.compile(rb",".join(column.plain for column in self.columns.values())).fullmatch
        dates = self._dates
        for number, line in enumerate(self._all_lines(), start=1):
            row = line.rstrip(b"\r")
            match = plain(row) if len(line) <= MAX_LINE_BYTES else None
            if match and (dates.issuperset(match.groups()) or self._are_dates(match.groups())):
                self.good += 1
                yield b"%d,%b\n" % (number, row)
            elif number > 1 or not self._has_header:
                checked = self._check(number, line)
                if checked is not None:
                    self.good += 1
                    yield b"%d,%b\n" % (number, checked)

    def _all_lines(self) -> Iterator[bytes]:
        if self.columns:
            yield self._first_line
            yield from self._lines

    def _read_lines(self) -> Iterator[bytes]:
        """Yield lines without line feeds. Of a line that is too long, enough is kept to show that."""
        rest = b""
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                self._on_read(len(block))
                end = block.rfind(b"\n") + 1
                if end:
                    lines = rest + block[:end]
                    self.content.update(lines)
                    yield from lines[:-1].split(b"\n")
                    rest = b""
                rest = (rest + block[end:])[: MAX_LINE_BYTES + 1]
        if rest:
            self.content.update(rest)
            yield rest

    def _read_header(self, format: Format) -> bool:
        """Return whether the first line is a header, and set `columns` to its columns.

        A header names a column, or consists only of names, as no row does.
        """
        try:
            names = [name.lower() for name in _split(self._first_line)]
        except ValueError:
            return False
        if not any(name in format for name in names):
            has_only_names = len(names) > 1 and all(_NAME.fullmatch(name) for name in names)
            if has_only_names:
                self.columns = {}
                self.reject(1, "header", f"no column has a known name (the columns are {', '.join(format)})")
            return has_only_names
        wrong = [f"unknown column {name!r}" for name in names if name not in format]
        wrong += [f"column {name} occurs twice" for name in format if names.count(name) > 1]
        wrong += [
            f"column {name} is missing" for name, column in format.items() if column.required and name not in names
        ]
        self.columns = {} if wrong else {name: format[name] for name in names}
        for reason in wrong:
            self.reject(1, "header", f"{reason} (the columns are {', '.join(format)})")
        return True

    def _are_dates(self, texts: tuple[bytes, ...]) -> bool:
        try:
            for text in texts:
                date.fromisoformat(text.decode("ascii"))
        except ValueError:
            return False
        self._dates.update(texts)
        return True

    def _check(self, number: int, line: bytes) -> bytes | None:
        """Return the row in the format of COPY; None for an empty line or an invalid row (recorded)."""
        if not line.rstrip(b"\r"):
            return None
        try:
            fields = _split(line)
        except ValueError as err:
            self.reject(number, "row", str(err))
            return None
        if len(fields) != len(self.columns):
            expected = f"expected {len(self.columns)} fields ({','.join(self.columns)})"
            self.reject(number, "row", f"{expected}, found {len(fields)}")
            return None
        row = dict(zip(self.columns, fields, strict=True))
        invalid = []
        for name, column in self.columns.items():
            try:
                if row[name] or not column.blank:
                    column.parse(row[name])
            except ValueError as err:
                invalid.append(name)
                self.reject(number, name, f"{err}, found {row[name]!r}")
        if not invalid:
            return ",".join(map(_quote, fields)).encode()
        if "loan_id" not in invalid:
            self.bad_loans.add(int(row["loan_id"]))
            if row.get("source_id") and "source_id" not in invalid:
                self.bad_events.add((int(row["loan_id"]), row["source_id"]))
        return None


def _split(line: bytes) -> list[str]:
    """Return a row's fields without spaces around them.

    Raises:
        ValueError: If the line is not a row.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        return [field.strip() for field in next(csv.reader([line.rstrip(b"\r").decode("utf-8")], strict=True))]
    except UnicodeDecodeError:
        raise ValueError("expected UTF-8 text") from None
    except (csv.Error, StopIteration) as err:
        raise ValueError(f"invalid CSV: {err}") from None


def _quote(field: str) -> str:
    """Return a valid field as COPY reads it; an empty one is null."""
    return '"' + field.replace('"', '""') + '"' if "," in field or '"' in field else field
