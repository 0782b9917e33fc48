"""A record of everything that was posted, kept by the writers, to check replies against."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from psycopg2.extensions import connection as Connection

POST = "SELECT * FROM post_events(%s, %s, %s::date[], %s::numeric[])"
CREATE = "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)"
FAR_AHEAD = "2099-12-31"  # when every event counts
CLOCKS_S = 0.005  # for reading two clocks one after the other, and for truncated milliseconds


@dataclass(frozen=True)
class Event:
    """An event to post."""

    loan: int
    kind: str
    day: str
    amount: Decimal

    @property
    def change(self) -> Decimal:
        """The change of the balance."""
        return -self.amount if self.kind == "payment" else self.amount


@dataclass(frozen=True)
class Commit:
    """The time at which a version was visible to all: after COMMIT returned."""

    version: int
    at: float  # by the monotonic clock
    wall: float


@dataclass(frozen=True)
class Reply:
    """A reply to a client. `asked` and `wall` are times before the request, by both clocks."""

    phase: str
    loan: int
    asked: float
    wall: float
    took: float
    status: int
    version: int = 0
    balance: Decimal = Decimal(0)
    as_of: float = 0.0
    min_version: int = 0
    retry_after: str | None = None


class ShadowLedger:
    """The balance of each loan at each version.

    Args:
        max_staleness_s: The staleness bound that the service guarantees.
    """

    def __init__(self, max_staleness_s: float) -> None:
        self.max_staleness_s = max_staleness_s
        self.events = 0
        self._lock = threading.Lock()
        self._changes: defaultdict[int, dict[int, Decimal]] = defaultdict(dict)  # by loan and version
        self._commits: defaultdict[int, list[Commit]] = defaultdict(list)

    def create(self, connection: Connection, loans: Iterable[int]) -> None:
        """Create loans, each with a different principal."""
        ids = list(loans)
        with connection, connection.cursor() as cursor:
            principals = [Decimal(1000 + loan) for loan in ids]
            cursor.execute(CREATE, (ids, ["2020-01-01"] * len(ids), principals, ["USD"] * len(ids)))
        for loan in ids:
            self._changes[loan][0] = Decimal(1000 + loan)
            self._commits[loan].append(Commit(0, time.monotonic(), time.time()))

    @contextmanager
    def posting(self, connection: Connection, events: list[Event], commits: bool = True) -> Iterator[dict[int, int]]:
        """Post events, and commit or roll back after the block.

        Yields:
            The new version of each loan.
        """
        with connection.cursor() as cursor:
            columns = zip(*((e.loan, e.kind, e.day, str(e.amount)) for e in events), strict=True)
            cursor.execute(POST, [list(column) for column in columns])
            versions: dict[int, int] = dict(cursor.fetchall())
            yield versions
            if not commits:
                connection.rollback()
                return
            with self._lock:  # readers may see it before COMMIT returns; the loan is locked until then
                for loan, version in versions.items():
                    self._changes[loan][version] = sum((e.change for e in events if e.loan == loan), Decimal(0))
            connection.commit()
        self._committed(versions, len(events))

    def settle(self, connection: Connection, loans: Iterable[int]) -> None:
        """After a COMMIT of unknown outcome, read the state of these loans, which must have no other writer."""
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT loan_id, version FROM loans WHERE loan_id = ANY(%s)", (list(loans),))
            found: dict[int, int] = dict(cursor.fetchall())
        with self._lock:
            lost = [(loan, v) for loan in found for v in self._changes[loan] if v > found[loan]]
            for loan, version in lost:
                del self._changes[loan][version]
        self._committed({loan: v for loan, v in found.items() if self._commits[loan][-1].version < v}, 0)

    def without(self, lost: dict[int, int]) -> "ShadowLedger":
        """Return the shadow of a server that has lost these versions of these loans."""
        others = ShadowLedger(self.max_staleness_s)
        for loan, commits in self._commits.items():
            others._commits[loan] = [commit for commit in commits if commit.version != lost.get(loan)]
            others._changes[loan] = {v: c for v, c in self._changes[loan].items() if v != lost.get(loan)}
        return others

    def faults(self, replies: Iterable[Reply]) -> Iterator[str]:
        """Describe everything that is wrong with replies; call it after all writers have ended."""
        for reply in replies:
            if reply.status == 200:
                yield from (f"{reply.phase}: loan {reply.loan}: {fault}" for fault in self._faults(reply))

    def _faults(self, reply: Reply) -> Iterator[str]:
        changes = self._changes[reply.loan]
        if reply.version not in changes:
            yield f"version {reply.version} never existed"
        elif reply.balance != (owed := sum((c for v, c in changes.items() if v <= reply.version), Decimal(0))):
            yield f"balance {reply.balance} at version {reply.version}; expected {owed}"
        if reply.version < (due := self._due(reply.loan, reply.asked - self.max_staleness_s)):
            yield f"version {reply.version}, but {due} was committed more than {self.max_staleness_s} s before"
        said = reply.as_of - CLOCKS_S
        if reply.version < (due := max((c.version for c in self._commits[reply.loan] if c.wall < said), default=0)):
            yield f"version {reply.version} as of a time at which {due} was committed"
        if reply.as_of < reply.wall - self.max_staleness_s - CLOCKS_S:
            yield f"as of {reply.wall - reply.as_of:.3f} s before the request"
        if reply.version < reply.min_version:
            yield f"version {reply.version}, below the requested minimum {reply.min_version}"

    def _due(self, loan: int, since: float) -> int:
        return max((commit.version for commit in self._commits[loan] if commit.at < since), default=0)

    def _committed(self, versions: dict[int, int], events: int) -> None:
        at, wall = time.monotonic(), time.time()
        with self._lock:
            self.events += events
            for loan, version in versions.items():
                self._commits[loan].append(Commit(version, at, wall))
