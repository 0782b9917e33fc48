"""The loans that servers are asked for: made up, loaded into a real PostgreSQL, and what each of them owed."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import orjson

from service.bulk_load.loader import load
from service.bulk_load.sample import SampleLoan, sample_loans
from service.domain.money import to_decimal_string
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.settings import Settings, given_settings
from service.standalone.embedded_postgres import EmbeddedPostgres
from service.standalone.environment import create_database, create_users, settings_of

LOANS, EVENTS = 2000, 20
SHORT, LONG = 10, 10_000  # events of two loans beside these
MIDDLE, END = date(2020, 7, 1), date(2020, 12, 31)  # of the events' year


def sample() -> list[SampleLoan]:
    """LOANS loans of EVENTS events, then one of SHORT and one of LONG."""
    loans = list(sample_loans(LOANS, EVENTS))
    for events in (SHORT, LONG):
        loans.append(replace(next(sample_loans(1, events)), loan_id=len(loans) + 1))
    return loans


def path_of(loan: SampleLoan, day: date = END) -> str:
    """Where a loan's balance is asked for. At the year's END all its events count, so nobody needs to read fewer."""
    return f"/api/v1/loan/{loan.loan_id}/{day}"


def reply_of(loan: SampleLoan, day: date = END) -> bytes:
    """The right answer, worked out from the sample."""
    signed = (-cents if kind == "payment" else cents for kind, posted, cents in loan.events if posted <= day)
    return orjson.dumps(
        {
            "loan_id": loan.loan_id,
            "date": day.isoformat(),
            "balance": to_decimal_string(loan.initial_cents + sum(signed)),
            "currency": "USD",
            "version": len(loan.events),
        }
    )


@contextmanager
def loaded(loans: list[SampleLoan], folder: Path) -> Iterator[dict[str, object]]:
    """The settings that reach a PostgreSQL with these loans, for as long as it is running."""
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
        with closing(connect(settings, "admin")) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")  # now, and not in the middle of a round
        yield given_settings(Settings(postgres=settings))
    finally:
        postgres.stop()
