"""Predicts what replies say of a loan's payoff and arrears, with the model in exact fractions.

A reply writes amounts as decimal strings of the loan's currency. An amount that does not fit 64 bits of minor units is
not shown: AmountTooLarge stands for the error that replaces it.
"""

from collections.abc import Collection, Iterable
from datetime import date, timedelta
from fractions import Fraction
from hashlib import sha256
from typing import Any, NamedTuple

from tests.models.payoff_generator import CURRENCIES
from tests.models.payoff_model import Arrears, DayInterest, Loan, Payoff, Walk, total_interest

MAX64 = 2**63 - 1
BUCKETS = ("current", "1-30", "31-60", "61-90", "91-120", "over 120")
HEAD = ("loan_id", "currency", "start_date", "initial_amt")
SEGMENT = ("from", "to", "principal", "rate", "day_count", "days", "interest")
SUMS = ("accrued", "charged")
FOOT = ("date", "principal", "interest_charged", "interest_uncharged", "fees", "total")
Members = dict[str, Any]


class AmountTooLarge(Exception):
    """An amount does not fit 64 bits of minor units."""


class Answers(NamedTuple):
    payoff: Payoff
    arrears: Arrears
    installments: list[tuple[date, int, int]]
    walk: Walk


class PayoffReplies:
    """The replies about one loan at one version.

    Args:
        loan_id: The loan.
        loan: Its records up to the version.
    """

    def __init__(self, loan_id: int, loan: Loan) -> None:
        self._loan_id = loan_id
        self._loan = loan
        self._answers: dict[date, Answers] = {}

    def answers(self, day: date) -> Answers:
        """Return the answers of the model, which are computed once.

        Raises:
            AmountTooLarge: If one of them cannot be shown.
        """
        found = self.any_answers(day)
        if not self.fits(day):
            raise AmountTooLarge
        return found

    def any_answers(self, day: date) -> Answers:
        """Return the answers of the model, even if they cannot be shown."""
        if day not in self._answers:
            self._answers[day] = Answers(*self._loan.answers(day))
        return self._answers[day]

    def fits(self, day: date) -> bool:
        payoff = self.any_answers(day).payoff
        return all(-MAX64 <= amount <= MAX64 for amount in (payoff.uncharged, payoff.total))

    def money(self, amount: int) -> str:
        digits = CURRENCIES[self._loan.currency]
        whole, rest = divmod(abs(amount), 10**digits)
        sign = "-" if amount < 0 else ""
        return f"{sign}{whole}.{rest:0{digits}d}" if digits else f"{sign}{whole}"

    def payoff(self, day: date) -> Members:
        payoff = self.answers(day).payoff
        return self._head(day) | {
            "principal": self.money(payoff.principal), "interest_charged": self.money(payoff.interest),
            "interest_uncharged": self.money(payoff.uncharged), "fees": self.money(payoff.fees),
            "total": self.money(payoff.total), "per_diem": self.money(payoff.per_diem),
        }  # fmt: skip

    def totals(self, day: date, last: date) -> list[Members]:
        """Return the totals of the days after a day through the last one."""
        days = [day + timedelta(days=number) for number in range(1, (last - day).days + 1)]
        return [{"date": each.isoformat(), "total": self.money(self.answers(each).payoff.total)} for each in days]

    def explanation(self, day: date, segments: Iterable[Members]) -> Members:
        """Return what explains a payoff, except the segments.

        Args:
            day: The day.
            segments: The segments of the reply.
        """
        walk = self.any_answers(day).walk
        members = {
            "start_date": self._loan.start.isoformat(), "initial_amt": self.money(self._loan.initial),
            "accrued": to_text(walk.accrued), "charged": self.money(walk.charged),
        }  # fmt: skip
        whole = self.payoff(day) | members
        lines = [(whole, HEAD), *((segment, SEGMENT) for segment in segments), (whole, SUMS), (whole, FOOT)]
        text = "".join(",".join(str(of[name]) for name in names) + "\n" for of, names in lines)
        return members | {"digest": sha256(text.encode()).hexdigest()}

    def segments(self, day: date) -> list[Members]:
        """Return the segments: the longest runs of days with one principal and one record of terms."""
        runs: list[list[DayInterest]] = []
        for accrual in self.any_answers(day).walk.accruals:
            if runs and (runs[-1][-1].principal, runs[-1][-1].terms) == (accrual.principal, accrual.terms):
                runs[-1].append(accrual)
            else:
                runs.append([accrual])
        return [self._segment(run) for run in runs]

    def _segment(self, run: list[DayInterest]) -> Members:
        terms = run[0].terms
        return {
            "from": run[0].day.isoformat(), "to": (run[-1].day + timedelta(days=1)).isoformat(),
            "principal": self.money(run[0].principal), "rate": rate_text(terms.rate), "day_count": terms.day_count,
            "days": sum(accrual.weight for accrual in run), "interest": to_text(total_interest(run)),
        }  # fmt: skip

    def arrears(self, day: date) -> Members:
        _, arrears, installments, _ = self.answers(day)
        return self._head(day) | {
            "due": self.money(arrears.due), "past_due": self.money(arrears.past_due), "days": arrears.days,
            "bucket": arrears.bucket,
            "oldest_due_date": None if arrears.oldest_due_date is None else arrears.oldest_due_date.isoformat(),
            "installments": [
                {"due_date": due.isoformat(), "amt": self.money(amt), "satisfied": self.money(satisfied)}
                for due, amt, satisfied in installments
                if satisfied < amt
            ],
        }  # fmt: skip

    def settlement(self, day: date, requested: Collection[str]) -> Members:
        """Return what `payoff` and `arrears` add to other replies."""
        if not requested:
            return {}
        payoff, arrears, _, _ = self.answers(day)
        shown: Members = {}
        if "payoff" in requested:
            shown |= {"interest_uncharged": self.money(payoff.uncharged), "payoff": self.money(payoff.total)}
        if "arrears" in requested:
            shown |= {"past_due": self.money(arrears.past_due), "days_past_due": arrears.days}
        return shown

    def _head(self, day: date) -> Members:
        return {
            "loan_id": self._loan_id, "date": day.isoformat(), "currency": self._loan.currency,
            "version": self._loan.version,
        }  # fmt: skip


def to_text(fraction: Fraction) -> str:
    return f"{fraction.numerator}/{fraction.denominator}"


def rate_text(rate: Fraction) -> str:
    """Return a rate without trailing zeros."""
    scaled = rate * 10**8
    assert scaled.denominator == 1
    whole, rest = divmod(scaled.numerator, 10**8)
    return f"{whole}.{rest:08d}".rstrip("0").rstrip(".")
