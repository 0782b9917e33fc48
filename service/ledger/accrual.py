"""Charges the interest that has accrued, by amount: a repetition charges nothing, and a correction the difference.

What to charge is computed from a version of the loan, and posted only if the loan still has that version under its
lock. Otherwise it is computed again.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from psycopg2.errors import CheckViolation

from native import FEE, INTEREST, INTEREST_CREDIT, PAYMENT, REVERSAL, Timeline, day_number
from service.domain.accrual import Charge, LedgerEvent, charge_on, find_later_interest, with_events
from service.domain.money import to_minor_units
from service.domain.provenance import to_printable
from service.errors import AmountTooLarge, InvalidRequest, PostingRefused, UnknownLoan, VersionChanged
from service.ledger.idempotency import RequestFingerprint
from service.ledger.posting import LedgerWriter, NewEvent, PostResult
from service.ledger.repository import Ledger

ATTEMPTS = 5
MAX_ACCRUED_DATES = 100
"""The number of dates of payments before which one request accrues: each reads the whole ledger of the loan."""

_KINDS = {"fee": FEE, "interest": INTEREST, "payment": PAYMENT, "interest_credit": INTEREST_CREDIT}


class AccrualWriter:
    """Posts the interest that has accrued to one loan, alone or before payments.

    Args:
        ledger: Reads the loan from the primary.
        writer: Posts events.
    """

    def __init__(self, ledger: Ledger, writer: LedgerWriter) -> None:
        self._ledger = ledger
        self._writer = writer

    def accrue(
        self, loan_id: int, day: date, today: date, fingerprint: RequestFingerprint | None = None, *, posted_by: str
    ) -> PostResult | Timeline:
        """Charge what has accrued by a day.

        Args:
            loan_id: The loan.
            day: The day, at the latest today.
            today: The day whose balance is returned.
            fingerprint: Identifies a request that may be repeated.
            posted_by: The identity of the caller.

        Returns:
            The outcome, or the loan if it needs no charge.

        Raises:
            PostingRefused: If the day is after today, or the loan has interest dated after the day.
            AmountTooLarge: If the amount does not fit 64 bits.
            VersionChanged: If other postings to the loan came in between, again and again.
            UnknownLoan: If the loan does not exist.
        """
