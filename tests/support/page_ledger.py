"""A ledger to look at: loans as a bank has them, with receipts, memos, late fees, a reversal, terms and schedules."""

from datetime import date, timedelta
from itertools import count
from pathlib import Path

from psycopg2.extensions import connection as Connection

from service.bulk_load.loader import load
from tests.support.agreements import post_schedules, post_terms

MORTGAGE, OVERPAID, LATE = 1001, 1002, 1003
LAST_MONTH = (2026, 10)
MISSED = [(2025, 6), (2025, 7), (2025, 8), (2025, 9), (2025, 10), (2026, 5), (2026, 8), (2026, 9), (2026, 10)]
CAUGHT_UP = (2025, 12)
LATE_FEE = 35_00  # cents
_TERMS = [
    # loan, start, principal in cents, currency, yearly rate in percent, months
    (MORTGAGE, date(2023, 2, 1), 185_000_00, "USD", 6, 240),
    (OVERPAID, date(2024, 5, 15), 12_000_00, "USD", 9, 24),
    (LATE, date(2024, 11, 10), 6_000_00, "EUR", 18, 36),
    (1004, date(2022, 9, 1), 320_000_00, "USD", 5, 300),
    (1005, date(2025, 11, 20), 7_400_00, "EUR", 11, 36),
    (1006, date(2021, 1, 4), 96_000_00, "USD", 7, 120),
    (1007, date(2024, 2, 12), 3_600_000_00, "JPY", 4, 84),
    *((1008 + n, date(2022 + n % 4, 1 + n % 12, 1 + n), (14_000 + 3_700 * n) * 100, "USD", 6, 72) for n in range(16)),
]


def write_page_ledger(folder: Path) -> tuple[Path, Path]:
    """Write the ledger as LOANS and EVENTS for `load` into a folder, and return both paths."""
    loans, events = ["loan_id,start_date,initial_amt,currency"], [
        "loan_id,event_type,post_date,amt,source_id,reverses_source_id,memo"
    ]  # fmt: skip
    for loan_id, start, cents, currency, rate, months in _TERMS:
        loans.append(f"{loan_id},{start},{_text(cents, currency)},{currency}")
        events += (f"{loan_id},{event}" for event in _events(loan_id, start, cents, currency, rate, months))
    paths = folder / "loans.csv", folder / "events.csv"
    for path, lines in zip(paths, (loans, events), strict=True):
        path.write_text("\n".join([*lines, ""]))
    return paths


def load_page_ledger(connection: Connection, folder: Path) -> None:
    """Load the ledger, by way of files in a folder."""
    load(connection, *write_page_ledger(folder), name="Ana Ilieva")
    for loan_id in (MORTGAGE, LATE):
        _, start, cents, currency, rate, months = next(terms for terms in _TERMS if terms[0] == loan_id)
        post_terms(
            connection, (loan_id, f"{start}", f"0.{rate:02d}"), day_count="30E/360", grace_days=5,
            source_id=f"AGR-{loan_id}", memo="Loan agreement", posted_by="Ana Ilieva",
        )  # fmt: skip
        installment = _text(cents // months + cents * rate // 2400, currency)
        due_dates = [_due_date(start, month) for month in range(1, months + 1)]
        post_schedules(
            connection, (loan_id, f"{start}", [(f"{due}", installment) for due in due_dates]),
            source_id=f"SCH-{loan_id}", posted_by="Ana Ilieva",
        )  # fmt: skip


def _due_date(start: date, month: int) -> date:
    """Return the due date of an installment, by its number from 1."""
    number = start.year * 12 + start.month - 1 + month
    return date(number // 12, number % 12 + 1, min(start.day, 28))


def _events(loan_id: int, start: date, cents: int, currency: str, rate: int, months: int):
    installment = cents // months + cents * rate // 2400
    balance, receipts = cents, count(1)
    year, month = start.year, start.month
    while (year, month) < LAST_MONTH and balance > 0:
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        interest = balance * rate // 1200
        due = date(year, month, min(start.day, 28))
        yield f"interest,{due},{_text(interest, currency)},INT-{loan_id}-{next(receipts)},,"
        balance += interest
        is_late = loan_id == LATE and (year, month) in MISSED
        if is_late:
            fee = f"FEE-{loan_id}-{next(receipts)}"
            yield f"fee,{due + timedelta(days=10)},{_text(LATE_FEE, currency)},{fee},,Late payment"
            if (year, month) == MISSED[0]:
                waiver = f"FEE-{loan_id}-{next(receipts)}"
                yield (f"fee,{due + timedelta(days=12)},{_text(LATE_FEE, currency)},{waiver},{fee},"
                       "Waived: the bank was closed")  # fmt: skip
            else:
                balance += LATE_FEE
            continue
        paid = min(installment, balance)
        if loan_id == OVERPAID and balance <= installment:
            paid += 120_00
        if loan_id == LATE and (year, month) == CAUGHT_UP:
            paid = 5 * installment
        memo = "Five installments together" if paid > 2 * installment else ""
        yield (f"payment,{due + timedelta(days=2)},{_text(paid, currency)},RCP-{year % 100}{month:02d}-{loan_id},,"
               f"{memo}")  # fmt: skip
        balance -= paid


def _text(cents: int, currency: str) -> str:
    return str(max(1, cents // 100)) if currency == "JPY" else f"{cents // 100}.{cents % 100:02d}"
