# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""What many loans owed on one day, over columns that may be far larger than any one ledger.

The same file runs interpreted and compiled. Units as in `timeline`: days are signed 32-bit counts since 1970-01-01,
amounts signed 64-bit minor units. Compiled, the work is done without the interpreter's lock and shared among threads.
"""

from array import array
from concurrent.futures import ThreadPoolExecutor
from operator import index

import cython

# Below this many events a second thread costs more than it saves.
_EVENTS_WORTH_A_THREAD = 100_000
# A segment this short is counted from end to end, which the processor does many days at a time and without a wrong
# guess; a longer one is first halved down to it.
_SCAN = cython.declare(cython.Py_ssize_t, 64)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _balances(
    day: cython.int,
    start_days: cython.const[cython.int][::1],
    initials: cython.const[cython.longlong][::1],
    offsets: cython.const[cython.longlong][::1],
    days: cython.const[cython.int][::1],
    running: cython.const[cython.longlong][::1],
    out: cython.longlong[::1],
    first: cython.Py_ssize_t,
    last: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Fill out[first:last]; returns -1, or the first loan whose offsets lead outside the columns."""
    events: cython.Py_ssize_t = days.shape[0] if cython.compiled else len(days)
    loan: cython.Py_ssize_t
    low: cython.Py_ssize_t
    high: cython.Py_ssize_t
    middle: cython.Py_ssize_t
    at: cython.Py_ssize_t
    for loan in range(first, last):
        low = offsets[loan]
        high = offsets[loan + 1]
        if low < 0 or high < low or high > events:
            return loan
        start: cython.Py_ssize_t = low
        while high - low > _SCAN:
            middle = (low + high) >> 1
            if days[middle] <= day:
                low = middle + 1
            else:
                high = middle
        count: cython.int = 0
        for at in range(low, high):
            count += days[at] <= day
        at = low + count
        balance: cython.longlong = initials[loan] if at == start else running[at - 1]
        out[loan] = balance if start_days[loan] <= day else 0
    return -1


def _share(day, start_days, initials, offsets, days, running, out, first, last):
    c_day: cython.int = day
    c_start_days: cython.const[cython.int][::1] = start_days
    c_initials: cython.const[cython.longlong][::1] = initials
    c_offsets: cython.const[cython.longlong][::1] = offsets
    c_days: cython.const[cython.int][::1] = days
    c_running: cython.const[cython.longlong][::1] = running
    c_out: cython.longlong[::1] = out
    c_first: cython.Py_ssize_t = first
    c_last: cython.Py_ssize_t = last
    wrong: cython.Py_ssize_t
    with cython.nogil:
        wrong = _balances(c_day, c_start_days, c_initials, c_offsets, c_days, c_running, c_out, c_first, c_last)
    return wrong


def portfolio_balances(day, *, start_days, initials, offsets, days, running, out=None, threads=1):
    """The balance of each of n loans at the end of one day.

    day: the day. start_days: n x int32. initials: n x int64. offsets: (n + 1) x int64; loan i's events are
    [offsets[i], offsets[i + 1]) of the event columns. days: int32 and running: int64, one item an event, each loan's
    sorted by day. All are buffers (array, memoryview, NumPy) of exactly these types.
    out: a writable buffer of n x int64 to fill, made when None. threads: how many may share the work.

    Returns: out.
    Raises: ValueError for columns whose lengths disagree or whose offsets lead outside the event columns;
    OverflowError for a day beyond 32 bits. On an error `out` is undefined.
    """
    day = index(day)
    if not -2147483648 <= day <= 2147483647:
        raise OverflowError(f"day {day} does not fit 32 bits")
    if out is None:
        out = array("q", bytes(8 * len(initials)))
    columns = {}
    for name, column, code in (
        ("start_days", start_days, "i"),
        ("initials", initials, "q"),
        ("offsets", offsets, "q"),
        ("days", days, "i"),
        ("running", running, "q"),
        ("out", out, "q"),
    ):
        view = memoryview(column)
        # NumPy calls a 64-bit integer "l" where the array module says "q"
        if view.ndim != 1 or not view.c_contiguous or view.format not in (code, "l" if code == "q" else code):
            raise ValueError(f"{name} is not a contiguous column of {'int32' if code == 'i' else 'int64'}")
        if view.itemsize != array(code).itemsize:
            raise ValueError(f"{name} has items of {view.itemsize} bytes")
        columns[name] = view.cast("B").cast(code)
    loans = len(columns["initials"])
    if len(columns["start_days"]) != loans or len(columns["out"]) != loans or len(columns["offsets"]) != loans + 1:
        raise ValueError(f"start_days and out have {loans} items, as initials has, and offsets one more")
    if len(columns["running"]) != len(columns["days"]):
        raise ValueError("days and running have one length")

    shares = max(1, min(threads, len(columns["days"]) // _EVENTS_WORTH_A_THREAD))
    bounds = [loans * share // shares for share in range(shares + 1)]
    if shares == 1:
        wrong = [_share(day, *columns.values(), 0, loans)]
    else:
        with ThreadPoolExecutor(shares) as pool:
            wrong = list(
                pool.map(lambda share: _share(day, *columns.values(), bounds[share], bounds[share + 1]), range(shares))
            )
    for loan in wrong:
        if loan >= 0:
            raise ValueError(f"the offsets of loan {loan} lead outside the event columns")
    return out
