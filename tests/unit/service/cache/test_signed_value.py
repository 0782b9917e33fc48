"""The tag around what memcached holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cache.signed_value import TAG_BYTES, ValueSigner

SECRET = "a secret of this test"


@given(st.text(max_size=40), st.binary(max_size=200))
def test_what_was_closed_opens_under_its_key(key, content):
    assert bytes(ValueSigner(SECRET).open(key, ValueSigner(SECRET).close(key, content))) == content


@given(st.binary(max_size=100), st.data())
def test_a_changed_byte_is_noticed(content, data):
    value = bytearray(ValueSigner(SECRET).close("key", content))
    value[data.draw(st.integers(0, len(value) - 1))] ^= data.draw(st.integers(1, 255))
    assert ValueSigner(SECRET).open("key", bytes(value)) is None


@given(st.binary(max_size=100))
def test_what_nobody_of_ours_wrote_does_not_open(value):
    assert ValueSigner(SECRET).open("key", value) is None


def test_a_value_under_another_key_or_secret_does_not_open():
    value = ValueSigner(SECRET).close("loan 1", b"content")
    assert ValueSigner(SECRET).open("loan 2", value) is None
    assert ValueSigner("another secret of this test").open("loan 1", value) is None


@pytest.mark.parametrize("length", [0, 1, TAG_BYTES - 1, TAG_BYTES, TAG_BYTES + 1])
def test_a_truncated_value_does_not_open(length):
    assert ValueSigner(SECRET).open("key", ValueSigner(SECRET).close("key", b"content")[:length]) is None
