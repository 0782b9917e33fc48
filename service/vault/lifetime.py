"""How long tokens and leases last, and when to renew them."""

import random
from typing import Any

RENEW_AT = 2 / 3  # of the lease
JITTER = 0.1  # of the time until renewal, so that many instances do not renew at the same time
RETRY_INTERVAL_S = 5.0  # while Vault is unavailable; shorter near the end of a lease
CHECK_INTERVAL_S = 1.0  # between checks for rejected credentials, another token, and a changed token file


def parse_seconds(value: Any) -> float:
    """Parse a duration from Vault.

    Raises:
        ValueError: If it is not a plausible number of seconds.
    """
    seconds = float(value)
    if not 0 <= seconds < 1e10:
        raise ValueError("not a duration")
    return seconds


def renewal_time(requested_at: float, lease_s: float) -> float:
    """Return when to renew a lease."""
    return requested_at + lease_s * RENEW_AT * (1 - random.uniform(0, JITTER))  # noqa: S311  (no secret depends on it)


def retry_pause(remaining_s: float) -> float:
    """Return the pause before the next attempt to renew something that ends in some seconds."""
    return max(0.2, min(RETRY_INTERVAL_S, remaining_s / 4)) if remaining_s > 0 else RETRY_INTERVAL_S
