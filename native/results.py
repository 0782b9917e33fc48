"""What the core returns about one loan on one day. Amounts are minor units, days are counts since 1970-01-01."""

from array import array
from typing import NamedTuple


class Payoff(NamedTuple):
    """What settles a loan. The first four members sum to the total.

    Attributes:
        fees: Outstanding fees.
        interest: Outstanding interest that was charged.
        principal: Outstanding principal; negative after an overpayment.
        uncharged: The total less the balance: the rounded interest that accrued and was not charged.
        total: The exact balance and uncharged interest, rounded as one number, half to even.
        per_diem: The interest of one day at the rate in effect, rounded half to even.
    """

    fees: int
    interest: int
    principal: int
    uncharged: int
    total: int
    per_diem: int


class Arrears(NamedTuple):
    """How late a loan is.

    Attributes:
        due: The unsatisfied amount of installments due by the day.
        past_due: That of installments due before it, at most the payoff; 0 within the grace days.
        days: Days since the oldest unsatisfied due day; 0 within the grace days.
        oldest_due_day: That day; None if nothing is due.
    """

    due: int
    past_due: int
    days: int
    oldest_due_day: int | None


class Segment(NamedTuple):
    """A range of days in which interest accrues on one principal under the same terms.

    Attributes:
        first_day: Its first day.
        last_day: The day after its last day.
        principal: The principal; 0 if it is negative.
        rate: In units of 1e-8 a year.
        day_count: One of DAY_COUNTS.
        days: The number of days by the day count.
        numerator: That of the exact interest, a reduced fraction of minor units.
        denominator: That of the exact interest.
    """

    first_day: int
    last_day: int
    principal: int
    rate: int
    day_count: str
    days: int
    numerator: int
    denominator: int


class Payoffs(NamedTuple):
    """The payoffs and arrears of n loans.

    Attributes:
        parts: 3 x n int64: the parts of loan i begin at 3 * i, in the order of PARTS.
        uncharged: n x int64: interest that accrued and was not charged, as in Payoff.
        totals: n x int64: what settles each loan.
        past_due: n x int64.
        days: n x int64: days past due.
        overflows: n x uint8: 1 if a value of the loan does not fit; its other values are 0 then.
    """

    parts: "array[int]"
    uncharged: "array[int]"
    totals: "array[int]"
    past_due: "array[int]"
    days: "array[int]"
    overflows: "array[int]"
