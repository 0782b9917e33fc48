"""The command that tells what all loans together owed, from a ledger in columns."""

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

from service.cli.database import database_of
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
@click.option("--date", "days", type=_Day(), multiple=True, required=True, help="A date, YYYY-MM-DD; or several.")
@click.option("--csv", "as_csv", is_flag=True, help="A row for each loan instead of totals.")
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".local", "portfolio"),
    show_default=True,
    help="Where the ledger is kept for the next time.",
)
@click.pass_context
def portfolio_command(ctx: click.Context, days: tuple[date, ...], as_csv: bool, path: Path) -> None:
    """Tell what all loans together owed on days: how many had started, and the sum by currency (PSQL_USER).

    The ledger is read once into a file; the next time only loans that have changed are read again.
    """
    from service.portfolio.columnar import ColumnarPortfolio
    from service.portfolio.columnar_file import ForeignFile
    from service.portfolio.csv import HEAD, portfolio_csv
    from service.portfolio.sync import refresh

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no half-written file stays
    with (
        database_of(ctx) as settings,
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
    told = ColumnarPortfolio(ledger)
    if as_csv:
        click.echo(HEAD, nl=False)
        for day in days:
            for piece in portfolio_csv(day, [told.loans(day)]):
                click.echo(piece, nl=False)
    else:
        Console().print(_table(told, days))


def _table(told: "ColumnarPortfolio", days: tuple[date, ...]) -> Table:
    table = Table("date", "currency")
    for name in ("loans", "balance"):
        table.add_column(name, justify="right")
    for day in days:
        for total in told.totals(day):
            table.add_row(day.isoformat(), total.currency, str(total.loans), total.balance)
    return table
