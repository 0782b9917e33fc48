"""A reply about a loan: its bytes, and headers that say which one it is and how fresh."""

from datetime import date, datetime
from hashlib import blake2b
from typing import Any

import orjson

from native import PARTS, Timeline, balance_parts, day_number
from service.domain.money import to_decimal_string
from service.domain.statement import StatementEntry

ETAG_BYTES = 12


def balance_members(timeline: Timeline, day: date) -> dict[str, Any]:
    """What a reply says of what a loan owed at the end of a day."""
    return {
        "loan_id": timeline.loan_id,
        "date": day,
        "balance": to_decimal_string(timeline.balance_at(day_number(day))),
        "currency": timeline.currency,
        "version": timeline.version,
    }


def parts_members(timeline: Timeline, day: int) -> dict[str, Any]:
    """What a reply says of what a balance is made of, on a day (a day number)."""
    parts = map(to_decimal_string, balance_parts(timeline, day))
    return {"parts": dict(zip(PARTS, parts, strict=True)), "allocation": PARTS}


def entry_members(line: StatementEntry) -> dict[str, Any]:
    """What a reply says of an event."""
    return {
        "tx_id": line.tx_id,
        "event_type": line.event_type,
        "post_date": line.post_date.isoformat(),
        "amt": to_decimal_string(abs(line.signed)),
        "reversal": line.reversal,
        "signed_amt": to_decimal_string(line.signed),
        "balance": to_decimal_string(line.balance),
    }


def to_json(members: dict[str, Any], as_of: datetime | None) -> tuple[bytes, list[tuple[str, str]]]:
    """The body and headers of a reply in JSON. as_of: as for `ledger_headers`."""
    body = orjson.dumps(members)
    return body, ledger_headers("application/json", body, as_of)


def as_of_header(as_of: datetime) -> tuple[str, str]:
    """The header that says: whatever was committed before is in it."""
    return "As-Of", as_of.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ledger_headers(content_type: str, source: bytes, as_of: datetime | None) -> list[tuple[str, str]]:
    """The headers of a reply from a ledger. as_of: whatever was committed before is in it; None: it tells of a version.

    Its ETag is a digest of its source: the body, or all that the body is made from. That names the loan, its version
    and the dates, and holds what was posted: replies that differ in anything have different ones, even where a failover
    has given a version to another event.
    """
    return [
        ("Content-Type", content_type),
        ("ETag", f'"{blake2b(source, digest_size=ETAG_BYTES).hexdigest()}"'),
        *([as_of_header(as_of)] if as_of else []),
        ("Cache-Control", "private, no-cache"),  # whoever keeps it has to ask whether it still stands
    ]
