"""Client credentials in HTTP Basic."""

import random

import pytest

from security.basic_credentials import encode, readings

# RFC 6749, section 2.3.1: "The client identifier is encoded using the "application/x-www-form-urlencoded" encoding
# algorithm per Appendix B, and the encoded value is used as the username; the client password is encoded using the same
# algorithm and used as the password."


def test_appendix_b_of_rfc_6749():
    """RFC 6749, appendix B: the value of U+0020, U+0025, U+0026, U+002B, U+00A3 and U+20AC is encoded as follows."""
    assert encode(" %&+\u00a3\u20ac") == "+%25%26%2B%C2%A3%E2%82%AC"
    assert readings("+%25%26%2B%C2%A3%E2%82%AC")[0] == " %&+\u00a3\u20ac"


def test_every_encoded_text_is_read_first():
    generator = random.Random(5)
    alphabet = [chr(code) for code in (*range(32, 127), 0xA3, 0x20AC, 0x1F512)]
    for _ in range(2000):
        text = "".join(generator.choices(alphabet, k=generator.randrange(30)))
        assert readings(encode(text))[0] == text


@pytest.mark.parametrize("text", ["s3cret", "a-b._~c", "", "A!b*(c)'"])
def test_text_without_escapes_has_one_reading(text):
    assert readings(text) == [text]


@pytest.mark.parametrize("text", ["50%", "100%off", "a%zz", "p@ss+word", "a b", "a&b=c", "%f", "pa:ss+", "\u00a3%41"])
def test_text_that_no_encoder_writes_is_read_as_it_is(text):
    assert readings(text) == [text]


@pytest.mark.parametrize("text", ["%FF", "%C2", "%ED%A0%80", "a+%80"])
def test_escapes_that_are_not_utf_8_are_read_as_they_are(text):
    assert readings(text) == [text]


@pytest.mark.parametrize(("text", "decoded"), [("a+b", "a b"), ("a%2fb", "a/b"), ("%61", "a"), ("a%2Bb%25", "a+b%")])
def test_ambiguous_text_has_two_readings(text, decoded):
    assert readings(text) == [decoded, text]
