"""The command that prints portfolios, from a columnar copy of the ledger."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from psycopg2.extensions import connection as Connection
from rich.console import Console
from rich.table import Table

from service.bulk_load.progress import Progress
from service.cli.database import open_postgres
from service.cli.interruption import cancelled_by_interrupt
from service.cli.row_progress import show_progress
from service.domain.parsing import parse_date, parse_time
from service.postgres.connect import connect

if TYPE_CHECKING:
    from service.portfolio.columnar import ColumnarPortfolio
    from service.portfolio.rows import Details, LoanBalance, Total


class _Parsed(click.ParamType[Any]):
    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(str(value))
        except ValueError as err:
            self.fail(str(err), param, ctx)


@click.command("portfolio")
@click.option(
    "--date",
    "days",
    type=_Parsed("date", parse_date),
    multiple=True,
    required=True,
    help="Date, YYYY-MM-DD. Repeatable.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print a CSV row for each loan instead of totals.")
@click.option("--parts", is_flag=True, help="Add fees, interest and principal.")
@click.option("--payoff", is_flag=True, help="Add the interest not charged yet, and what settles the loans.")
@click.option("--arrears", is_flag=True, help="Add what is past due: for each loan, or by the number of days.")
@click.option(
    "--known-at",
    type=_Parsed("time", parse_time),
    help="Count only what had been recorded by a time, such as 2026-11-02T08:00:00Z. Does not use the file.",
)
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".local", "portfolio"),
    show_default=True,
    help="File that caches the ledger between runs.",
)
@click.pass_context
def portfolio_command(
    ctx: click.Context,
    days: tuple[date, ...],
    as_csv: bool,
    parts: bool,
    payoff: bool,
    arrears: bool,
    known_at: datetime | None,
    path: Path,
) -> None:
    """Print the totals of all loans on given dates.

    Totals are the number of loans and the sum of their balances, by currency. The first run copies the ledger into a
    file as VAULT_ROLE or PSQL_USER. Later runs only read the loans that have changed since. A damaged file is replaced.
    Errors are loans whose payoff or arrears do not fit 64 bits; sums of these leave them out.

    With --known-at, Postgres computes the totals. Later postings never change them.
    """
    from service.portfolio.csv import csv_head, portfolio_csv
    from service.portfolio.rows import Details
    from service.portfolio.sql import ConnectionSource, SqlPortfolio

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # removes an incomplete file
    details = Details(parts, payoff, arrears)
    rows: Iterable[tuple[date, Iterable[Iterable[LoanBalance]]]]
    with open_postgres(ctx, "reader") as settings, closing(connect(settings, "reader")) as connection:
        if known_at is None:
            from_file = _open_file(connection, path)
            totals = {day: from_file.totals(day, details) for day in days if not as_csv}
            rows = ((day, [from_file.loans(day, details)]) for day in days)
        else:
            from_sql = SqlPortfolio(ConnectionSource(connection))
            with cancelled_by_interrupt(connection):
                totals = {day: from_sql.totals(day, known_at, details) for day in days if not as_csv}
            rows = ((day, from_sql.loans(day, known_at, details)) for day in days)
        if not as_csv:
            _print_whole(_to_table(totals, details))
            return
        click.echo(csv_head(details), nl=False)
        for day, pieces in rows:
            texts = portfolio_csv(day, pieces, details)
            for text in texts if known_at is None else _fetched(texts, connection):
                click.echo(text, nl=False)


def _fetched(texts: Iterator[str], connection: Connection) -> Iterator[str]:
    """Yield texts that are made of rows of a statement, which Ctrl-C cancels."""
    while True:
        with cancelled_by_interrupt(connection):
            text = next(texts, None)
        if text is None:
            return
        yield text


def _open_file(connection: Connection, path: Path) -> "ColumnarPortfolio":
    """Bring the file up to date and open it."""
    from service.portfolio.columnar import ColumnarPortfolio
    from service.portfolio.columnar_file import ForeignFile
    from service.portfolio.sync import refresh

    with cancelled_by_interrupt(connection) as interruption, show_progress() as progress:

        def on_progress(done: int, of: int) -> None:
            interruption.check()
            progress.update(Progress("reading", done, done, of))

        try:
            file = refresh(connection, path, on_progress)
        except OSError as err:
            raise click.ClickException(f"--file: {err.filename or path}: {err.strerror}") from err
        except ForeignFile as err:
            raise click.ClickException(f"--file: {err}") from err
    return ColumnarPortfolio(file)


def _print_whole(table: Table) -> None:
    """Print a table as wide as it is: in a narrow terminal, amounts would lose digits."""
    console = Console()
    unlimited = console.options.update(max_width=sys.maxsize)
    console.width = max(console.width, console.measure(table, options=unlimited).maximum)
    console.print(table)


def _to_table(totals: "dict[date, list[Total]]", details: "Details") -> Table:
    from native import PARTS

    table = Table("date", "currency", *(["days past due"] if details.arrears else []))
    for is_shown, names in (
        (True, ("loans", "balance")),
        (details.parts, PARTS),
        (details.payoff, ("uncharged", "payoff")),
        (details.arrears, ("past due",)),
        (details.can_fail, ("errors",)),
    ):
        for name in names if is_shown else ():
            table.add_column(name, justify="right")
    for day, rows in totals.items():
        for total in rows:
            for one in (*total.buckets, total):
                bucket = [one.bucket or "all"] if details.arrears else []
                amounts = (one.balance, *one.parts, *one.payoff, *one.arrears)
                errors = [str(one.errors)] if details.can_fail else []
                table.add_row(day.isoformat(), one.currency, *bucket, str(one.loans), *amounts, *errors)
    return table
