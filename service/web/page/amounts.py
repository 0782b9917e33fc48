"""Amounts as people of a language write them, that are copied as plain numbers.

The text of the page is the plain number. Only the style sheet shows other separators, and what it shows is not copied:
`1234.50` is shown as `1.234,50`, and pasted into a spreadsheet as `1234.50`.
"""

import re
from functools import cache, lru_cache
from typing import NamedTuple

from babel import Locale, UnknownLocaleError
from markupsafe import Markup, escape

from service.domain.money import to_decimal_string

DEFAULT = "en-US"
LOCALES = (
    "en-US", "en-IN", "bg-BG", "cs-CZ", "da-DK", "de-AT", "de-CH", "de-DE", "es-ES", "es-MX", "fr-CH", "fr-FR",
    "it-IT", "ja-JP", "mk-MK", "nb-NO", "nl-NL", "pl-PL", "pt-BR", "sv-SE", "tr-TR",
)  # fmt: skip
"""The locales that a person can choose. A browser may ask for any that is known."""

_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{2,8}){0,3}")  # what Babel takes beyond this has no end
_EXAMPLE = (123_456_789, 2)


class _Separators(NamedTuple):
    """How a locale writes numbers in Latin digits. The last group has `primary` digits, the others `secondary`."""

    group: str
    decimal: str
    minus: str
    primary: int
    secondary: int


def find_locale(tag: str) -> str | None:
    """Return a language tag in its usual spelling if its separators are known, otherwise None."""
    if not _TAG.fullmatch(tag):
        return None
    try:
        return str(_parse(tag)).replace("_", "-")
    except (UnknownLocaleError, ValueError):
        return None


@lru_cache(1000)
def _parse(tag: str) -> Locale:
    return Locale.parse(tag, sep="-")


@cache
def _separators(tag: str) -> _Separators:
    locale = _parse(tag)
    symbols = locale.number_symbols["latn"]
    return _Separators(
        symbols["group"], symbols["decimal"], symbols["minusSign"], *locale.decimal_formats[None].grouping
    )


def show(minor: int, digits: int, tag: str) -> str:
    """Return an amount as text, with the separators of a locale.

    Args:
        minor: Minor units.
        digits: The currency's number of decimals.
        tag: A language tag that `find_locale` knows.
    """
    chosen = _separators(tag)
    sign, groups, decimals = _split(to_decimal_string(minor, digits), chosen)
    return (
        (chosen.minus if sign else "") + chosen.group.join(groups) + (f"{chosen.decimal}{decimals}" if decimals else "")
    )


@lru_cache(10_000)
def mark_up(minor: int, digits: int, tag: str) -> Markup:
    """Return an amount as HTML: its text is plain, and the style sheet shows the separators of a locale.

    Args:
        minor: Minor units.
        digits: The currency's number of decimals.
        tag: A language tag that `find_locale` knows.
    """
    chosen, plain = _separators(tag), to_decimal_string(minor, digits)
    sign, groups, decimals = _split(plain, chosen)
    shown = (_instead(sign, chosen.minus) if sign else Markup()) + _instead("", chosen.group).join(groups)
    if decimals:
        shown += _instead(".", chosen.decimal) + decimals
    return Markup('<data class="amt" value="{}">{}</data>').format(plain, shown)


def _split(plain: str, chosen: _Separators) -> tuple[str, list[str], str]:
    """Return the sign, the groups of digits and the decimals of a plain number."""
    sign = "-" if plain.startswith("-") else ""
    whole, _, decimals = plain.removeprefix("-").partition(".")
    groups = [whole[-chosen.primary :]]
    end = len(whole) - chosen.primary
    while end > 0:
        groups.insert(0, whole[max(0, end - chosen.secondary) : end])
        end -= chosen.secondary
    return sign, groups, decimals


def _instead(plain: str, shown: str) -> Markup:
    """Return a part of a plain number, or nothing, as another text that is not copied."""
    if plain == shown:
        return escape(plain)
    return Markup('<i data-as="{}">{}</i>').format(shown, Markup("<b>{}</b>").format(plain) if plain else "")


@cache
def name(tag: str) -> str:
    """Return the English name of a locale of `LOCALES`."""
    return str(_parse(tag).get_display_name("en"))


@cache
def example(tag: str) -> str:
    """Return an amount that shows the separators of a locale, as text."""
    return show(*_EXAMPLE, tag)
