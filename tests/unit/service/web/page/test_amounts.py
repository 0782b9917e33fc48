"""Amounts are shown in a locale, and their text is the plain number."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.money import to_decimal_string
from service.web.page.amounts import LOCALES, find_locale, mark_up, show

AMOUNTS = st.integers(-(10**18), 10**18)
TAGS = st.sampled_from((*LOCALES, "ar-EG", "he", "fa-IR", "mr-IN", "my"))


@pytest.mark.parametrize(
    ("tag", "shown"),
    [
        ("en-US", "-1,234,567.89"), ("de-DE", "-1.234.567,89"), ("en-IN", "-12,34,567.89"), ("de-CH", "-1'234'567.89"),
        ("fr-FR", "-1\u202f234\u202f567,89"), ("sv-SE", "\u22121\u00a0234\u00a0567,89"),
    ],
)  # fmt: skip
def test_each_locale_has_its_separators(tag, shown):
    assert show(-123_456_789, 2, tag) == shown


@given(AMOUNTS, st.integers(0, 4), TAGS)
def test_what_is_shown_and_what_is_copied_agree(minor, digits, tag):
    plain = to_decimal_string(minor, digits)
    html = str(mark_up(minor, digits, tag))
    assert html.startswith(f'<data class="amt" value="{plain}">')
    assert re.sub(r"<[^>]*>", "", html) == plain  # the text, which is copied
    shown = re.sub(r'<i data-as="([^"]*)">.*?</i>', r"\1", html.partition(">")[2].removesuffix("</data>"))
    assert shown.replace("&#39;", "'") == show(minor, digits, tag)
    assert re.sub(r"[^0-9]", "", shown.replace("&#39;", "'")) == re.sub(r"[^0-9]", "", plain)


@pytest.mark.parametrize("tag", ["", "xx", "x" * 36, "../../x", "de_DE", "*", "root\0", "en-US-x-y", "<b>", "-"])
def test_an_unknown_locale_is_none(tag):
    assert find_locale(tag) is None


def test_every_offered_locale_is_known():
    assert [find_locale(tag) for tag in LOCALES] == list(LOCALES)
