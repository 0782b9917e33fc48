"""The table `currencies`: the decimals of each currency in which a loan may be created."""

from typing import Any

from service.domain.currency import MINOR_DIGITS


def sync_currencies(cursor: Any) -> None:
    """Make the table equal to ISO 4217's as this release knows it. Existing loans keep their decimals."""
    codes, exponents = list(MINOR_DIGITS), list(MINOR_DIGITS.values())
    cursor.execute(
        "INSERT INTO public.currencies AS c (code, exponent) SELECT * FROM unnest(%s::text[], %s::smallint[])"
        " ON CONFLICT (code) DO UPDATE SET exponent = excluded.exponent WHERE c.exponent <> excluded.exponent",
        (codes, exponents),
    )
    cursor.execute("DELETE FROM public.currencies WHERE code <> ALL (%s::text[])", (codes,))
