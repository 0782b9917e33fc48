# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The columnar ledger of one loan, and its balance on any day.

This file runs as Python and, compiled by Cython, as C. LAYOUT.md documents the serialized form.

Units: a *day* is a signed 32-bit count of days since 1970-01-01. An *amount* is a signed 64-bit count of minor units
of the loan's currency, and a *time* is a signed 64-bit count of microseconds since 1970-01-01 UTC. No value is a float,
and no arithmetic wraps: a value that does not fit raises OverflowError.
"""

import struct
import sys
from array import array
from operator import index

import cython

from native.builds import load

FEE = 1
INTEREST = 2
PAYMENT = 3
INTEREST_CREDIT = 4
REVERSAL = 0x80  # flag added to the kind: the event counts with the opposite sign

MAGIC = b"LNTL"
LAYOUT_VERSION = 3
HEADER = struct.Struct("<4sHHqqQqi4s4I")
HORIZON = struct.Struct("<Q")
HORIZON_OFFSET = 24
# The number of items of a column is that of events, terms, schedules or installments.
_EVENTS, _TERMS, _SCHEDULES, _INSTALLMENTS = range(4)
# The columns in the order of LAYOUT.md: the type, as a code of the array module, and the number of items.
COLUMNS = (
    *[("q", _EVENTS)] * 4,
    ("q", _INSTALLMENTS),
    *[("I", _EVENTS)] * 2,
    ("i", _EVENTS),
    ("i", _TERMS),
    *[("I", _TERMS)] * 2,
    ("i", _SCHEDULES),
    ("I", _SCHEDULES),
    ("i", _INSTALLMENTS),
    ("B", _EVENTS),
    *[("B", _TERMS)] * 2,
)
# Where each group of columns is among all of them.
_EVENT_COLUMNS = (0, 1, 2, 3, 5, 6, 7, 14)
_TERM_COLUMNS = (8, 9, 10, 15, 16)
_SCHEDULE_COLUMNS = (11, 12, 4, 13)
MAX_EXPONENT = 4  # ISO 4217's largest

_terms = load("terms", "compiled" if cython.compiled else "interpreted")
_schedules = load("schedules", "compiled" if cython.compiled else "interpreted")

_ITEM_SIZES = {code: array(code).itemsize for code, _ in COLUMNS}
_HEADER_SIZE = cython.declare(cython.Py_ssize_t, HEADER.size)
_MAX = cython.declare(cython.longlong, 9223372036854775807)
# The years 1 to 9999, which Python's datetime can represent.
_MIN_TIME = cython.declare(cython.longlong, -62135596800000000)
_MAX_TIME = cython.declare(cython.longlong, 253402300799999999)

_Bytes = cython.typedef(cython.pointer(cython.const[cython.uchar]))
_Ints = cython.typedef(cython.pointer(cython.const[cython.int]))
_Uints = cython.typedef(cython.pointer(cython.const[cython.uint]))
_Longs = cython.typedef(cython.pointer(cython.const[cython.longlong]))


@cython.cfunc
@cython.inline
@cython.exceptval(-1, check=True)
def _to_day(day) -> cython.int:
    # C would truncate a float, and Python would accept any size. Both builds must reject both.
    if type(day) is not int:
        day = index(day)
    if not cython.compiled and not -2147483648 <= day <= 2147483647:
        raise OverflowError(f"day {day} does not fit 32 bits")
    return day


@cython.cfunc
@cython.inline
@cython.exceptval(-1, check=True)
def _add(balance: cython.longlong, amount: cython.longlong) -> cython.longlong:
    # C would wrap, and Python would grow. Checking before the addition makes both builds raise. The signs of amounts
    # are hard to predict, so the only branches are those that valid amounts never take.
    increases: cython.bint = amount > 0
    limit: cython.longlong = (_MAX if increases else -_MAX - 1) - amount
    if balance != limit and (balance > limit) == increases:
        raise OverflowError("a running balance does not fit 64 bits of minor units")
    return balance + amount


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _reduces(kind: cython.int) -> cython.int:
    """Return whether an event of this kind reduces the balance.

    Raises:
        ValueError: If the kind is unknown.
    """
    # Literals instead of FEE, PAYMENT and REVERSAL: in C, a module-level name costs a lookup for each event.
    base: cython.int = kind & 0x7F
    if kind < 0 or kind > 0xFF or base < 1 or base > 4:
        raise ValueError(f"unknown event kind {kind}")
    return (base >= 3) != (kind >= 0x80)


def _split(data, counts):
    """Return a view of each column of a timeline's bytes, as native integers.

    Args:
        data: The bytes.
        counts: The numbers of events, terms, schedules and installments.
    """
    view = memoryview(data)
    columns = []
    end = HEADER.size
    for code, items in COLUMNS:
        start = end
        end += counts[items] * _ITEM_SIZES[code]
        columns.append(view[start:end].cast(code))
    return columns


@cython.cfunc
def _reorder(data: bytes, counts: tuple):
    """Convert a timeline's bytes between the byte order of LAYOUT.md and that of this machine."""
    if sys.byteorder == "little":
        return data
    columns = [array(view.format, view) for view in _split(data, counts)]
    for column in columns:
        column.byteswap()
    return b"".join([data[: HEADER.size], *columns])


def _to_positions(tx_ids, reverses):
    """Return 1 + the position of each transaction id in `reverses` among `tx_ids`; 0 for 0."""
    if not any(reverses):
        return reverses
    positions = {tx_id: position for position, tx_id in enumerate(tx_ids, 1)}
    try:
        return [positions[index(tx_id)] if tx_id else 0 for tx_id in reverses]
    except KeyError as err:
        raise ValueError(f"the reversed event with transaction id {err} is not in the timeline") from err


@cython.final
@cython.cclass
class Timeline:
    """The immutable ledger of one loan: its principal, events, terms and schedules.

    `Timeline(data)` is the inverse of `bytes(timeline)`. It validates every byte, so an accepted value is a
    well-formed ledger.

    Args:
        data: A buffer in the layout of LAYOUT.md. A bytes object is used in place, any other buffer is copied.

    Raises:
        ValueError: If the bytes are not a timeline of this layout.
    """

    _data: bytes  # columns in the byte order of this machine
    _loan_id: cython.longlong
    _version: cython.longlong
    _token: cython.ulonglong
    _initial: cython.longlong
    _start_day: cython.int
    _exponent: cython.int
    _currency: str
    _count: cython.Py_ssize_t
    _term_count: cython.uint
    _schedule_count: cython.uint
    _installment_count: cython.uint
    # The columns of `_data`, which is aligned: the content of a bytes object begins at a multiple of 8.
    _running: _Longs
    _amounts: _Longs
    _tx_ids: _Longs
    _recorded_at: _Longs
    _versions: _Uints
    _reverses: _Uints
    _days: _Ints
    _kinds: _Bytes
    # For a reversal and for the event that it reverses, 1 + the position of the other; 0 for any other event. None if
    # the ledger has no reversals.
    _link_data: bytes
    _links: _Uints

    def __init__(self, data):
        # Columns and counts that do not belong together would be read outside their bytes.
        if self._data is not None if cython.compiled else vars(self):
            raise TypeError("a timeline is immutable and cannot be initialized again")
        if type(data) is not bytes:
            data = memoryview(data).tobytes()
        if len(data) < HEADER.size:
            raise ValueError(f"timeline of {len(data)} bytes is too short: the header alone has {HEADER.size}")
        fields = HEADER.unpack_from(data)
        magic, layout, exponent, loan_id, version, horizon, initial, start_day, currency = fields[:9]
        if magic != MAGIC:
            raise ValueError(f"not a timeline: expected the magic {MAGIC!r}, not {magic!r}")
        if layout != LAYOUT_VERSION:
            raise ValueError(f"unsupported timeline layout {layout}: expected {LAYOUT_VERSION}")
        if exponent > MAX_EXPONENT:
            raise ValueError(f"timeline exponent {exponent} is above {MAX_EXPONENT}")
        self._count, self._term_count, self._schedule_count, self._installment_count = counts = fields[9:]
        size: cython.Py_ssize_t = (
            self._kinds_offset() + self._count + 2 * cython.cast(cython.Py_ssize_t, self._term_count)
        )
        if len(data) != size:
            raise ValueError(
                "timeline of {} events, {} terms, {} schedules and {} installments: ".format(*counts)
                + f"expected {size} bytes, not {len(data)}"
            )
        if version < 0 or initial < 0:
            raise ValueError("timeline version and principal must not be negative")
        if currency[3] or not (currency[:3].isalpha() and currency[:3].isupper()):
            raise ValueError("timeline currency must be three capital letters")
        self._loan_id = loan_id
        self._version = version
        self._token = horizon
        self._initial = initial
        self._start_day = start_day
        self._exponent = exponent
        self._currency = sys.intern(currency[:3].decode("ascii"))
        self._find_columns(_reorder(data, counts))
        try:
            links = self._validate_amounts()
            self._validate_order()
            if links:
                self._link()
        except OverflowError as err:
            raise ValueError(f"malformed timeline: {err}") from err
        if self._term_count:
            _terms.check_columns(self._term_columns())
        if self._schedule_count:
            _schedules.check_columns(self._schedule_columns())
        elif self._installment_count:
            raise ValueError(f"timeline without schedules: {self._installment_count} installments belong to none")

    @cython.cfunc
    @cython.inline
    def _counts(self):
        return self._count, self._term_count, self._schedule_count, self._installment_count

    @cython.cfunc
    def _find_columns(self, data: bytes):
        count: cython.Py_ssize_t = self._count
        installments: cython.Py_ssize_t = self._installment_count
        self._data = data
        self._link_data = None
        if cython.compiled:
            start: _Bytes = data
            self._running = cython.cast(_Longs, start + _HEADER_SIZE)
            self._amounts = self._running + count
            self._tx_ids = self._amounts + count
            self._recorded_at = self._tx_ids + count
            self._versions = cython.cast(_Uints, self._recorded_at + count + installments)
            self._reverses = self._versions + count
            self._days = cython.cast(_Ints, self._reverses + count)
            self._kinds = start + self._kinds_offset()
        else:
            columns = _split(data, self._counts())
            (
                self._running,
                self._amounts,
                self._tx_ids,
                self._recorded_at,
                self._versions,
                self._reverses,
                self._days,
                self._kinds,
            ) = [columns[i] for i in _EVENT_COLUMNS]

    @cython.cfunc
    def _kinds_offset(self) -> cython.Py_ssize_t:
        terms: cython.Py_ssize_t = self._term_count
        schedules: cython.Py_ssize_t = self._schedule_count
        installments: cython.Py_ssize_t = self._installment_count
        return _HEADER_SIZE + 44 * self._count + 12 * terms + 8 * schedules + 12 * installments

    # The next two methods use local names: C would read an attribute again for each event, because a write might have
    # changed it.

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _validate_amounts(self) -> cython.int:
        """Check kinds, amounts and running balances against the rules of LAYOUT.md, and return whether links exist."""
        running: _Longs = self._running
        amounts: _Longs = self._amounts
        reverses: _Uints = self._reverses
        kinds: _Bytes = self._kinds
        balance: cython.longlong = self._initial
        amount: cython.longlong
        kind: cython.int
        links: cython.int = 0
        i: cython.Py_ssize_t
        for i in range(self._count):
            amount = amounts[i]
            kind = kinds[i]
            if amount == 0 or (amount < 0) != _reduces(kind):
                raise ValueError(f"event {i}: amount {amount} is not valid for kind {kind}")
            balance = _add(balance, amount)
            if balance != running[i]:
                raise ValueError(f"event {i}: the running balance does not equal the sum so far")
            if (kind >= 0x80) != (reverses[i] != 0):
                raise ValueError(f"event {i}: a reversal, and no other event, must reverse an event")
            links |= kind >= 0x80
        return links

    @cython.cfunc
    @cython.exceptval(-1, check=True)
    def _validate_order(self) -> cython.int:
        """Check days, transaction ids, versions and times against the rules of LAYOUT.md."""
        tx_ids: _Longs = self._tx_ids
        recorded_at: _Longs = self._recorded_at
        versions: _Uints = self._versions
        days: _Ints = self._days
        count: cython.Py_ssize_t = self._count
        newest: cython.longlong = self._version
        seen_versions: bytearray = bytearray(count)
        seen: cython.p_uchar = seen_versions
        above = set()  # the versions beyond the number of events
        version: cython.uint
        i: cython.Py_ssize_t
        for i in range(count):
            if i > 0 and (days[i] < days[i - 1]) | (days[i] == days[i - 1]) & (tx_ids[i] <= tx_ids[i - 1]):
                raise ValueError(f"event {i}: events must be ordered by (day, transaction id)")
            version = versions[i]
            if version == 0 or version > newest:
                raise ValueError(f"event {i}: version {version} is not from 1 to the loan's version {newest}")
            if version > count:
                if version in above:
                    raise ValueError(f"event {i}: another event has version {version}")
                above.add(version)
            elif seen[version - 1]:
                raise ValueError(f"event {i}: another event has version {version}")
            else:
                seen[version - 1] = 1
            if recorded_at[i] < _MIN_TIME or recorded_at[i] > _MAX_TIME:
                raise ValueError(f"event {i}: the time of recording {recorded_at[i]} is out of range")
        return 0

    @cython.cfunc
    def _link(self):
        """Check the links of the reversals against the rules of LAYOUT.md, and keep them in both directions."""
        column = array("I", bytes(4 * self._count))
        links: cython.uint[::1] = column
        target: cython.uint
        i: cython.Py_ssize_t
        for i in range(self._count):
            target = self._reverses[i]
            if target == 0:
                continue
            if target > self._count:
                raise ValueError(f"event {i}: the reversed event does not exist")
            if self._kinds[target - 1] != (self._kinds[i] ^ 0x80) or self._amounts[target - 1] + self._amounts[i] != 0:
                raise ValueError(f"event {i}: the reversed event is a reversal, or has another type or amount")
            if links[target - 1] != 0:
                raise ValueError(f"event {i}: the reversed event is already reversed")
            links[target - 1] = cython.cast(cython.uint, i + 1)
            links[i] = target
        data: bytes = column.tobytes()
        self._link_data = data
        if cython.compiled:
            start: _Bytes = data
            self._links = cython.cast(_Uints, start)
        else:
            self._links = memoryview(data).cast("I")

    @classmethod
    def build(
        cls,
        *,
        loan_id,
        version,
        horizon,
        start_day,
        initial,
        currency,
        exponent,
        days,
        kinds,
        amounts,
        tx_ids,
        versions,
        recorded_at,
        reverses,
        terms=(),
        schedules=(),
    ):
        """Build a timeline from columns of events, ordered by (day, transaction id).

        Args:
            loan_id: The loan's id.
            version: The loan's version: its number of records.
            horizon: The xmin of the snapshot in which the ledger was read, an unsigned 64-bit transaction id.
            start_day: The day on which the loan starts.
            initial: The principal, in minor units.
            currency: Three capital letters.
            exponent: The number of decimals of the currency's minor unit, from 0 to 4.
            days: The day of each event.
            kinds: FEE, INTEREST, PAYMENT or INTEREST_CREDIT of each event, with the flag REVERSAL for a reversal.
            amounts: The amount of each event as posted: positive, in minor units. The kind determines the sign.
            tx_ids: The transaction id of each event.
            versions: The version of the loan that each event made.
            recorded_at: The time at which each event was recorded, in microseconds since 1970-01-01 UTC.
            reverses: The transaction id of the event that a reversal reverses; 0 for any other event.
            terms: Rows (effective day, rate, day count, allocation, grace days), ordered by distinct days. The rate
                counts 1e-8 a year; day count and allocation are positions in DAY_COUNTS and ALLOCATIONS.
            schedules: Rows (effective day, [(due day, amount), ...]), ordered by distinct days. The installments are
                ordered by due day, and their amounts positive minor units.

        Raises:
            ValueError: If the columns differ in length, are out of order, contain an unknown kind or repeat a version,
                if a reversal does not reverse exactly one event of its type and amount, or if terms or schedules are
                out of order or contain an invalid value.
            OverflowError: If a value or a running balance does not fit.
            TypeError: If a value is not an integer.
        """
        count = len(days)
        if {len(column) for column in (kinds, amounts, tx_ids, versions, recorded_at, reverses)} != {count}:
            raise ValueError("the columns of a timeline must have the same length")
        code = currency.encode("ascii") if currency.isascii() else b""
        if len(code) != 3:
            raise ValueError("timeline currency must be three capital letters")
        kinds = array("B", kinds)
        signed = array("q", amounts)
        running = array("q", signed)
        # index() rejects floats, which C would truncate for some of these and struct would reject for others.
        loan_id, version, horizon = index(loan_id), index(version), index(horizon)
        start_day, initial, exponent = index(start_day), index(initial), index(exponent)
        balance: cython.longlong = initial
        amount: cython.longlong
        for i in range(count):
            amount = signed[i]
            if amount <= 0:
                raise ValueError(f"event {i}: amount {amount} is not positive")
            if _reduces(kinds[i]):
                amount = -amount
            balance = _add(balance, amount)
            signed[i] = amount
            running[i] = balance
        term_days, rates, graces, day_counts, allocations = _terms.to_columns(terms)
        schedule_days, ends, due_amounts, due_days = _schedules.to_columns(schedules)
        counts = count, len(term_days), len(schedule_days), len(due_days)
        fields = exponent, loan_id, version, horizon, initial, start_day, code + b"\0"
        try:
            header = HEADER.pack(MAGIC, LAYOUT_VERSION, *fields, *counts)
        except struct.error as err:
            raise OverflowError(f"timeline header: a value does not fit its field: {err}") from err
        columns = [
            *(running, signed, tx_ids, recorded_at, due_amounts),
            *(versions, _to_positions(tx_ids, reverses), days, term_days, rates, graces, schedule_days, ends, due_days),
            *(kinds, day_counts, allocations),
        ]
        arrays = [array(code, column) for (code, _), column in zip(COLUMNS, columns, strict=True)]
        return cls(_reorder(b"".join([header, *arrays]), counts))

    def __bytes__(self):
        return _reorder(self._data, self._counts())

    def __sizeof__(self):
        """Return the memory that the timeline occupies, in bytes, with the objects that belong to it alone."""
        owned = [self._data] if self._link_data is None else [self._data, self._link_data]
        if not cython.compiled:
            owned = [vars(self), *vars(self).values()]
        return object.__sizeof__(self) + sum(map(sys.getsizeof, owned))

    def __len__(self):
        """Return the number of events."""
        return self._count

    @property
    def nbytes(self):
        """The length of `bytes(timeline)`."""
        return len(self._data)

    def with_horizon(self, horizon):
        """Return a copy with another horizon, for a ledger that was read again and had not changed.

        Args:
            horizon: The xmin of the later snapshot.

        Raises:
            OverflowError: If the horizon does not fit an unsigned 64-bit integer.
        """
        data = bytearray(bytes(self))
        try:
            HORIZON.pack_into(data, HORIZON_OFFSET, index(horizon))
        except struct.error as err:
            raise OverflowError(f"horizon {horizon} does not fit 64 bits") from err
        return Timeline(bytes(data))

    @property
    def loan_id(self):
        """The loan's id."""
        return self._loan_id

    @property
    def version(self):
        """The loan's version: its number of records."""
        return self._version

    @property
    def horizon(self):
        """The oldest transaction that was still open when the ledger was read (the snapshot's xmin).

        The timeline includes the events of all older transactions.
        """
        return self._token

    @property
    def start_day(self):
        """The day on which the loan starts."""
        return self._start_day

    @property
    def initial(self):
        """The principal, in minor units."""
        return self._initial

    @property
    def currency(self):
        """The currency's code, three capital letters."""
        return self._currency

    @property
    def exponent(self):
        """The number of decimals of the currency's minor unit."""
        return self._exponent

    @cython.cfunc
    @cython.inline
    def _count_through(self, day: cython.int) -> cython.Py_ssize_t:
        """Return the number of events dated on or before the day, by binary search."""
        low: cython.Py_ssize_t = 0
        high: cython.Py_ssize_t = self._count
        middle: cython.Py_ssize_t
        while low < high:
            middle = (low + high) >> 1
            if self._days[middle] <= day:
                low = middle + 1
            else:
                high = middle
        return low

    @cython.cfunc
    @cython.inline
    def _balance(self, day: cython.int) -> cython.longlong:
        if day < self._start_day:
            return 0
        count: cython.Py_ssize_t = self._count_through(day)
        return self._running[count - 1] if count else self._initial

    def balance_at(self, day):
        """Return the balance at the end of a day, in O(log events).

        Args:
            day: Days since 1970-01-01; may be negative.

        Returns:
            Minor units of the loan's currency; 0 before the loan starts.

        Raises:
            OverflowError: If the day does not fit 32 bits.
        """
        return self._balance(_to_day(day))

    def balances_at(self, days):
        """Return the list of `balance_at` for an iterable of days."""
        return [self._balance(_to_day(day)) for day in days]

    def window(self, first_day, last_day):
        """Return the events dated from one day to another, both included.

        Returns:
            A list of (day, kind, signed amount, running balance, transaction id, version, time of recording, reverses,
            reversed by); empty if the last day precedes the first. The last two are transaction ids: of the event that
            this one reverses, and of the event that reverses it. Either is 0 if no such event exists.
        """
        first: cython.int = _to_day(first_day)
        low: cython.Py_ssize_t = self._count_through(first - 1) if first > -2147483648 else 0
        return self.events(low, self._count_through(_to_day(last_day)))

    def position(self, day):
        """Return the number of events dated on or before a day, which is the position of the first later event."""
        return self._count_through(_to_day(day))

    def events(self, first, last):
        """Return the events at positions `first` to `last`, excluding `last`, as `window` does.

        Positions outside the ledger are ignored.
        """
        low: cython.Py_ssize_t = max(first, 0)
        high: cython.Py_ssize_t = min(last, self._count)
        return [self._event(i) for i in range(low, high)]

    @cython.cfunc
    @cython.inline
    def _event(self, i: cython.Py_ssize_t):
        link: cython.uint = 0 if self._link_data is None else self._links[i]
        other = self._tx_ids[link - 1] if link else 0
        is_reversal: cython.bint = self._kinds[i] >= 0x80
        return (
            self._days[i],
            self._kinds[i],
            self._amounts[i],
            self._running[i],
            self._tx_ids[i],
            self._versions[i],
            self._recorded_at[i],
            other if is_reversal else 0,
            0 if is_reversal else other,
        )

    def columns(self):
        """Return what a walk over the loan reads (see `walk`).

        Returns:
            Four tuples. The first has the start day, the principal, and the numbers of events, terms, schedules and
            installments. The second has four buffers of the events: days (int32), kinds (uint8), running balances
            (int64) and links (uint32). The link of a reversal, and of the event that it reverses, is 1 + the position
            of the other; that of any other event is 0. Links are None if the ledger has no reversals. The third has the
            columns of terms: effective day, rate, grace days, day count and allocation; None without terms. The fourth
            has those of schedules, effective day and end, and of installments, amount and due day; None without
            schedules.
        """
        count: cython.Py_ssize_t = self._count
        installments: cython.Py_ssize_t = self._installment_count
        view = memoryview(self._data)
        first_kind: cython.Py_ssize_t = self._kinds_offset()
        first_day: cython.Py_ssize_t = _HEADER_SIZE + 40 * count + 8 * installments
        events = (
            view[first_day : first_day + 4 * count].cast("i"),
            view[first_kind : first_kind + count],
            view[_HEADER_SIZE : _HEADER_SIZE + 8 * count].cast("q"),
            None if self._link_data is None else memoryview(self._link_data).cast("I"),
        )
        loan = self._start_day, self._initial, count, self._term_count, self._schedule_count, installments
        if self._term_count == 0 and self._schedule_count == 0:
            return loan, events, None, None
        return loan, events, self._term_columns(), self._schedule_columns()

    @cython.cfunc
    def _term_columns(self):
        columns = _split(self._data, self._counts())
        return [columns[i] for i in _TERM_COLUMNS] if self._term_count else None

    @cython.cfunc
    def _schedule_columns(self):
        columns = _split(self._data, self._counts())
        return [columns[i] for i in _SCHEDULE_COLUMNS] if self._schedule_count else None

    @property
    def terms(self):
        """The terms, as rows of `build`."""
        return _terms.to_rows(self._term_columns()) if self._term_count else []

    @property
    def schedules(self):
        """The schedules, as rows of `build`."""
        return _schedules.to_rows(self._schedule_columns()) if self._schedule_count else []

    def changes(self, first_day, last_day):
        """Return the balance over a range of days, as a list of its changes.

        Returns:
            A list of (day, balance at its end): the first day, then each later day on which the balance may have
            changed (the loan's start and the days with events). Empty if the last day precedes the first.
        """
        first: cython.int = _to_day(first_day)
        last: cython.int = _to_day(last_day)
        if last < first:
            return []
        days = {first}
        if first < self._start_day <= last:
            days.add(self._start_day)
        low: cython.Py_ssize_t = self._count_through(first)
        high: cython.Py_ssize_t = self._count_through(last)
        i: cython.Py_ssize_t
        for i in range(low, high):
            if self._days[i] > self._start_day:
                days.add(self._days[i])
        return [(day, self._balance(day)) for day in sorted(days)]
