"""Files of spreadsheets in another format are refused with one error, which names what was found."""

import bz2
import gzip
import lzma

import pytest

from service.bulk_load.csv_rows import Rows
from service.bulk_load.formats import EVENTS, LOANS

HEADER = "loan_id,event_type,post_date,amt,memo\n"
ZSTD = b"\x28\xb5\x2f\xfd"
ROW = "1,fee,2020-01-31,1.00\n"


def errors(folder, content: str | bytes, format=EVENTS):
    file = folder / "rows.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = Rows(file, format)
    assert b"".join(rows) == b"" or not rows.bad
    return [f"{row.line}: {row.field}: {row.reason}" for row in rows.bad]


@pytest.mark.parametrize(
    ("separator", "found"),
    [(";", "semicolons (';')"), ("\t", "tabs ('\\t')"), ("|", "vertical bars ('|')")],
)
@pytest.mark.parametrize("start", ["", HEADER, "Loan_ID,memo,unknown\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_another_separator_is_named_once(tmp_path, separator, found, start, end):
    content = (start + ROW * 3).replace(",", separator).replace("\n", end)
    expected = [f"1: file: fields are separated by {found}; separate them by commas"]
    assert errors(tmp_path, content) == errors(tmp_path, b"\xef\xbb\xbf" + content.encode()) == expected


def test_semicolons_with_decimal_commas_are_named(tmp_path):
    assert "semicolons" in errors(tmp_path, "1;fee;2020-01-31;1,00\n", EVENTS)[0]
    assert "semicolons" in errors(tmp_path, "1;2020-01-31;1000,00\n", LOANS)[0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("start", ["", HEADER])
def test_other_encodings_are_named(tmp_path, encoding, start):
    [error] = errors(tmp_path, (start + ROW * 3).encode(encoding))
    assert ("UTF-32" if encoding == "utf-32" else "UTF-16") in error
    assert error.endswith("as UTF-8")
    assert error.startswith("1: file: ")


@pytest.mark.parametrize(
    ("compress", "found"),
    [(gzip.compress, "gzip"), (bz2.compress, "bzip2"), (lzma.compress, "xz"), (lambda text: ZSTD + text, "zstd")],
)
def test_compressed_files_are_named(tmp_path, compress, found):
    assert errors(tmp_path, compress(ROW.encode())) == [f"1: file: the file is compressed by {found}; decompress it"]


@pytest.mark.parametrize("start", [b"PK\x03\x04\x14\x00", b"\xd0\xcf\x11\xe0\xa1\xb1"])
def test_spreadsheets_are_named(tmp_path, start):
    [error] = errors(tmp_path, start + bytes(600) + b"\n" + bytes(10))
    assert error.startswith("1: file: the file is a spreadsheet")


@pytest.mark.parametrize("start", ["", HEADER])
def test_carriage_returns_alone_are_named(tmp_path, start):
    assert errors(tmp_path, (start + ROW * 1000).replace("\n", "\r")) == [
        "1: file: lines end in a carriage return without a line feed; save the file with line feeds"
    ]


@pytest.mark.parametrize("line", ["sep=;", "SEP=,", '"sep=;"', "sep=\t", "sep=", "sep=,,,,", '"sep=;";;'])
def test_a_line_that_names_the_separator_is_refused(tmp_path, line):
    [error] = errors(tmp_path, f"{line}\r\n{HEADER}{ROW}")
    assert error == f"1: file: the line {line!r} is not a row; remove it, and separate fields by commas"


@pytest.mark.parametrize(
    "content",
    [
        HEADER + ROW.replace("\n", ",late\n"),
        ROW,
        "",
        "\n" + ROW,
        HEADER + '1,fee,2020-01-31,1.00,"a;b|c"\n',
        'memo,"amt",loan_id,event_type,post_date\n"a;b;c;d",1,1,fee,2020-01-31\n',
    ],
)
def test_comma_separated_files_are_read(tmp_path, content):
    assert errors(tmp_path, content) == []
