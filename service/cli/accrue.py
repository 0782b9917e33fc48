"""Command: charging the interest that has accrued."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Console
from rich.table import Table

from service.bulk_load.progress import OnProgress, Progress
from service.cli.database import open_postgres
from service.cli.interruption import Interrupted, noted_interrupt
from service.cli.parsed_value import ParsedValue
from service.cli.row_progress import show_progress
from service.domain.calendar import Calendar
from service.domain.money import to_decimal_string
from service.domain.parsing import parse_date, parse_loan_id
from service.domain.provenance import parse_name
from service.errors import LoanerError, UnknownLoan
from service.plural import counted

if TYPE_CHECKING:
    from service.ledger.accrual_run import AccrualRun, Accrued
    from service.postgres.pool import Database


BATCH_TIMEOUT_S = 300


@click.command("accrue")
@click.option(
    "--date", "day", type=ParsedValue("DATE", parse_date), required=True, help="The day, at the latest today."
)
@click.option("--loan", "loan_id", type=ParsedValue("ID", parse_loan_id), help="Charge this loan only.")
@click.option(
    "--as", "name", type=ParsedValue("NAME", parse_name), help="Who charges, beside the user of the database."
)
@click.option("--dry-run", is_flag=True, help="Print what would be charged, and post nothing.")
@click.pass_context
def accrue_command(ctx: click.Context, day: date, loan_id: int | None, name: str | None, dry_run: bool) -> None:
    """Charge the interest that has accrued by a day (VAULT_POSTING_ROLE or PSQL_POSTING_USER).

    Each loan with terms is charged what has accrued and was not charged yet, as `interest` dated that day; what was
    charged too much becomes an `interest_credit`. A repetition charges nothing, and after a back-dated correction the
    difference. An interrupted run can be started again. Loans that have interest dated after the day are skipped and
    named.
    """
    from service.ledger.accrual_run import AccrualRun
    from service.ledger.posting import LedgerWriter
    from service.ledger.repository import PostgresLedger
    from service.postgres.pool import ConnectionPool

    settings, _ = ctx.obj
    today = Calendar(settings.server.timezone).today()
    if day > today:
        raise click.UsageError(f"--date: expected a date up to today, which is {today}")
    summary = Summary()
    with open_postgres(ctx, "posting") as postgres:
        # A batch may take longer than a request.
        database = ConnectionPool(postgres.replace(statement_timeout_s=BATCH_TIMEOUT_S), role="posting")
        LedgerWriter(database).check_open(day)
        run = AccrualRun(database, PostgresLedger(database), day, _caller(database, name), dry_run=dry_run)
        try:
            if loan_id is None:
                with noted_interrupt() as interruption, show_progress() as progress:
                    for batch in _with_progress(run, progress.update):
                        summary.add(batch)
                        interruption.check()
            else:
                summary.add(run.loans([loan_id]) or _unknown(loan_id))
        except KeyboardInterrupt:
            summary.print(dry_run)
            raise Interrupted(
                "Interrupted; what was charged stays charged, and the next run charges the rest"
            ) from None
        except LoanerError:
            summary.print(dry_run)
            raise
    summary.print(dry_run)


def _caller(database: "Database", name: str | None) -> str | None:
    if name is None:
        return None
    [(user,)] = database.rows("SELECT session_user")
    return f"{user} ({name})"


def _unknown(loan_id: int) -> NoReturn:
    raise UnknownLoan(loan_id)


def _with_progress(run: "AccrualRun", update: OnProgress) -> "Iterator[list[Accrued]]":
    done, total = 0, run.count()
    for batch in run.all_loans():
        yield batch
        done += len(batch)
        update(Progress("accruing", done, done, max(done, total)))


class Summary:
    """What a run has charged, by currency, and the loans that it skipped."""

    def __init__(self) -> None:
        self._loans = 0
        self._skipped: list[Accrued] = []
        self._charges: dict[tuple[str, int, str], list[int]] = defaultdict(list)

    def add(self, batch: "Iterable[Accrued]") -> None:
        """Include what was done with some loans."""
        for accrued in batch:
            self._loans += 1
            if accrued.skipped is not None:
                self._skipped.append(accrued)
            elif accrued.charge is not None:
                self._charges[accrued.currency, accrued.exponent, accrued.charge.event_type].append(
                    accrued.charge.amount
                )

    def print(self, dry_run: bool) -> None:
        """Print the loans that were skipped, then the totals."""
        for accrued in self._skipped:
            click.echo(f"loan {accrued.loan_id} skipped: {accrued.skipped}", err=True)
        if self._charges:
            table = Table("currency", "event_type", box=None)
            for heading in ("loans", "amount"):
                table.add_column(heading, justify="right")
            for (currency, exponent, event_type), amounts in sorted(self._charges.items()):
                table.add_row(currency, event_type, str(len(amounts)), to_decimal_string(sum(amounts), exponent))
            Console().print(table)
        charged = sum(map(len, self._charges.values()))
        verb = "would charge" if dry_run else "charged"
        unchanged = self._loans - charged - len(self._skipped)
        click.echo(
            f"{verb} {counted(charged, 'loan')}; {counted(unchanged, 'loan')} needed nothing; "
            f"skipped {counted(len(self._skipped), 'loan')}"
        )
