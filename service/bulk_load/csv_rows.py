"""The rows of LOANS.csv and EVENTS.csv: each is checked, and every wrong one is named."""

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
    """A row that cannot be loaded, and why."""

    file: str
    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.reason}"


@dataclass(frozen=True)
class Format:
    """What the rows of a file are made of.

    fields: the columns in their order, each with the function that checks it. plain: matches a row that is written in
    the usual way, with the date as its group; such a row needs no more than its date looked at.
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
    """Reads one file once, as rows that COPY takes (its line number first) and a list of the bad ones.

    `on_bytes` is told of every piece of the file, as it was read.
    """

    def __init__(self, path: Path, format: Format, on_bytes: Callable[[bytes], object]) -> None:
        self.path = path
        self.bad: list[BadRow] = []
        self.bad_ids: set[int] = set()  # the loans whose rows are bad in another field than their id
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
                rest = file.readline(MAX_LINE_BYTES)  # of a line that is too long to be a row
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
        """The row as COPY takes it, or None for an empty line, a header, or a bad row, which is remembered."""
        if not row:
            return None
        names = list(self._format.fields)
        try:
            text = row.decode("utf-8")
            fields = [field.strip() for field in next(csv.reader([text], strict=True))]
        except UnicodeDecodeError:
            self._refuse(number, "row", "expected text in UTF-8")
            return None
        except (csv.Error, StopIteration) as err:
            self._refuse(number, "row", f"is not CSV: {err}")
            return None
        if number == 1 and [field.lower() for field in fields] == names:
            return None
        if len(fields) != len(names):
            self._refuse(number, "row", f"expected {len(names)} fields ({','.join(names)}), found {len(fields)}")
            return None
        wrong = []
        for (name, check), field in zip(self._format.fields.items(), fields, strict=True):
            try:
                check(field)
            except ValueError as err:
                wrong.append(name)
                self._refuse(number, name, f"{err}, found {field!r}")
        if not wrong:
            return ",".join(fields).encode()
        if "loan_id" not in wrong:
            self.bad_ids.add(int(fields[0]))
        return None

    def _refuse(self, number: int, field: str, reason: str) -> None:
        self.bad.append(BadRow(str(self.path), number, field, reason))
