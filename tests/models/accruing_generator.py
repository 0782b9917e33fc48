"""Posts the random loans of the model of payoffs, over HTTP and from files, record by record."""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

from tests.models.accrual_model import MOST, MOST_TURNOVER, turnover
from tests.models.ledger_model import DIGITS, Loan
from tests.models.ledger_poster import LedgerPoster
from tests.models.payoff_generator import LoanGenerator
from tests.models.payoff_model import Event, Schedule, Terms

LARGE = 2**58  # amounts have at most 18 digits
LOADED = 0.4  # of the loans
NOT_RECORDED = datetime.max.replace(tzinfo=UTC)
Record = Event | Terms | Schedule


def source(version: int) -> str:
    """Return the id that an event has in files."""
    return f"L{version}"


@dataclass
class Pending:
    """A loan in the ledger, and the records that are not posted yet.

    Attributes:
        loan: The loan.
        records: As they were generated, in the order of their versions.
        made: What the ledger made of each generated version: the transaction id of an event, or another version.
    """

    loan: Loan
    records: list[Record]
    made: dict[int, int] = field(default_factory=dict)


class AccruingGenerator:
    """Generates loans with terms, schedules and events, and posts them in turns, so that recording times are mixed.

    Args:
        poster: Posts to the ledger.
        rng: The source of all choices.
        anchor: The day near which all dates lie.
        folder: For files.
    """

    def __init__(self, poster: LedgerPoster, rng: Random, anchor: date, folder: Path) -> None:
        self._poster = poster
        self._rng = rng
        self._folder = folder
        self._generator = LoanGenerator(rng, anchor, LARGE)
        self._pending: list[Pending] = []

    def start(self, ids: range) -> None:
        """Create loans with these ids: some from files, which also have records of earlier loans."""
        to_load: list[tuple[Pending, list[Record]]] = []
        for loan_id in ids:
            drawn = self._generator.generate()
            if loan_id % 10 == 0:  # after a year its interest does not fit 64 bits
                most = Terms(0, drawn.start, Fraction(10), "ACT/360")
                drawn = replace(drawn, initial=MOST, terms=(*drawn.terms, most))
            records = sorted((*drawn.events, *drawn.terms, *drawn.schedules), key=lambda record: record.version)
            initial = Decimal(drawn.initial).scaleb(-DIGITS[drawn.currency])
            if self._rng.random() < LOADED:
                loan = Loan(loan_id, drawn.start, initial, drawn.currency, NOT_RECORDED)
                pending = Pending(loan, records)
                to_load.append((pending, self._take(pending)))
            else:
                self._pending.append(
                    Pending(self._poster.create(loan_id, drawn.start, initial, drawn.currency), records)
                )
        earlier = [pending for pending in self._pending if pending.records and self._rng.random() < LOADED]
        new = [pending for pending, _ in to_load]
        self._load([*to_load, *((pending, self._take(pending)) for pending in earlier)])
        self._pending += new

    def post(self, count: int) -> None:
        """Post this many times records of one loan."""
        for _ in range(count):
            unfinished = [pending for pending in self._pending if pending.records]
            if not unfinished:
                return
            self._post_next(self._rng.choice(unfinished))

    def _take(self, pending: Pending) -> list[Record]:
        """Take what to load from the records of a loan, in the order of a load.

        Files have no reversals of terms and schedules, and reverse only events that came from files.
        """
        count = self._rng.choice((len(pending.records), self._rng.randint(0, len(pending.records))))
        loaded: list[Record] = []
        rest: list[Record] = []
        known = {event.source_id for event in pending.loan.events}
        undone = {event.reverses for event in pending.loan.events if event.reverses is not None}
        total = turnover(pending.loan.state().exact)
        for record in pending.records[:count]:
            if isinstance(record, Event):
                reverses = record.reverses
                fits = reverses is None or (source(reverses) in known and pending.made.get(reverses) not in undone)
                total += record.amt
                fits = fits and total <= MOST_TURNOVER
                if fits:
                    known.add(source(record.version))
            else:
                # The rows of one effective date are one schedule.
                fits = record.reverses is None and not any(
                    type(other) is type(record) is Schedule and other.effective == record.effective for other in loaded
                )
            (loaded if fits else rest).append(record)
        pending.records = [*rest, *pending.records[count:]]
        terms = [record for record in loaded if isinstance(record, Terms)]
        if terms and self._rng.random() < 0.7:
            terms[0] = replace(terms[0], effective=pending.loan.start_date)
        schedules = [self._in_any_order(record) for record in loaded if isinstance(record, Schedule)]
        events = [record for record in loaded if isinstance(record, Event)]
        events.sort(key=lambda event: event.reverses is not None)
        return [*terms, *schedules, *events]

    def _in_any_order(self, schedule: Schedule) -> Schedule:
        rows = self._rng.sample(schedule.installments, len(schedule.installments))
        return replace(schedule, installments=tuple(rows))

    def _load(self, to_load: list[tuple[Pending, list[Record]]]) -> None:
        batch = []
        for pending, loaded in to_load:
            days = {event.source_id: event.post_date for event in pending.loan.events if event.source_id}
            records: list[Terms | Schedule | dict[str, Any]] = []
            for version, record in enumerate(loaded, pending.loan.version + 1):
                if isinstance(record, Event):
                    source_id = source(record.version)
                    reverses = None if record.reverses is None else source(record.reverses)
                    days[source_id] = max(record.day, days.get(reverses, record.day))
                    memo = self._rng.choice([None, "migrated"])
                    event = self._to_event(pending, record, days[source_id])
                    records.append(event | {"source_id": source_id, "reverses": reverses, "memo": memo})
                else:
                    pending.made[record.version] = version
                    records.append(replace(record, version=version))
            batch.append((pending.loan, records))
        self._poster.load(self._folder, batch)
        for pending, loaded in to_load:
            tx_ids = {event.source_id: event.tx_id for event in pending.loan.events}
            pending.made |= {
                record.version: tx_ids[source(record.version)] for record in loaded if isinstance(record, Event)
            }

    def _post_next(self, pending: Pending) -> None:
        record = pending.records.pop(0)
        if not isinstance(record, Event):
            self._agree(pending, record)
            return
        batch = [record]
        while pending.records and isinstance(pending.records[0], Event) and self._rng.random() < 0.6:
            batch.append(pending.records.pop(0))
        undone = {event.reverses for event in pending.loan.events}
        days = {event.tx_id: event.post_date for event in pending.loan.events}
        total = turnover(pending.loan.state().exact)
        versions, events = [], []
        for each in batch:
            event = self._to_event(pending, each, each.day)
            if each.reverses is not None:
                event["reverses"] = tx_id = pending.made.get(each.reverses)
                if tx_id is None or tx_id in undone:
                    continue  # reversed by other means, or part of this request
                event["post_date"] = max(each.day, days[tx_id])
                undone.add(tx_id)
            total += each.amt
            if total <= MOST_TURNOVER:
                versions.append(each.version)
                events.append(event)
        if events:
            first = len(pending.loan.events)
            self._poster.post(pending.loan, events)
            posted = pending.loan.events[first:]
            pending.made |= {version: event.tx_id for version, event in zip(versions, posted, strict=True)}

    def _agree(self, pending: Pending, record: Terms | Schedule) -> None:
        version = pending.loan.version + 1
        reverses = None if record.reverses is None else pending.made[record.reverses]
        self._poster.agree(pending.loan, replace(record, version=version, reverses=reverses))
        pending.made[record.version] = version

    def _to_event(self, pending: Pending, event: Event, day: date) -> dict[str, Any]:
        """Return an event with the arguments of Posted."""
        return {
            "event_type": event.kind, "post_date": day, "amt": Decimal(event.amt).scaleb(-DIGITS[pending.loan.currency])
        }  # fmt: skip
