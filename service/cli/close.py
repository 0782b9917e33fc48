"""Command: closing the ledger until a day."""

from contextlib import closing
from datetime import date
from typing import Any

import click
import psycopg2
from rich.console import Console
from rich.table import Table

from service.cli.database import open_postgres
from service.cli.interruption import Interrupted, cancelled_by_interrupt
from service.cli.parsed_value import ParsedValue
from service.domain.calendar import Calendar
from service.domain.parsing import parse_date
from service.domain.provenance import parse_name, parse_reason
from service.errors import PeriodNotClosed
from service.postgres.connect import connect

LOCK_TIMEOUT_S = 30
"""How long to wait for open postings. New ones wait as long, so that a long load must not keep them waiting."""


@click.command("close")
@click.option("--until", type=ParsedValue("DATE", parse_date), help="The last day to close, before today: YYYY-MM-DD.")
@click.option("--none", "reopen", is_flag=True, help="Reopen every day.")
@click.option("--why", type=ParsedValue("TEXT", parse_reason), help="The reason, which is recorded.")
@click.option("--as", "name", type=ParsedValue("NAME", parse_name), help="Who closes, beside the user of the database.")
@click.option("--list", "listed", is_flag=True, help="List every closing and reopening, the latest first.")
@click.pass_context
def close_command(
    ctx: click.Context, until: date | None, reopen: bool, why: str | None, name: str | None, listed: bool
) -> None:
    """Close the ledger until a day (VAULT_ADMIN_ROLE or PSQL_ADMIN_USER).

    No event is dated and no loan starts on or before that day. An earlier day than the present one, or --none, reopens
    what is later. Every change is recorded. It waits for open postings and blocks new ones until it is done.
    """
    chosen = [option for option, given in (("--until", until), ("--none", reopen), ("--list", listed)) if given]
    if len(chosen) != 1:
        raise click.UsageError("expected one of --until DATE, --none and --list")
    if listed and (why or name):
        raise click.UsageError("--list takes neither --why nor --as")
    if not listed and why is None:
        raise click.UsageError("--why is missing: the reason is recorded")
    settings, _ = ctx.obj
    today = Calendar(settings.server.timezone).today()
    message = ""
    try:
        with (
            open_postgres(ctx, "admin") as database,
            closing(connect(database, "admin")) as connection,
            cancelled_by_interrupt(connection),
        ):
            if listed:
                _print(connection)
            else:
                message = _describe(until, _close(connection, until, why, name, today))
    except KeyboardInterrupt:
        if listed:
            raise
        if not message:
            raise Interrupted("Interrupted; nothing was closed or reopened") from None
        click.echo(message)
        raise Interrupted("Interrupted; the change had already been committed") from None
    if message:
        click.echo(message)


def _describe(until: date | None, before: date | None) -> str:
    was = f"it was closed until {before}" if before else "every day was open"
    now = f"the ledger is closed until {until}" if until else "every day of the ledger is open"
    return f"{now}; {was}"


def _close(connection: Any, until: date | None, why: str | None, name: str | None, today: date) -> date | None:
    """Close the ledger, and return the day until which it was closed before."""
    if until is not None and until >= today:
        raise PeriodNotClosed(f"--until: expected a day before today, which is {today}")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = %s", (LOCK_TIMEOUT_S * 1000,))
            cursor.execute("SELECT close_period(%s, %s, %s, %s)", (until, why, today, name))
            [before] = cursor.fetchone()
    except psycopg2.errors.LockNotAvailable as err:
        raise PeriodNotClosed(
            f"postings, such as a load, were open for {LOCK_TIMEOUT_S} seconds; nothing was closed, try again later"
        ) from err
    return before  # type: ignore[no-any-return]


def _print(connection: Any) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT closed_until, closed_at, closed_by, why FROM closed_periods ORDER BY id DESC")
        rows = cursor.fetchall()
    if not rows:
        click.echo("the ledger was never closed")
        return
    table = Table("closed until", "at", "by", "why", box=None)
    for until, at, by, why in rows:
        table.add_row(str(until or "(open)"), at.isoformat(sep=" ", timespec="seconds"), by, why)
    Console(soft_wrap=True, markup=False, highlight=False).print(table)
