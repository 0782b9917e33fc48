"""Reads and validates the rows of LOANS.csv and EVENTS.csv, and reports every invalid one."""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO

from service.domain.money import to_cents, to_positive_cents
from service.domain.parsing import parse_date, parse_event_type, parse_loan_id

MAX_LINE_BYTES = 4096


@dataclass(frozen=True)
class BadRow:
    """One reason why a row cannot be loaded."""

    file: str
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.reason}"


@dataclass(frozen=True)
class Format:
    """The format of a file's rows.

    Attributes:
        fields: The columns in their order, each with the function that validates it.
        plain: Matches a row in the common notation, with the date as its group. In such a row only the date is left
            to validate.
    """

    fields: dict[str, Callable[[str], object]]
    plain: re.Pattern[bytes]


_PLAIN_ID = rb"[1-9][0-9]{0,17}"
_PLAIN_DATE = rb"([0-9]{4}-[0-9]{2}-[0-9]{2})"
LOANS = Format(
    {"loan_id": parse_loan_id, "start_date": parse_date, "initial_amt": to_cents},
    re.compile(_PLAIN_ID + rb"," + _PLAIN_DATE + rb",[0-9]{1,16}\.[0-9]{2}"),
)
EVENTS = Format(
    {"loan_id": parse_loan_id, "event_type": parse_event_type, "post_date": parse_date, "amt": to_positive_cents},
    re.compile(_PLAIN_ID + rb",(?:fee|interest|payment)," + _PLAIN_DATE + rb",(?=.*[1-9])[0-9]{1,16}\.[0-9]{2}"),
)


class Rows:
    """Iterates over a file's valid rows in the format of COPY, preceded by their line numbers.

    Args:
        path: The file, which is read once.
        format: The format of its rows.
        on_bytes: Receives every piece of the file as it is read.

    Attributes:
        bad: The errors found so far.
        bad_ids: Loans of rows whose errors are in other fields than the loan id.
        good: The number of valid rows.
    """

    def __init__(self, path: Path, format: Format, on_bytes: Callable[[bytes], object]) -> None:
        self.path = path
        self.bad: list[BadRow] = []
        self.bad_ids: set[int] = set()
        self.good = 0
        self._format = format
        self._on_bytes = on_bytes
        self._dates: set[bytes] = set()

    def __iter__(self) -> Iterator[bytes]:
        plain, dates = self._format.plain.fullmatch, self._dates
        with self.path.open("rb") as file:
            for number, line in enumerate(self._lines(file), start=1):
                row = line.rstrip(b"\r\n")
                match = plain(row)
                if match and (match[1] in dates or self._is_date(match[1])):
                    self.good += 1
                    yield b"%d,%b\n" % (number, row)
                    continue
                checked = self._check(number, row)
                if checked is not None:
                    self.good += 1
                    yield b"%d,%b\n" % (number, checked)

    def _lines(self, file: BinaryIO) -> Iterator[bytes]:
        first = True
        while line := file.readline(MAX_LINE_BYTES):
            self._on_bytes(line)
            rest = line
            while len(rest) == MAX_LINE_BYTES and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE_BYTES)  # skip the rest of a line that is too long to be valid
                self._on_bytes(rest)
            yield line.removeprefix(b"\xef\xbb\xbf") if first else line
            first = False

    def _is_date(self, text: bytes) -> bool:
        try:
            date.fromisoformat(text.decode("ascii"))
        except ValueError:
            return False
        self._dates.add(text)
        return True

    def _check(self, number: int, row: bytes) -> bytes | None:
        """Return the row in the format of COPY; None for an empty line, a header or an invalid row (recorded)."""
        if not row:
            return None
        names = list(self._format.fields)
        try:
            text = row.decode("utf-8")
            fields = [field.strip() for field in next(csv.reader([text], strict=True))]
        except UnicodeDecodeError:
            self._reject(number, "row", "expected UTF-8 text")
            return None
        except (csv.Error, StopIteration) as err:
            self._reject(number, "row", f"invalid CSV: {err}")
            return None
        if number == 1 and [field.lower() for field in fields] == names:
            return None
        if len(fields) != len(names):
            self._reject(number, "row", f"expected {len(names)} fields ({','.join(names)}), found {len(fields)}")
            return None
        invalid = []
        for (name, validate), field in zip(self._format.fields.items(), fields, strict=True):
            try:
                validate(field)
            except ValueError as err:
                invalid.append(name)
                self._reject(number, name, f"{err}, found {field!r}")
        if not invalid:
            return ",".join(fields).encode()
        if "loan_id" not in invalid:
            self.bad_ids.add(int(fields[0]))
        return None

    def _reject(self, number: int, field: str, reason: str) -> None:
        self.bad.append(BadRow(str(self.path), number, field, reason))
