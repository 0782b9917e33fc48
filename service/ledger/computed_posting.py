"""Posts what is computed from a version of a loan, to that version only: otherwise it is computed again."""

from collections.abc import Callable
from typing import TypeVar

from service.errors import RequestRefused, VersionChanged, VersionNotReached
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
        post: Posts to the version that it gets. A cache may hold an older one than the present: posting to it fails.

    Raises:
        UnknownLoan: If the loan does not exist.
        VersionChanged: If the loan has none of these versions.
        RequestRefused: If the loan changed in every attempt.
    """
    min_version = 0
    for _ in range(ATTEMPTS):
        snapshot = _read(lookup, loan_id, min_version, versions)
        try:
            return post(snapshot)
        except VersionChanged as err:
            min_version = err.version
    raise RequestRefused(503, f"loan {loan_id} changed again and again; retry later", retry_after_s=1)


def _read(lookup: TimelineLookup, loan_id: int, min_version: int, versions: tuple[int, ...] | None) -> LoanSnapshot:
    """Return the loan.

    Raises:
        VersionChanged: If the loan has none of the versions that it may have.
    """
    snapshot = lookup.get(loan_id, min_version)
    version = snapshot.timeline.version
    if versions is None or version in versions:
        return snapshot
    later = [expected for expected in versions if expected > version]
    try:
        snapshot = lookup.get(loan_id, later[0]) if later else snapshot
    except VersionNotReached as err:
        raise VersionChanged(loan_id, err.version, versions) from err
    if snapshot.timeline.version not in versions:
        raise VersionChanged(loan_id, snapshot.timeline.version, versions)
    return snapshot
