"""Sample loans in a real PostgreSQL server, the token that reads them, and the replies expected for them."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import jwt
import orjson
from psycopg2.extensions import connection as Connection

from security.keys.generation import write_key_pair
from service.bulk_load.loader import load
from service.bulk_load.sample import SampleLoan, sample_loans
from service.domain.money import to_decimal_string
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.settings import Settings, given_settings
from service.standalone.embedded_postgres import EmbeddedPostgres
from service.standalone.environment import create_database, create_users, settings_of

LOANS, EVENTS = 2000, 20
SHORT, LONG = 10, 10_000  # events of two additional loans
MIDDLE, END = date(2020, 7, 1), date(2020, 12, 31)  # all events are dated in 2020


def build_sample() -> list[SampleLoan]:
    """Return LOANS loans with EVENTS events each, then one loan with SHORT and one with LONG events."""
    loans = list(sample_loans(LOANS, EVENTS))
    for events in (SHORT, LONG):
        loans.append(replace(next(sample_loans(1, events)), loan_id=len(loans) + 1))
    return loans


def balance_path(loan: SampleLoan, day: date = END) -> str:
    """Return the path of a loan's balance.

    The balance at END depends on all events, so every implementation has to read them all.
    """
    return f"/api/v1/loan/{loan.loan_id}/{day}"


def expected_reply(loan: SampleLoan, day: date = END) -> bytes:
    """Return the expected body of a balance reply, computed from the sample."""
    signed = (-cents if kind == "payment" else cents for kind, posted, cents in loan.events if posted <= day)
    return orjson.dumps(
        {
            "loan_id": loan.loan_id,
            "date": day.isoformat(),
            "balance": to_decimal_string(loan.initial_cents + sum(signed), 2),
            "currency": "USD",
            "version": len(loan.events),
        }
    )


def _agree(connection: Connection, loan: SampleLoan) -> None:
    """Give a loan terms, and a schedule of monthly installments over two years."""
    due_dates = [date(year, month, 1).isoformat() for year in (2020, 2021) for month in range(1, 13)]
    due = f"{{{','.join(due_dates)}}}", f"{{{','.join(['10.00'] * len(due_dates))}}}"
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT append_terms(ARRAY[%s]::bigint[], '{2019-01-01}', '{0.045}', '{ACT/365F}',"
            " ARRAY['{fees,interest,principal}'], '{0}', NULL, NULL, NULL, NULL)",
            (loan.loan_id,),
        )
        cursor.execute(
            "SELECT append_schedules(ARRAY[%s]::bigint[], '{2019-01-01}', ARRAY[%s], ARRAY[%s], NULL, NULL, NULL, NULL,"
            " NULL)",
            (loan.loan_id, *due),
        )


@contextmanager
def loaded_postgres(
    loans: list[SampleLoan], folder: Path, agreed: SampleLoan | None = None
) -> Iterator[dict[str, object]]:
    """Run a PostgreSQL server that contains loans, and yield the settings to connect to it.

    Args:
        loans: The loans.
        folder: Where its files are.
        agreed: One of the loans, which has terms and a schedule.
    """
    files = folder / "loans.csv", folder / "events.csv"
    files[0].write_text("".join(loan.loan_row() for loan in loans))
    files[1].write_text("".join(loan.event_rows() for loan in loans))
    postgres = EmbeddedPostgres(folder / "postgres")
    postgres.start()
    try:
        create_database(postgres, "loaner")
        settings = settings_of(postgres)
        migrate(settings)
        create_users(settings, postgres)
        with closing(connect(settings, "posting")) as connection:
            load(connection, *files)
            if agreed is not None:
                _agree(connection, agreed)
        with closing(connect(settings, "admin")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")  # so that autovacuum does not run during a round
        yield given_settings(Settings(postgres=settings))
    finally:
        postgres.stop()


def create_token(folder: Path) -> str:
    """Create key pairs in a directory, and return an access token that may read loans."""
    for name in ("loaner", "platform"):
        write_key_pair(folder, name)
    now = int(time.time())
    claims = {"iat": now, "exp": now + 86_400, "userId": "u1", "username": "ann@example.com", "scopes": "api:read"}
    return jwt.encode(claims, (folder / "platform").read_bytes(), algorithm="RS256")
