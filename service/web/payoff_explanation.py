"""The explanation of a payoff: how its interest accrued, and a digest that a client can recompute.

The digest is the SHA-256, in hexadecimal, of the following lines in UTF-8. The fields are the reply's members as
written there, joined by commas. Each line ends with a line feed.

    loan_id,currency,start_date,initial_amt
    from,to,principal,rate,day_count,days,interest     (one line for each of `segments`, in order)
    accrued,charged
    date,principal,interest_charged,interest_uncharged,fees,total

The version is not part of it: the digest changes if, and only if, something behind the payoff changes.
"""

from fractions import Fraction
from typing import Any

from native import Segment, Timeline, accrual_segments, to_date, uncharged_at
from service.domain.money import to_decimal_string
from service.domain.terms import to_rate_string
from service.errors import InvalidRequest
from service.web.explanation import digest_of

MAX_SEGMENTS = 10_000
_HEAD = ("loan_id", "currency", "start_date", "initial_amt")
_SEGMENT = ("from", "to", "principal", "rate", "day_count", "days", "interest")
_SUMS = ("accrued", "charged")
_FOOT = ("date", "principal", "interest_charged", "interest_uncharged", "fees", "total")


def explain_payoff(members: dict[str, Any], timeline: Timeline, day: int) -> dict[str, Any]:
    """Return the members that explain a payoff.

    Args:
        members: The members of the payoff.
        timeline: The loan's events and terms.
        day: The payoff's day, as a day number.

    Raises:
        InvalidRequest: If there are more than MAX_SEGMENTS.
    """
    segments = accrual_segments(timeline, day)
    if len(segments) > MAX_SEGMENTS:
        raise InvalidRequest([("explain", f"expected at most {MAX_SEGMENTS} segments, got {len(segments)}")])
    accrued = sum((Fraction(segment.numerator, segment.denominator) for segment in segments), Fraction())
    charged = accrued - Fraction(*uncharged_at(timeline, day))
    assert charged.denominator == 1  # amounts are whole minor units
    explained: dict[str, Any] = {
        "start_date": to_date(timeline.start_day).isoformat(),
        "initial_amt": to_decimal_string(timeline.initial, timeline.exponent),
        "segments": [_to_members(segment, timeline.exponent) for segment in segments],
        "accrued": _to_text(accrued),
        "charged": to_decimal_string(charged.numerator, timeline.exponent),
    }
    whole = members | explained
    lines = [
        (whole, _HEAD),
        *((segment, _SEGMENT) for segment in explained["segments"]),
        (whole, _SUMS),
        (whole, _FOOT),
    ]
    return explained | {"digest": digest_of(lines)}


def _to_members(segment: Segment, digits: int) -> dict[str, Any]:
    return {
        "from": to_date(segment.first_day).isoformat(),
        "to": to_date(segment.last_day).isoformat(),
        "principal": to_decimal_string(segment.principal, digits),
        "rate": to_rate_string(segment.rate),
        "day_count": segment.day_count,
        "days": segment.days,
        "interest": _to_text(Fraction(segment.numerator, segment.denominator)),
    }


def _to_text(fraction: Fraction) -> str:
    return f"{fraction.numerator}/{fraction.denominator}"
