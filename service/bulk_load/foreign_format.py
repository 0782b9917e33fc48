"""Recognizes files of spreadsheets and editors that are not comma-separated UTF-8, by their first line."""

import csv
import re
from collections.abc import Collection

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_BEGINNINGS = {
    b"\xff\xfe\x00\x00": "is UTF-32 text; save it as UTF-8",
    b"\x00\x00\xfe\xff": "is UTF-32 text; save it as UTF-8",
    b"\xff\xfe": "is UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save it as UTF-8",
    b"\x1f\x8b": "is compressed by gzip; decompress it",
    b"BZh": "is compressed by bzip2; decompress it",
    b"\xfd7zXZ": "is compressed by xz; decompress it",
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; decompress it",
    b"PK\x03\x04": "is a spreadsheet or a zip archive; export or unpack it as CSV",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet; export it as CSV",
    b"%PDF": "is a PDF document; export its source as CSV",
}
_SEPARATOR_LINE = re.compile(rb'"?sep=.?"?[,;\t|]*', re.IGNORECASE)  # a spreadsheet fills the line with empty fields


def recognize(first_line: bytes, names: Collection[str], required: int) -> str | None:
    """Return why a file cannot be read, naming what it is; None if its first line gives no reason.

    Args:
        first_line: The first line, without its line end.
        names: The names of the columns that a header may have.
        required: The number of columns of a file without a header.
    """
    for beginning, what in _BEGINNINGS.items():
        if first_line.startswith(beginning):
            return f"the file {what}"
    if b"\x00" in first_line:
        return "the line contains null bytes, as UTF-16 text does; save the file as UTF-8"
    line = first_line.rstrip(b"\r")
    if b"\r" in line:
        return "lines end in a carriage return without a line feed; save the file with line feeds"
    if _SEPARATOR_LINE.fullmatch(line):
        return f"the line {line.decode('ascii', 'replace')!r} is not a row; remove it, and separate fields by commas"
    text = line.decode("utf-8", "replace")
    if _looks_right(_split(text, ","), names, required):
        return None
    for separator, noun in _SEPARATORS.items():
        if _looks_right(_split(text, separator), names, required):
            return f"fields are separated by {noun} ({separator!r}); separate them by commas"
    return None


def _split(text: str, separator: str) -> list[str]:
    return [field.strip().lower() for field in next(csv.reader([text], delimiter=separator), [])]


def _looks_right(fields: list[str], names: Collection[str], required: int) -> bool:
    """Return whether fields are a header or a row of this format."""
    return len(fields) > 1 and (len(fields) == required or any(field in names for field in fields))
