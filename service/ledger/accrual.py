"""Charges the interest that has accrued to one loan, by amount: a repetition charges nothing, a correction the rest."""

import re
from collections.abc import Sequence
from datetime import date

from service.domain.accrual import charge_on, find_later_interest
from service.errors import InvalidRequest, PostingRefused
from service.ledger.accrued_events import Placed, add_accrued, up_to
from service.ledger.charges import TOO_LARGE, later_interest, to_event
from service.ledger.computed_posting import post_computed
from service.ledger.idempotency import RequestFingerprint
from service.ledger.posting import LedgerWriter, NewEvent, PostResult
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup

_EVENT_FIELD = re.compile(r"events\.([0-9]+)\.(.+)")


class AccrualWriter:
    """Posts interest alone, or before payments. What is charged belongs to the version to which it is posted.

    Both methods raise, beside the errors of `LedgerWriter.post_events` and `post_computed`:

    - PostingRefused: If interest would be charged after today, or before a day on which the loan has interest.

    Args:
        lookup: Reads loans.
        writer: Posts events.
    """

    def __init__(self, lookup: TimelineLookup, writer: LedgerWriter) -> None:
        self._lookup = lookup
        self._writer = writer

    def accrue(
        self,
        loan_id: int,
        day: date,
        today: date,
        fingerprint: RequestFingerprint | None = None,
        *,
        posted_by: str,
        versions: tuple[int, ...] | None = None,
    ) -> PostResult | LoanSnapshot:
        """Charge what has accrued by a day. Errors name `date`.

        Args:
            loan_id: The loan.
            day: The day, at the latest today.
            today: The day whose balance is returned.
            fingerprint: Identifies a request that may be repeated.
            posted_by: The identity of the caller.
            versions: The versions that the loan may have; None means any.

        Returns:
            The outcome, or the loan if nothing was to be charged to it.
        """

        def post(snapshot: LoanSnapshot) -> PostResult | LoanSnapshot:
            event = _find_charge(snapshot, day, today)
            if event is None:
                self._writer.check_open(day)
                # The request may have been executed since its outcome was looked for.
                return self._writer.find_outcome(fingerprint) or snapshot
            try:
                return self._writer.post_events(
                    loan_id,
                    [event],
                    today,
                    fingerprint,
                    posted_by=posted_by,
                    expected_version=snapshot.timeline.version,
                )
            except InvalidRequest as err:
                raise PostingRefused([("date", TOO_LARGE)]) from err
            except PostingRefused as err:
                raise PostingRefused([("date", detail) for _, detail in err.errors]) from err

        return self._writer.find_outcome(fingerprint) or post_computed(self._lookup, loan_id, versions, post)

    def post_events(
        self,
        loan_id: int,
        events: Sequence[NewEvent],
        today: date,
        fingerprint: RequestFingerprint | None = None,
        *,
        posted_by: str,
        versions: tuple[int, ...] | None = None,
    ) -> PostResult:
        """Post events, and charge what has accrued before the payments among them. Errors name the caller's events.

        Args:
            loan_id: The loan.
            events: The events, in the order of their versions.
            today: The day whose balance is returned.
            fingerprint: Identifies a request that may be repeated.
            posted_by: The identity of the caller.
            versions: The versions that the loan may have; None means any.
        """

        def post(snapshot: LoanSnapshot) -> PostResult:
            placed = add_accrued(snapshot.timeline, events, today)
            posted = [each.event for each in placed]
            try:
                return self._writer.post_events(
                    loan_id, posted, today, fingerprint, posted_by=posted_by, expected_version=snapshot.timeline.version
                )
            except (InvalidRequest, PostingRefused) as err:
                raise _refusal(err, placed) from err

        return self._writer.find_outcome(fingerprint) or post_computed(self._lookup, loan_id, versions, post)


def _find_charge(snapshot: LoanSnapshot, day: date, today: date) -> NewEvent | None:
    timeline = snapshot.timeline
    if day > today:
        raise PostingRefused([("date", up_to(today))])
    later = find_later_interest(timeline, day)
    if later is not None:
        raise PostingRefused([("date", later_interest(later))])
    try:
        charge = charge_on(timeline, day)
    except OverflowError as err:
        raise PostingRefused([("date", TOO_LARGE)]) from err
    return None if charge is None else to_event(charge, day, timeline.exponent)


def _refusal(err: InvalidRequest | PostingRefused, placed: Sequence[Placed]) -> InvalidRequest | PostingRefused:
    """Return the error with the caller's positions. What is wrong with interest is named at its payment's date."""
    errors: dict[str, str] = {}
    too_large = False
    for field, detail in err.errors:
        named = _EVENT_FIELD.fullmatch(field)
        if named is None:
            errors[field] = detail
            continue
        source = placed[int(named[1])]
        if source.is_interest and named[2] == "amt":
            too_large = True
            errors[f"events.{source.number}.post_date"] = TOO_LARGE
        else:
            errors.setdefault(f"events.{source.number}.{named[2]}", detail)
    return (PostingRefused if too_large else type(err))(list(errors.items()))
