"""Signatures of values in memcached."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cache.signed_value import TAG_BYTES, ValueSigner

SECRET = "a secret of this test"


@given(st.text(max_size=40), st.binary(max_size=200))
def test_a_signed_value_is_valid_under_its_key(key, content):
    assert bytes(ValueSigner(SECRET).verify(key, ValueSigner(SECRET).sign(key, content))) == content


@given(st.binary(max_size=100), st.data())
def test_a_changed_byte_invalidates_the_value(content, data):
    value = bytearray(ValueSigner(SECRET).sign("key", content))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    assert ValueSigner(SECRET).verify("key", bytes(value)) is None


@given(st.binary(max_size=100))
def test_an_unsigned_value_is_invalid(value):
    assert ValueSigner(SECRET).verify("key", value) is None


def test_a_value_is_invalid_under_another_key_or_secret():
    value = ValueSigner(SECRET).sign("loan 1", b"content")
    assert ValueSigner(SECRET).verify("loan 2", value) is None
    assert ValueSigner("another secret of this test").verify("loan 1", value) is None


@pytest.mark.parametrize("length", [0, 1, TAG_BYTES - 1, TAG_BYTES, TAG_BYTES + 1])
def test_a_truncated_value_is_invalid(length):
    assert ValueSigner(SECRET).verify("key", ValueSigner(SECRET).sign("key", b"content")[:length]) is None
