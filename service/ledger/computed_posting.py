"""Posts what is computed from a version of a loan, to that version only: otherwise it is computed again."""

from collections.abc import Callable
from typing import TypeVar

from service.errors import RequestRefused, UnknownLoan, VersionChanged
from service.ledger.timeline_lookup import LoanSnapshot, TimelineLookup

ATTEMPTS = 5

T = TypeVar("T")


def post_computed(
    lookup: TimelineLookup, loan_id: int, versions: tuple[int, ...] | None, post: Callable[[LoanSnapshot], T]
) -> T:
    """Read a loan, and compute and post; repeat that if the loan has changed in between.

    A repeated request would be computed from what it posted itself, so the caller looks for its outcome first.

    Args:
        lookup: Reads loans.
        loan_id: The loan.
        versions: The versions that the loan may have; None means any.
        post: Posts to the version that it gets. It is read from the primary: what posts nothing must not depend on a
            cache either.

    Raises:
        UnknownLoan: If the loan does not exist.
        VersionChanged: If the loan has none of these versions.
        RequestRefused: If the loan changed in every attempt.
    """
    for _ in range(ATTEMPTS):
        snapshot = lookup.get_consistent([loan_id]).get(loan_id)
        if snapshot is None:
            raise UnknownLoan(loan_id)
        if versions is not None and snapshot.timeline.version not in versions:
            raise VersionChanged(loan_id, snapshot.timeline.version, versions)
        try:
            return post(snapshot)
        except VersionChanged:
            continue
    raise RequestRefused(503, f"loan {loan_id} changed again and again; retry later", retry_after_s=1)
