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
        """Create loans with these ids: some with records, from files, and others with nothing."""
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
                loaded, rest = self._split(records, drawn.start)
                to_load.append((Pending(loan, rest), loaded))
            else:
                self._pending.append(
                    Pending(self._poster.create(loan_id, drawn.start, initial, drawn.currency), records)
                )
        self._load(to_load)

    def post(self, count: int) -> None:
        """Post this many times records of one loan."""
        for _ in range(count):
            unfinished = [pending for pending in self._pending if pending.records]
            if not unfinished:
                return
            self._post_next(self._rng.choice(unfinished))

    def _split(self, records: list[Record], start: date) -> tuple[list[Record], list[Record]]:
        """Return what to load, in the order of a load, and the rest. A file has no reversals of terms and schedules."""
        count = self._rng.randint(0, len(records))
        loaded: list[Record] = []
        rest: list[Record] = []
        for record in records[:count]:
            is_second = isinstance(record, Schedule) and any(
                isinstance(other, Schedule) and other.effective == record.effective for other in loaded
            )
            is_reversal = not isinstance(record, Event) and record.reverses is not None
            (rest if is_second or is_reversal else loaded).append(record)
        terms = [record for record in loaded if isinstance(record, Terms)]
        if terms and self._rng.random() < 0.7:
            terms[0] = replace(terms[0], effective=start)
        schedules = [record for record in loaded if isinstance(record, Schedule)]
        events = [record for record in loaded if isinstance(record, Event)]
        events.sort(key=lambda event: event.reverses is not None)
        return [*terms, *schedules, *events], [*rest, *records[count:]]

    def _load(self, to_load: list[tuple[Pending, list[Record]]]) -> None:
        batch = []
        for pending, loaded in to_load:
            days: dict[int, date] = {}
            records: list[Terms | Schedule | dict[str, Any]] = []
            for version, record in enumerate(loaded, 1):
                if isinstance(record, Event):
                    days[record.version] = max(record.day, days.get(record.reverses or 0, record.day))
                    source = {"source_id": f"L{record.version}", "memo": self._rng.choice([None, "migrated"])}
                    reverses = None if record.reverses is None else f"L{record.reverses}"
                    records.append(
                        self._to_event(pending, record, days[record.version]) | source | {"reverses": reverses}
                    )
                else:
                    pending.made[record.version] = version
                    records.append(replace(record, version=version))
            batch.append((pending.loan, records))
        self._poster.load(self._folder, batch)
        for pending, loaded in to_load:
            tx_ids = {event.version: event.tx_id for event in pending.loan.events}
            for version, record in enumerate(loaded, 1):
                if isinstance(record, Event):
                    pending.made[record.version] = tx_ids[version]
            self._pending.append(pending)

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
