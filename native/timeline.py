# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""One loan's ledger in columns, and what it owed on any day.

The same file runs interpreted and, compiled by Cython, as C. Its bytes are documented in LAYOUT.md.

Units: a *day* is a signed 32-bit count of days since 1970-01-01; an *amount* is a signed 64-bit count of minor units
(cents). Nothing here is a float, and nothing wraps: what does not fit raises OverflowError.
"""

import struct
import sys
from array import array
from operator import index

import cython

FEE = 1
INTEREST = 2
PAYMENT = 3
REVERSAL = 0x80  # a flag beside the kind: the event counts with the opposite sign

MAGIC = b"LNTL"
LAYOUT_VERSION = 1
HEADER = struct.Struct("<4sHHqqQqi4sQQ")
TOKEN = struct.Struct("<Q")
TOKEN_AT = 24
EVENT_SIZE = 29  # 3 columns of 8 bytes, one of 4, one of 1

_MAX = cython.declare(cython.longlong, 9223372036854775807)


@cython.cfunc
@cython.inline
@cython.exceptval(-1, check=True)
def _day(day) -> cython.int:
    # C would truncate a float; Python would take any size: refuse both alike.
    if type(day) is not int:
        day = index(day)
    if not cython.compiled and not -2147483648 <= day <= 2147483647:
        raise OverflowError(f"day {day} does not fit 32 bits")
    return day


@cython.cfunc
@cython.inline
@cython.exceptval(-1, check=True)
def _add(balance: cython.longlong, amount: cython.longlong) -> cython.longlong:
    # C would wrap and Python would grow: look before adding, so that both raise.
    if (amount > 0 and balance > _MAX - amount) or (amount < 0 and balance < -_MAX - 1 - amount):
        raise OverflowError("a running balance does not fit 64 bits of minor units")
    return balance + amount


@cython.cfunc
@cython.inline
@cython.exceptval(0)
def _sign(kind: cython.int) -> cython.int:
    """+1 when an event of this kind adds to what is owed, -1 when it takes away; ValueError for an unknown kind."""
    # literals of FEE, PAYMENT and REVERSAL: a Python name here would cost C a look-up for each event
    base: cython.int = kind & 0x7F
    if kind < 0 or kind > 0xFF or base < 1 or base > 3:
        raise ValueError(f"event kind {kind} is not known")
    return -1 if (base == 3) != (kind >= 0x80) else 1


def _column(view, offset, count, code):
    """Bytes of `view` as a column of native integers: over the bytes themselves where the machine can."""
    size = array(code).itemsize
    part = view[offset : offset + count * size]
    if sys.byteorder == "little":
        return part.cast(code)
    column = array(code)
    column.frombytes(part)
    column.byteswap()
    return memoryview(column).toreadonly()


def _little_endian(code, values):
    column = array(code, values)
    if sys.byteorder != "little":
        column.byteswap()
    return column.tobytes()


@cython.cfunc
def _misaligned(view) -> cython.bint:
    """True when 8-byte columns over `view` would be read across their natural boundary."""
    if not cython.compiled:
        return False  # Python's memoryview reads any address
    raw: cython.const[cython.uchar][::1] = view
    return cython.cast(cython.size_t, cython.address(raw[0])) % 8 != 0


@cython.final
@cython.cclass
class Timeline:
    """An immutable ledger of one loan: days, kinds, signed amounts, running balances and transaction ids.

    `Timeline(data)` reads the bytes that `bytes(timeline)` gave, without copying them when they are read-only and
    aligned. Every byte is checked, so what is accepted is a well-formed ledger.

    Raises: ValueError for bytes that are not a timeline of this layout.
    """

    _view: object
    _loan_id: cython.longlong
    _version: cython.longlong
    _token: cython.ulonglong
    _initial: cython.longlong
    _start_day: cython.int
    _currency: str
    _count: cython.Py_ssize_t
    _running: cython.const[cython.longlong][::1]
    _amounts: cython.const[cython.longlong][::1]
    _tx_ids: cython.const[cython.longlong][::1]
    _days: cython.const[cython.int][::1]
    _kinds: cython.const[cython.uchar][::1]

    def __init__(self, data):
        view = memoryview(data)
        if view.nbytes < HEADER.size:
            raise ValueError(f"a timeline has at least {HEADER.size} bytes, not {view.nbytes}")
        if not view.c_contiguous or view.format != "B" or not view.readonly:
            view = memoryview(view.tobytes())
        if _misaligned(view):
            view = memoryview(bytes(view))
        magic, layout, reserved, loan_id, version, token, initial, start_day, currency, count, reserved_too = (
            HEADER.unpack_from(view)
        )
        if magic != MAGIC:
            raise ValueError("these bytes are not a timeline")
        if layout != LAYOUT_VERSION or reserved or reserved_too:
            raise ValueError(f"timeline layout {layout} is not {LAYOUT_VERSION}")
        if view.nbytes != HEADER.size + count * EVENT_SIZE:
            raise ValueError(f"a timeline of {count} events does not have {view.nbytes} bytes")
        if version < 0 or initial < 0:
            raise ValueError("a timeline has no negative version or principal")
        if currency[3] or not (currency[:3].isalpha() and currency[:3].isupper()):
            raise ValueError("a timeline's currency is three capital letters")
        self._view = view
        self._loan_id = loan_id
        self._version = version
        self._token = token
        self._initial = initial
        self._start_day = start_day
        self._currency = currency[:3].decode("ascii")
        self._count = count
        at = HEADER.size
        self._running = _column(view, at, count, "q")
        self._amounts = _column(view, at + 8 * count, count, "q")
        self._tx_ids = _column(view, at + 16 * count, count, "q")
        self._days = _column(view, at + 24 * count, count, "i")
        self._kinds = _column(view, at + 28 * count, count, "B")
        try:
            self._check()
        except OverflowError as err:
            raise ValueError(f"these bytes are not a timeline: {err}") from err

    @cython.cfunc
    @cython.exceptval(check=True)
    def _check(self) -> cython.void:
        """Hold every event against the rules that `build` keeps; one pass, no copy."""
        balance: cython.longlong = self._initial
        i: cython.Py_ssize_t
        for i in range(self._count):
            amount: cython.longlong = self._amounts[i]
            if amount == 0 or (amount > 0) != (_sign(self._kinds[i]) > 0):
                raise ValueError(f"event {i}: amount {amount} does not fit kind {self._kinds[i]}")
            balance = _add(balance, amount)
            if balance != self._running[i]:
                raise ValueError(f"event {i}: the running balance does not add up")
            if i > 0 and (
                self._days[i] < self._days[i - 1]
                or (self._days[i] == self._days[i - 1] and self._tx_ids[i] <= self._tx_ids[i - 1])
            ):
                raise ValueError(f"event {i} is not in the order of (day, transaction id)")

    @classmethod
    def build(cls, *, loan_id, version, token, start_day, initial, currency, days, kinds, amounts, tx_ids):
        """Make a timeline from events in the order of (day, transaction id).

        days, kinds, amounts, tx_ids: sequences of integers of one length. `amounts` are positive, as posted; the sign
        follows from the kind. token: the transaction horizon up to which the ledger was read (an unsigned 64-bit id).

        Raises: ValueError for columns that disagree, are out of order or hold an unknown kind; OverflowError for
        what does not fit.
        """
        count = len(days)
        if not len(kinds) == len(amounts) == len(tx_ids) == count:
            raise ValueError("the columns of a timeline have one length")
        code = currency.encode("ascii") if currency.isascii() else b""
        if len(code) != 3:
            raise ValueError("a timeline's currency is three capital letters")
        kinds = array("B", kinds)
        signed = array("q", amounts)
        running = array("q", signed)
        # indexes, not floats: C would truncate some of these and struct refuse others, each in its own way
        loan_id, version, token = index(loan_id), index(version), index(token)
        start_day, initial = index(start_day), index(initial)
        balance: cython.longlong = initial
        amount: cython.longlong
        for i in range(count):
            amount = signed[i]
            if amount <= 0:
                raise ValueError(f"event {i}: amount {amount} is not positive")
            amount = amount * _sign(kinds[i])
            balance = _add(balance, amount)
            signed[i] = amount
            running[i] = balance
        try:
            header = HEADER.pack(
                MAGIC, LAYOUT_VERSION, 0, loan_id, version, token, initial, start_day, code + b"\0", count, 0
            )
        except struct.error as err:
            raise OverflowError(f"a timeline's header does not fit its layout: {err}") from err
        return cls(
            header
            + _little_endian("q", running)
            + _little_endian("q", signed)
            + _little_endian("q", tx_ids)
            + _little_endian("i", days)
            + _little_endian("B", kinds)
        )

    def __bytes__(self):
        return bytes(self._view)

    def __len__(self):
        """How many events the ledger holds."""
        return self._count

    @property
    def nbytes(self):
        """How many bytes `bytes(timeline)` has."""
        return HEADER.size + self._count * EVENT_SIZE

    def restamped(self, token):
        """The same ledger with another token: it was read again, and nothing had changed.

        Raises: OverflowError for a token that does not fit.
        """
        data = bytearray(self._view)
        try:
            TOKEN.pack_into(data, TOKEN_AT, index(token))
        except struct.error as err:
            raise OverflowError(f"token {token} does not fit 64 bits") from err
        return Timeline(bytes(data))

    @property
    def loan_id(self):
        return self._loan_id

    @property
    def version(self):
        """The loan's version: how many events it has."""
        return self._version

    @property
    def token(self):
        """The oldest transaction still open when the ledger was read: every older one is in it."""
        return self._token

    @property
    def start_day(self):
        return self._start_day

    @property
    def initial(self):
        """The principal, in minor units."""
        return self._initial

    @property
    def currency(self):
        return self._currency

    @cython.cfunc
    @cython.inline
    def _upper(self, day: cython.int) -> cython.Py_ssize_t:
        """How many events are dated on or before the day."""
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
        count: cython.Py_ssize_t = self._upper(day)
        return self._running[count - 1] if count else self._initial

    def balance_at(self, day):
        """What was owed at the end of the day, in minor units; 0 before the loan starts. O(log events)."""
        return self._balance(_day(day))

    def balances_at(self, days):
        """A list of `balance_at` for each of an iterable of days."""
        return [self._balance(_day(day)) for day in days]

    def window(self, first_day, last_day):
        """The events dated within two days, both included.

        Returns: a list of (day, kind, signed amount, running balance, transaction id). Empty when last is before first.
        """
        first: cython.int = _day(first_day)
        low: cython.Py_ssize_t = self._upper(first - 1) if first > -2147483648 else 0
        return self.events(low, self._upper(_day(last_day)))

    def position(self, day):
        """How many events are dated on or before the day: where `events` has those that follow it."""
        return self._upper(_day(day))

    def events(self, first, last):
        """The events from one position up to, and without, another; there are none beyond the ends.

        Returns: a list as of `window`.
        """
        low: cython.Py_ssize_t = max(first, 0)
        high: cython.Py_ssize_t = min(last, self._count)
        return [
            (self._days[i], self._kinds[i], self._amounts[i], self._running[i], self._tx_ids[i])
            for i in range(low, high)
        ]

    def columns(self, day):
        """The kinds and the signed amounts of the events dated on or before the day: buffers of uint8 and int64."""
        count: cython.Py_ssize_t = self._upper(_day(day))
        return memoryview(self._kinds[:count]), memoryview(self._amounts[:count])

    def changes(self, first_day, last_day):
        """The balance over a span of days, told by its changes.

        Returns: a list of (day, balance at its end): the first day, then every later day on which the balance may
        have changed (the loan's start, each day with an event). Empty when last is before first.
        """
        first: cython.int = _day(first_day)
        last: cython.int = _day(last_day)
        if last < first:
            return []
        days = {first}
        if first < self._start_day <= last:
            days.add(self._start_day)
        low: cython.Py_ssize_t = self._upper(first)
        high: cython.Py_ssize_t = self._upper(last)
        i: cython.Py_ssize_t
        for i in range(low, high):
            if self._days[i] > self._start_day:
                days.add(self._days[i])
        return [(day, self._balance(day)) for day in sorted(days)]
