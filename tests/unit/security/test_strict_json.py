"""JSON that parsers read differently is rejected."""

import pytest

from security.strict_json import parse_json


@pytest.mark.parametrize("text", ['{"a": [1, "\\u00e9", "\\ud83d\\udd12"]}', '"é"'])
def test_text_and_bytes_are_read_alike(text):
    assert parse_json(text) == parse_json(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        # RFC 8259, section 4: "The names within an object SHOULD be unique."
        '{"a": 1, "a": 1}',
        '[{"b": {"a": 1, "\\u0061": 2}}]',
        # Section 6: "Numeric values that cannot be represented in the grammar below (such as Infinity and NaN) are not
        # permitted."
        "NaN",
        '{"a": -Infinity}',
        # RFC 7493, section 2.1: "Object member names, and string values in arrays and object members, MUST NOT include
        # code points that identify Surrogates or Noncharacters".
        '"\\ud800"',
        '{"\\udc00\\ud800": 1}',
        # RFC 8259, section 8.1: "Implementations MUST NOT add a byte order mark (U+FEFF)".
        "\ufeff{}",
        "[" * 100_000,
        "",
        "{} x",
        b"\xff",
        b'"\xed\xa0\x80"',
        "{}".encode("utf-16"),
    ],
)
def test_ambiguous_json_is_rejected(text):
    with pytest.raises(ValueError, match=r"JSON|duplicate|surrogate|BOM|nested|Extra data|Expecting|decode"):
        parse_json(text)
