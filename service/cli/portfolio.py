"""The command that prints portfolios, from a columnar copy of the ledger."""

import signal
import sys
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from service.cli.database import open_postgres
from service.domain.parsing import parse_date
from service.postgres.connect import connect

if TYPE_CHECKING:
    from service.portfolio.columnar import ColumnarPortfolio


class _Day(click.ParamType[date]):
    name = "date"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> date:
        try:
            return parse_date(str(value))
        except ValueError as err:
            self.fail(str(err), param, ctx)


@click.command("portfolio")
@click.option("--date", "days", type=_Day(), multiple=True, required=True, help="Date, YYYY-MM-DD. Repeatable.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a CSV row for each loan instead of totals.")
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".local", "portfolio"),
    show_default=True,
    help="File that caches the ledger between runs.",
)
@click.pass_context
def portfolio_command(ctx: click.Context, days: tuple[date, ...], as_csv: bool, path: Path) -> None:
    """Print the totals of all loans on given dates.

    Totals are the number of loans and the sum of their balances, by currency. The first run copies the ledger into a
    file as PSQL_USER. Later runs only read the loans that have changed since.
    """
    from service.portfolio.columnar import ColumnarPortfolio
    from service.portfolio.columnar_file import ForeignFile
    from service.portfolio.csv import HEAD, portfolio_csv
    from service.portfolio.sync import refresh

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # removes an incomplete file
    with (
        open_postgres(ctx) as settings,
        closing(connect(settings, "reader")) as connection,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        reading = progress.add_task("reading", total=None)
        try:
            ledger = refresh(connection, path, lambda done, of: progress.update(reading, completed=done, total=of))
        except OSError as err:
            raise click.ClickException(f"--file: {err.filename or path}: {err.strerror}") from err
        except ForeignFile as err:
            raise click.ClickException(f"--file: {err}") from err
    portfolio = ColumnarPortfolio(ledger)
    if as_csv:
        click.echo(HEAD, nl=False)
        for day in days:
            for piece in portfolio_csv(day, [portfolio.loans(day)]):
                click.echo(piece, nl=False)
    else:
        Console().print(_to_table(portfolio, days))


def _to_table(portfolio: "ColumnarPortfolio", days: tuple[date, ...]) -> Table:
    table = Table("date", "currency")
    for name in ("loans", "balance"):
        table.add_column(name, justify="right")
    for day in days:
        for total in portfolio.totals(day):
            table.add_row(day.isoformat(), total.currency, str(total.loans), total.balance)
    return table
