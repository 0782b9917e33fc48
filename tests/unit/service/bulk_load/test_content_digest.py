"""A file is recognized by its content, and under the digest that release 1.0.0 recorded."""

import hashlib
import itertools

import pytest

from service.bulk_load.content_digest import BYTE_ORDER_MARK, ContentDigest

LINES = [b"1,fee,2020-01-31,1.00", b"", b"2,fee,2020-01-31,\xc3\xa9", b"3"]
FORMS = [
    mark + end.join(LINES) + last
    for mark, end in itertools.product((b"", BYTE_ORDER_MARK), (b"\n", b"\r\n"))
    for last in (b"", end)
]


def digest_of(content: bytes, lines_at_a_time: int = 1) -> ContentDigest:
    digest, lines = ContentDigest(), content.splitlines(keepends=True)
    for start in range(0, len(lines), lines_at_a_time):
        digest.update(b"".join(lines[start : start + lines_at_a_time]))
    return digest


@pytest.mark.parametrize("lines_at_a_time", [1, 2, 9])
def test_every_form_of_a_text_has_one_digest(lines_at_a_time):
    expected = hashlib.sha256(b"\n".join(LINES) + b"\n").digest()
    assert {digest_of(form, lines_at_a_time).digest() for form in FORMS} == {expected}


@pytest.mark.parametrize("recorded", FORMS)
@pytest.mark.parametrize("loaded", FORMS)
def test_a_text_is_recognized_in_each_form_that_was_recorded_as_bytes(recorded, loaded):
    assert hashlib.sha256(recorded).digest() in digest_of(loaded, 2).recorded_forms()


def test_a_file_of_mixed_line_ends_is_recognized_by_its_bytes():
    mixed = b"a\r\nb\nc\r\n"
    assert hashlib.sha256(mixed).digest() in digest_of(mixed).recorded_forms()
    assert digest_of(mixed).digest() == digest_of(b"a\nb\nc\n").digest()


def test_other_texts_have_other_digests():
    texts = [b"a\nb\n", b"ab\n", b"a\n\nb\n", b"a\nb\n\n", b"a\rb\n", b"b\na\n", b""]
    assert len({digest_of(text).digest() for text in texts}) == len(texts)
