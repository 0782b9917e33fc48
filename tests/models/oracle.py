"""A reference implementation of the ledger with Decimals that shares no code with the core."""

from dataclasses import dataclass
from decimal import Decimal

from hypothesis import strategies as st

from native import FEE, INTEREST, INTEREST_CREDIT, PAYMENT, REVERSAL


@dataclass(frozen=True)
class Event:
    """A posted event; `amount` is in minor units and positive, and `reverses` the tx_id of an event or 0."""

    day: int
    kind: int
    amount: int
    tx_id: int
    reverses: int = 0
    recorded_at: int = 0

    @property
    def signed(self) -> int:
        sign = {FEE: 1, INTEREST: 1, PAYMENT: -1, INTEREST_CREDIT: -1}[self.kind & ~REVERSAL]
        return (sign if self.kind < REVERSAL else -sign) * self.amount


@dataclass(frozen=True)
class Ledger:
    """A loan with its events in any order, posted in the order of their tx_ids."""

    start_day: int
    initial: int
    events: tuple[Event, ...]
    exponent: int = 2

    def money(self, minor_units: int) -> Decimal:
        return Decimal(minor_units).scaleb(-self.exponent)

    def balance_at(self, day: int) -> Decimal:
        if day < self.start_day:
            return Decimal(0)
        return sum((self.money(e.signed) for e in self.events if e.day <= day), self.money(self.initial))

    def parts_at(self, day: int) -> tuple[Decimal, Decimal, Decimal]:
        """Return what is owed of fees, interest and principal."""
        if day < self.start_day:
            return Decimal(0), Decimal(0), Decimal(0)
        dated = sorted((e for e in self.events if e.day <= day), key=lambda event: (event.day, event.tx_id))
        known = {event.tx_id for event in dated}
        reversed_ids = {event.reverses for event in dated}
        owed = {FEE: Decimal(0), INTEREST: Decimal(0), PAYMENT: self.money(self.initial)}  # the last: principal
        for event in dated:
            if event.tx_id in reversed_ids or event.reverses in known:
                continue
            if event.signed > 0:
                owed[event.kind & ~REVERSAL] += self.money(event.signed)
                continue
            left = self.money(-event.signed)
            for part in (FEE, INTEREST):
                paid = min(left, owed[part])
                owed[part] -= paid
                left -= paid
            owed[PAYMENT] -= left
        return owed[FEE], owed[INTEREST], owed[PAYMENT]

    def versions(self) -> dict[int, int]:
        """Return the version that each event made, by its tx_id."""
        return {tx_id: version for version, tx_id in enumerate(sorted(e.tx_id for e in self.events), 1)}

    def reversals(self) -> dict[int, int]:
        """Return the tx_ids of reversals by those of the events that they reverse."""
        return {event.reverses: event.tx_id for event in self.events if event.reverses}

    def build(self, core, **changes):
        """Build the core's timeline of the same ledger."""
        ordered = sorted(self.events, key=lambda event: (event.day, event.tx_id))
        versions = self.versions()
        columns = {
            "loan_id": 7,
            "version": len(ordered),
            "horizon": 12345,
            "start_day": self.start_day,
            "initial": self.initial,
            "currency": "USD",
            "exponent": self.exponent,
            "days": [event.day for event in ordered],
            "kinds": [event.kind for event in ordered],
            "amounts": [event.amount for event in ordered],
            "tx_ids": [event.tx_id for event in ordered],
            "versions": [versions[event.tx_id] for event in ordered],
            "recorded_at": [event.recorded_at for event in ordered],
            "reverses": [event.reverses for event in ordered],
        }
        return core.Timeline.build(**{**columns, **changes})


KINDS = [FEE, INTEREST, PAYMENT]
DAYS = st.integers(-1000, 1000)  # close together, so that many fall on one day
AMOUNTS = st.integers(1, 10**15)
TIMES = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)  # the years 1 to 9999


@st.composite
def ledgers(draw, max_events: int = 30, days=DAYS, amounts=AMOUNTS) -> Ledger:
    """Generate ledgers with shared days, events before the start, and reversals dated before and after their events."""
    count = draw(st.integers(0, max_events))
    posted = draw(st.lists(st.integers(1, 2**63 - 1), min_size=count, max_size=count, unique=True))
    events: list[Event] = []
    open_events: list[Event] = []
    for tx_id in sorted(posted):
        day, time = draw(days), draw(TIMES)
        if open_events and draw(st.booleans()):
            first = open_events.pop(draw(st.integers(0, len(open_events) - 1)))
            events.append(Event(day, first.kind | REVERSAL, first.amount, tx_id, first.tx_id, time))
        else:
            events.append(Event(day, draw(st.sampled_from(KINDS)), draw(amounts), tx_id, 0, time))
            open_events.append(events[-1])
    return Ledger(draw(days), draw(st.integers(0, 10**15)), tuple(events), draw(st.integers(0, 4)))
