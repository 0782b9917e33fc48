"""Minor units of currencies, as in the table of ISO 4217."""

from collections.abc import Mapping
from types import MappingProxyType

import iso4217


def _read_table() -> dict[str, int]:
    # N.A. marks precious metals, units of account and codes for tests: they have no minor unit.
    units = {code: str(entry["CcyMnrUnts"]) for code, entry in iso4217.raw_table.items() if code is not None}
    return {code: int(text) for code, text in units.items() if text.isdecimal()}


MINOR_DIGITS: Mapping[str, int] = MappingProxyType(_read_table())
"""The number of decimals of each currency that has a minor unit: 0 for JPY, 2 for USD, 3 for KWD."""


def minor_digits(code: str) -> int:
    """Return the number of decimals of a currency.

    Raises:
        ValueError: If ISO 4217 does not have the code, or gives it no minor unit (XAU, XXX).
    """
    try:
        return MINOR_DIGITS[code]
    except KeyError:
        raise ValueError("expected an ISO 4217 currency with minor units, such as USD") from None
