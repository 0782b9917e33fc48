"""Members, bodies and headers of replies about loans."""

from datetime import date, datetime
from hashlib import blake2b
from typing import Any

import orjson

from native import PARTS, Timeline, balance_parts, day_number
from service.domain.money import to_decimal_string
from service.domain.statement import StatementEntry

ETAG_BYTES = 12


def balance_members(timeline: Timeline, day: date) -> dict[str, Any]:
    """Return the members of a balance at the end of a day."""
    return {
        "loan_id": timeline.loan_id,
        "date": day,
        "balance": to_decimal_string(timeline.balance_at(day_number(day)), timeline.exponent),
        "currency": timeline.currency,
        "version": timeline.version,
    }


def parts_members(timeline: Timeline, day: int) -> dict[str, Any]:
    """Return the members that split a balance into its parts.

    Args:
        timeline: The loan's events.
        day: The balance's day, as a day number.
    """
    parts = (to_decimal_string(part, timeline.exponent) for part in balance_parts(timeline, day))
    return {"parts": dict(zip(PARTS, parts, strict=True)), "allocation": PARTS}


def entry_members(entry: StatementEntry) -> dict[str, Any]:
    """Return the members of a statement's entry."""
    return {
        "tx_id": entry.tx_id,
        "event_type": entry.event_type,
        "post_date": entry.post_date.isoformat(),
        "amt": to_decimal_string(abs(entry.signed)),
        "reversal": entry.reversal,
        "signed_amt": to_decimal_string(entry.signed),
        "balance": to_decimal_string(entry.balance),
    }


def to_json(members: dict[str, Any], as_of: datetime | None) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body and the headers of a JSON reply. `as_of` is as for `ledger_headers`."""
    body = orjson.dumps(members)
    return body, ledger_headers("application/json", body, as_of)


def as_of_header(as_of: datetime) -> tuple[str, str]:
    """Return the header that says that every event committed before a time is included."""
    return "As-Of", as_of.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ledger_headers(content_type: str, source: bytes, as_of: datetime | None) -> list[tuple[str, str]]:
    """Return the headers of a reply from a loan's ledger.

    The ETag is a digest of `source`. Since that contains the loan, its version, the dates and the events, two
    different replies have different ETags, even if a failover assigned a version to another event.

    Args:
        content_type: The media type.
        source: The body, or everything from which the body is computed.
        as_of: Every event committed before this time is included; None if the reply is immutable.
    """
    return [
        ("Content-Type", content_type),
        ("ETag", f'"{blake2b(source, digest_size=ETAG_BYTES).hexdigest()}"'),
        *([as_of_header(as_of)] if as_of else []),
        ("Cache-Control", "private, no-cache"),  # caches must revalidate
    ]
