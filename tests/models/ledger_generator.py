"""Posts random loans without terms, over HTTP and by batches in SQL."""

from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from tests.models.ledger_model import DIGITS, Ledger, Loan
from tests.models.ledger_poster import LedgerPoster

FIRST = date(2019, 11, 15)
DAYS = 420
MEMOS = ("goodwill", "corrects the receipt, again", 'said "paid"', "übertragen", "x" * 200)


class LedgerGenerator:
    """Generates a ledger from a seed.

    Args:
        poster: Posts to an empty ledger.
        rng: The source of all choices.
    """

    def __init__(self, poster: LedgerPoster, rng: Random) -> None:
        self._poster = poster
        self._rng = rng
        self._active: list[Loan] = []

    def generate(self, loans: int, batches: int) -> Ledger:
        """Post loans and batches of events, in turns, so that recording times are mixed."""
        ids = self._rng.sample(range(1, 3 * loans), loans)
        for number, loan_id in enumerate(ids):
            self._create(loan_id)
            for _ in range(batches * (number + 1) // loans - batches * number // loans):
                self._post_to_several() if self._rng.random() < 0.15 else self._post_to_one()
        return self._poster.ledger

    def _create(self, loan_id: int) -> None:
        currency = self._rng.choice(list(DIGITS))
        start = FIRST + timedelta(days=self._rng.randrange(DAYS))
        initial = self._rng.choice([Decimal(0), self._amount(currency), 100 * self._amount(currency)])
        loan = self._poster.create(loan_id, start, initial, currency, is_named=self._rng.random() < 0.5)
        if not self._active or self._rng.random() < 0.8:
            self._active.append(loan)
        elif initial:  # paid off: the balance becomes exactly zero
            self._poster.post(
                loan, [{"event_type": "payment", "post_date": start + timedelta(days=30), "amt": initial}]
            )

    def _amount(self, currency: str) -> Decimal:
        units = self._rng.choice([1, 7, 1000, 1000, 9999, self._rng.randint(1, 10**6), self._rng.randint(1, 10**14)])
        return Decimal(units).scaleb(-DIGITS[currency])

    def _new_events(self, loan: Loan, count: int) -> list[dict[str, Any]]:
        """Return events of a loan, each with the arguments of Posted: some reverse earlier ones, in any order."""
        undone = {event.reverses for event in loan.events}
        open_events = [event for event in loan.events if event.reverses is None and event.tx_id not in undone]
        chosen = []
        for number in range(count):
            if open_events and self._rng.random() < 0.3:
                first = open_events.pop(self._rng.randrange(len(open_events)))
                later = timedelta(days=self._rng.choice([0, 0, 1, self._rng.randrange(200)]))
                event = {
                    "event_type": first.event_type, "post_date": first.post_date + later, "amt": first.amt,
                    "reverses": first.tx_id,
                }  # fmt: skip
            else:
                event = {
                    "event_type": self._rng.choice(["fee", "interest", "payment", "payment"]),
                    "post_date": FIRST + timedelta(days=self._rng.randrange(DAYS)), "amt": self._amount(loan.currency),
                }  # fmt: skip
            if self._rng.random() < 0.4:
                prefix = self._rng.choice(["receipt", "=sum", 'a "b", c'])
                event["source_id"] = f"{prefix}-{len(loan.events) + number}"
            if self._rng.random() < 0.3:
                event["memo"] = self._rng.choice(MEMOS)
            chosen.append(event)
        return chosen

    def _post_to_one(self) -> None:
        loans = self._active
        # Some loans get many events, others few.
        loan = loans[min(self._rng.randrange(len(loans)), self._rng.randrange(len(loans)))]
        self._poster.post(loan, self._new_events(loan, self._rng.randint(1, 6)))

    def _post_to_several(self) -> None:
        loans = self._active
        self._poster.append(
            [
                (loan, event)
                for loan in self._rng.sample(loans, min(len(loans), 4))
                for event in self._new_events(loan, self._rng.randint(1, 3))
            ]
        )
