"""Members, bodies and headers of replies about loans."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Any

import orjson

from native import ALLOCATIONS, PARTS, Timeline, balance_parts, day_number
from service.domain.money import to_decimal_string
from service.domain.statement import StatementEntry
from service.ledger.event_log import NO_PROVENANCE, Provenance
from service.ledger.posting import to_rfc3339

ETAG_BYTES = 12
CACHE_CONTROL = ("Cache-Control", "private, no-cache")  # caches must revalidate
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
    return {"parts": parts_of(timeline, day), "allocation": allocation_on(timeline, day)}


def allocation_on(timeline: Timeline, day: int) -> tuple[str, str, str]:
    """Return the order in which a payment on a day is allocated, by the terms in effect then."""
    terms = [allocation for first_day, _, _, allocation, _ in timeline.terms if first_day <= day]
    return ALLOCATIONS[terms[-1]] if terms else PARTS


def to_allocation_text(allocation: Iterable[str]) -> str:
    """Return an order of allocation as a field of CSV: as in the files of `load`."""
    return ">".join(allocation)


def parts_of(timeline: Timeline, day: int) -> dict[str, str]:
    """Return the parts of a balance by their names."""
    parts = (to_decimal_string(part, timeline.exponent) for part in balance_parts(timeline, day))
    return dict(zip(PARTS, parts, strict=True))


def entry_members(entry: StatementEntry, digits: int) -> dict[str, Any]:
    """Return the members of a statement's entry, whose currency has this number of decimals."""
    recorded = None if entry.recorded_at is None else _EPOCH + timedelta(microseconds=entry.recorded_at)
    return {
        "tx_id": entry.tx_id,
        "event_type": entry.event_type,
        "post_date": entry.post_date.isoformat(),
        "amt": to_decimal_string(abs(entry.signed), digits),
        "reversal": entry.reversal,
        "signed_amt": to_decimal_string(entry.signed, digits),
        "balance": to_decimal_string(entry.balance, digits),
        "version": entry.version,
        "recorded_at": None if recorded is None else to_rfc3339(recorded),
        "reverses": entry.reverses,
        "reversed_by": entry.reversed_by,
    }


def tx_ids_of(events: Iterable[dict[str, Any]]) -> list[int]:
    """Return the transaction ids among the members of events. The principal has none."""
    return [event["tx_id"] for event in events if event["tx_id"] is not None]


def add_provenance(events: Iterable[dict[str, Any]], found: Mapping[int, Provenance]) -> None:
    """Add the members `source_id`, `posted_by` and `memo` to those of events."""
    for event in events:
        event |= found.get(event["tx_id"], NO_PROVENANCE)._asdict()


def to_json(
    members: dict[str, Any], as_of: datetime | None, version: int | None = None
) -> tuple[bytes, list[tuple[str, str]]]:
    """Return the body and the headers of a JSON reply. `as_of` and `version` are as for `ledger_headers`."""
    body = orjson.dumps(members)
    return body, ledger_headers("application/json", body, as_of, version)


def as_of_header(as_of: datetime) -> tuple[str, str]:
    """Return the header that says that every event committed before a time is included."""
    return "As-Of", as_of.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ledger_headers(
    content_type: str, source: bytes, as_of: datetime | None, version: int | None = None
) -> list[tuple[str, str]]:
    """Return the headers of a reply from the ledger.

    The ETag is a digest of `source`, after the version of the loan. Since the source contains the loan, its version,
    the dates and the events, two different replies have different ETags, even if a failover assigned a version to
    another event.

    Args:
        content_type: The media type.
        source: The body, or everything from which the body is computed.
        as_of: Every event committed before this time is included; None if the reply is immutable.
        version: The loan's version; None if the reply is about several loans.
    """
    return [
        ("Content-Type", content_type),
        ("ETag", etag(source, version)),
        *([as_of_header(as_of)] if as_of else []),
        CACHE_CONTROL,
    ]


def etag(source: bytes, version: int | None) -> str:
    """Return the value of the ETag; the arguments are as for `ledger_headers`."""
    digest = blake2b(source, digest_size=ETAG_BYTES).hexdigest()
    return f'"{digest}"' if version is None else f'"{version}-{digest}"'
