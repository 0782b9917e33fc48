"""The columns of many loans that the kernels read: checks of their types, and their division among threads."""

from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from operator import index
from typing import Any, Literal

# With fewer events for each thread, starting a thread costs more than it saves.
MIN_EVENTS_PER_THREAD = 100_000
Code = Literal["q", "i", "I", "B"]
_TYPES: dict[Code, str] = {"q": "int64", "i": "int32", "I": "uint32", "B": "uint8"}


def check_day(day: Any) -> int:
    """Return a day as an integer.

    Raises:
        OverflowError: If it does not fit 32 bits.
        TypeError: If it is not an integer.
    """
    number = index(day)
    if not -2147483648 <= number <= 2147483647:
        raise OverflowError(f"day {number} does not fit 32 bits")
    return number


def check_columns(**columns: tuple[Any, Code]) -> dict[str, memoryview]:
    """Return a view of each column.

    Args:
        **columns: A buffer and its type: "q" for int64, "i" for int32, "I" for uint32, "B" for uint8.

    Raises:
        ValueError: If a buffer is not a contiguous column of its type.
    """
    views = {}
    for name, (column, code) in columns.items():
        view = memoryview(column)
        # NumPy's format code for a 64-bit integer is "l", that of the array module "q".
        if view.ndim != 1 or not view.c_contiguous or view.format not in (code, "l" if code == "q" else code):
            raise ValueError(f"{name} must be a contiguous column of {_TYPES[code]}")
        if view.itemsize != array(code).itemsize:
            raise ValueError(f"{name} must have items of {array(code).itemsize} bytes, not {view.itemsize}")
        views[name] = view.cast("B").cast(code)
    return views


def run_in_threads(work: Callable[[int, int], Any], loans: int, events: int, threads: int) -> list[Any]:
    """Return the results of `work` over ranges of loans [first, last) that together cover all loans.

    Args:
        work: A kernel that releases the GIL.
        loans: The number of loans.
        events: The number of events of all loans.
        threads: The maximum number of threads.
    """
    chunks = max(1, min(threads, events // MIN_EVENTS_PER_THREAD))
    if chunks == 1:
        return [work(0, loans)]
    bounds = [loans * chunk // chunks for chunk in range(chunks + 1)]
    with ThreadPoolExecutor(chunks) as pool:
        return list(pool.map(work, bounds[:-1], bounds[1:]))
