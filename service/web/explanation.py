"""Why a balance is what it is: the events behind it, and a digest over them that anybody can make again.

The digest is SHA-256, in hexadecimal, of this text in UTF-8, each line ended by a line feed, its fields joined by
commas and written as the reply writes them:

    loan_id,currency,start_date,initial_amt
    tx_id,event_type,post_date,signed_amt,balance      (one line for each event, in their order)
    date,balance

The version is no part of it: the digest changes when what is behind the balance does, and not with what is posted
beyond that.
"""

from collections.abc import Iterable
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
    """What a reply says of the balance on a day (a day number), and why. Before the loan starts no event counts.

    Raises: InvalidRequest for a balance with more than MAX_EVENTS behind it.
    """
    count = timeline.position(day) if day >= timeline.start_day else 0
    if count > MAX_EVENTS:
        raise InvalidRequest(
            [("explain", f"expected at most {MAX_EVENTS} events, and this would be {count}: ask for a statement")]
        )
    told = members | {
        "start_date": to_date(timeline.start_day).isoformat(),
        "initial_amt": to_decimal_string(timeline.initial),
        "events": [entry_members(to_entry(event)) for event in timeline.events(0, count)],
    }
    return told | {"digest": _digest(told)}


def _digest(told: dict[str, Any]) -> str:
    lines = [_line(told, _HEAD), *(_line(event, _EVENT) for event in told["events"]), _line(told, _FOOT)]
    return sha256("".join(lines).encode()).hexdigest()


def _line(members: dict[str, Any], fields: Iterable[str]) -> str:
    return ",".join(str(members[field]) for field in fields) + "\n"
