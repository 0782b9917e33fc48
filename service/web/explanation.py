"""The explanation of a balance: its events, and a digest that a client can recompute.

The digest is the SHA-256, in hexadecimal, of the following lines in UTF-8. The fields are the reply's members as
written there, joined by commas. Each line ends with a line feed.

    loan_id,currency,start_date,initial_amt
    tx_id,event_type,post_date,signed_amt,balance      (one line for each of `events`, in order)
    date,balance

The version is not part of it: the digest changes if, and only if, something behind the balance changes.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from native import Timeline, to_date
from service.domain.money import to_decimal_string
from service.domain.statement import to_entry
from service.errors import InvalidRequest
from service.web.serializers import entry_members

MAX_EVENTS = 10_000
_HEAD = ("loan_id", "currency", "start_date", "initial_amt")
_EVENT = ("tx_id", "event_type", "post_date", "signed_amt", "balance")
_FOOT = ("date", "balance")


def explain(members: dict[str, Any], timeline: Timeline, day: int) -> dict[str, Any]:
    """Return a balance's members with its explanation. Before the loan's start date no event counts.

    Args:
        members: The members of the balance.
        timeline: The loan's events.
        day: The balance's day, as a day number.

    Raises:
        InvalidRequest: If there are more than MAX_EVENTS.
    """
    count = timeline.position(day) if day >= timeline.start_day else 0
    if count > MAX_EVENTS:
        detail = f"expected at most {MAX_EVENTS} events, got {count}: request a statement instead"
        raise InvalidRequest([("explain", detail)])
    explained = members | {
        "start_date": to_date(timeline.start_day).isoformat(),
        "initial_amt": to_decimal_string(timeline.initial, timeline.exponent),
        "events": [entry_members(to_entry(event), timeline.exponent) for event in timeline.events(0, count)],
    }
    events = ((event, _EVENT) for event in explained["events"])
    return explained | {"digest": digest_of([(explained, _HEAD), *events, (explained, _FOOT)])}


def digest_of(lines: Iterable[tuple[Mapping[str, Any], Iterable[str]]]) -> str:
    """Return the digest of lines, each given as members of a reply and the names of its fields."""
    text = "".join(",".join(str(members[field]) for field in fields) + "\n" for members, fields in lines)
    return sha256(text.encode()).hexdigest()
