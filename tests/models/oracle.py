"""A reference implementation of the ledger with Decimals that shares no code with the core."""

from dataclasses import dataclass
from decimal import Decimal

from hypothesis import strategies as st

from native import FEE, INTEREST, PAYMENT, REVERSAL


@dataclass(frozen=True)
class Event:
    """A posted event; `amount` is in cents and positive."""

    day: int
    kind: int
    amount: int
    tx_id: int

    @property
    def signed(self) -> Decimal:
        sign = {FEE: 1, INTEREST: 1, PAYMENT: -1}[self.kind & ~REVERSAL]
        return Decimal(sign if self.kind < REVERSAL else -sign) * Decimal(self.amount) / 100


@dataclass(frozen=True)
class Ledger:
    """A loan with its events, in any order."""

    start_day: int
    initial: int
    events: tuple[Event, ...]

    def balance_at(self, day: int) -> Decimal:
        if day < self.start_day:
            return Decimal(0)
        return Decimal(self.initial) / 100 + sum((e.signed for e in self.events if e.day <= day), Decimal(0))

    def parts_at(self, day: int) -> tuple[Decimal, Decimal, Decimal]:
        """Return what is owed of fees, interest and principal."""
        if day < self.start_day:
            return Decimal(0), Decimal(0), Decimal(0)
        standing: list[Event] = []
        for event in sorted(self.events, key=lambda event: (event.day, event.tx_id)):
            if event.day > day:
                break
            twins = [e for e in standing if (e.kind ^ REVERSAL, e.amount) == (event.kind, event.amount)]
            if twins:
                standing.remove(twins[-1])
            else:
                standing.append(event)
        owed = {FEE: Decimal(0), INTEREST: Decimal(0), PAYMENT: Decimal(self.initial) / 100}  # the last: principal
        for event in standing:
            if event.signed > 0:
                owed[event.kind & ~REVERSAL] += event.signed
                continue
            left = -event.signed
            for part in (FEE, INTEREST):
                paid = min(left, owed[part])
                owed[part] -= paid
                left -= paid
            owed[PAYMENT] -= left
        return owed[FEE], owed[INTEREST], owed[PAYMENT]

    def build(self, core, **changes):
        """Build the core's timeline of the same ledger."""
        ordered = sorted(self.events, key=lambda event: (event.day, event.tx_id))
        columns = {
            "loan_id": 7,
            "version": len(ordered),
            "horizon": 12345,
            "start_day": self.start_day,
            "initial": self.initial,
            "currency": "USD",
            "days": [event.day for event in ordered],
            "kinds": [event.kind for event in ordered],
            "amounts": [event.amount for event in ordered],
            "tx_ids": [event.tx_id for event in ordered],
        }
        return core.Timeline.build(**{**columns, **changes})


KINDS = [FEE, INTEREST, PAYMENT, FEE | REVERSAL, INTEREST | REVERSAL, PAYMENT | REVERSAL]
DAYS = st.integers(-1000, 1000)  # close together, so that many fall on one day


@st.composite
def ledgers(draw, max_events: int = 30) -> Ledger:
    """Generate ledgers with shared days, events before the start, and reversals."""
    count = draw(st.integers(0, max_events))
    tx_ids = draw(st.lists(st.integers(0, 2**63 - 1), min_size=count, max_size=count, unique=True))
    events = tuple(
        Event(draw(DAYS), draw(st.sampled_from(KINDS)), draw(st.integers(1, 10**15)), tx_id) for tx_id in tx_ids
    )
    return Ledger(draw(DAYS), draw(st.integers(0, 10**15)), events)
