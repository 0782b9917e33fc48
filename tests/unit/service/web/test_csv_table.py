"""Tables as CSV: any text is read back, and none is a formula."""

import csv
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.web.csv_table import CALLER_FIELDS, to_csv

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def read(content):
    return list(csv.reader(StringIO(content.decode(), newline="")))


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=5))
def test_texts_of_callers_are_read_back(rows):
    members = [dict(zip(CALLER_FIELDS, row, strict=True)) for row in rows]
    names, *found = read(to_csv(CALLER_FIELDS, members))
    assert names == list(CALLER_FIELDS)
    assert len(found) == len(rows)
    for row, given_row in zip(found, rows, strict=True):
        for text, original in zip(row, given_row, strict=True):
            assert text in (original, f"'{original}")
            assert not text.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20"))


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("memo", "=1+1", "'=1+1"), ("memo", " \t@a", "' \t@a"), ("posted_by", "＝1", "'＝1"), ("memo", "a=1", "a=1"),
        ("source_id", 'a"b', '"a""b"'), ("source_id", "a,b", '"a,b"'), ("source_id", "a\nb", '"a\nb"'),
        ("source_id", "a\rb", '"a\rb"'), ("source_id", "-7", "'-7"), ("balance", "-7.00", "-7.00"),
        ("memo", None, ""), ("applies", True, "true"), ("applies", False, "false"), ("days", 0, "0"),
    ],
)  # fmt: skip
def test_a_field_is_as_in_json_but_for_formulas(name, value, field):
    assert to_csv([name], [{name: value}]).decode() == f"{name}\r\n{field}\r\n"


def test_a_missing_member_is_an_empty_field_and_others_are_left_out():
    assert to_csv(["a", "b"], [{"b": "1"}, {"a": "2", "c": "3"}, {}]) == b"a,b\r\n,1\r\n2,\r\n,\r\n"


def test_without_rows_a_table_has_its_names():
    assert to_csv(["a", "b"], []) == b"a,b\r\n"
