"""A reply about a loan: its bytes, and headers that say which one it is and how fresh."""

from datetime import datetime
from hashlib import blake2b
from typing import Any

import orjson

from service.money import to_decimal_string
from service.reader import Balance

ETAG_BYTES = 12


def balance_members(balance: Balance) -> dict[str, Any]:
    """What a reply says of a balance."""
    return {
        "loan_id": balance.loan_id,
        "date": balance.day.isoformat(),
        "balance": to_decimal_string(balance.balance),
        "currency": balance.currency,
        "version": balance.version,
    }


def represent(members: dict[str, Any], as_of: datetime | None) -> tuple[bytes, list[tuple[str, str]]]:
    """The body and headers of a reply. as_of: whatever was committed before is in it; None: it tells of a version.

    Its ETag is a digest of the body, which names the loan, its version and the date: replies that differ in anything
    have different ones, even where a failover has given a version to another event.
    """
    body = orjson.dumps(members)
    freshness = [("As-Of", as_of.isoformat(timespec="milliseconds").replace("+00:00", "Z"))] if as_of else []
    return body, [
        ("Content-Type", "application/json"),
        ("ETag", f'"{blake2b(body, digest_size=ETAG_BYTES).hexdigest()}"'),
        *freshness,
        ("Cache-Control", "private, no-cache"),  # whoever keeps it has to ask whether it still stands
    ]
