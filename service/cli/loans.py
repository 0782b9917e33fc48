"""Commands for loans: migrate, load, sample and demo."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from psycopg2.extensions import connection as Connection

from service.bulk_load.progress import Progress
from service.cli.database import open_postgres
from service.cli.interruption import Interrupted, cancelled_by_interrupt
from service.cli.parsed_value import ParsedValue
from service.cli.row_progress import show_progress
from service.domain.calendar import Calendar, latest_post_date
from service.domain.provenance import parse_name
from service.plural import counted
from service.postgres.connect import connect

if TYPE_CHECKING:
    from service.bulk_load.loader import LoadResult

_FILE = click.Path(path_type=Path)


@click.command("migrate")
@click.option(
    "--partitions",
    type=click.IntRange(2, 256),
    help="Partition the ledger by hash of loan_id. See docs/guides/replicas.md.",
)
@click.pass_context
def migrate_command(ctx: click.Context, partitions: int | None) -> None:
    """Create the tables or bring them up to date (VAULT_ADMIN_ROLE or PSQL_ADMIN_USER)."""
    from service.postgres.migrate import migrate

    is_done = False
    try:
        with open_postgres(ctx, "admin") as settings:

            @contextmanager
            def guard(connection: Connection) -> Iterator[None]:
                nonlocal is_done
                with cancelled_by_interrupt(connection):
                    yield
                    is_done = True

            migrate(settings, partitions, guard)
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted; {'the tables are up to date' if is_done else 'nothing was changed'}") from None
    click.echo("the tables are up to date")


@click.command("load")
@click.argument("loans", type=_FILE)
@click.argument("events", type=_FILE)
@click.argument("schedules", type=_FILE, required=False)
@click.option("--terms", type=_FILE, help="Terms over time, beside the first terms of LOANS.")
@click.option("--again", is_flag=True, help="Load EVENTS again: events without a source_id count twice.")
@click.option("--as", "name", type=ParsedValue("NAME", parse_name), help="Who loads, beside the user of the database.")
@click.pass_context
def load_command(
    ctx: click.Context,
    loans: Path,
    events: Path,
    schedules: Path | None,
    terms: Path | None,
    again: bool,
    name: str | None,
) -> None:
    """Load loans, events, schedules and terms from CSV files (VAULT_POSTING_ROLE or PSQL_POSTING_USER).

    LOANS has the columns loan_id,start_date,initial_amt and optionally currency and, for terms from the start date,
    rate, day_count, allocation and grace_days. EVENTS has the columns loan_id,event_type,post_date,amt and optionally
    source_id, reverses_source_id and memo. SCHEDULES has the columns loan_id,effective_date,due_date,amt and optionally
    source_id; the rows of a loan and effective date make one schedule. The file of --terms has the columns
    loan_id,effective_date,rate,day_count and optionally allocation, grace_days and source_id. Optional columns require
    a header row. What is recorded already is skipped. If any row is invalid, nothing is loaded.
    """
    from service.bulk_load.loader import load
    from service.bulk_load.rejection import LoadRejected

    application, _ = ctx.obj
    today = Calendar(application.server.timezone).today()
    latest_date = latest_post_date(today, application.ledger.max_future_days)
    loaded = None
    try:
        with (
            open_postgres(ctx, "posting") as settings,
            closing(connect(settings, "posting")) as connection,
            cancelled_by_interrupt(connection) as interruption,
            show_progress() as progress,
        ):

            def on_progress(state: Progress) -> None:
                interruption.check()
                progress.update(state)

            loaded = load(
                connection, loans, events, schedules, terms=terms, again=again, name=name, latest_date=latest_date,
                on_progress=on_progress,
            )  # fmt: skip
    except LoadRejected as err:
        for row in err.bad_rows:
            click.echo(str(row), err=True)
        raise
    except KeyboardInterrupt:
        if loaded is None:
            raise Interrupted("Interrupted; nothing was loaded") from None
        _print_loaded(loaded)
        raise Interrupted("Interrupted; the load had already been committed") from None
    _print_loaded(loaded)


def _print_loaded(loaded: "LoadResult") -> None:
    """Print what was loaded. Terms and schedules are named if the files had any."""
    counts = [
        (loaded.loans, loaded.existing_loans, "loan", ""),
        (loaded.terms, loaded.skipped_terms, "set", " of terms"),
        (loaded.schedules, loaded.skipped_schedules, "schedule", ""),
        (loaded.events, loaded.skipped_events, "event", ""),
    ]
    always = ("loan", "event")
    shown = [count for count in counts if count[2] in always or count[0] or count[1]]
    posted = _in_words([counted(number, noun) + rest for number, _, noun, rest in shown])
    skipped = _in_words([counted(number, noun) + rest for _, number, noun, rest in shown])
    click.echo(f"loaded {posted}; skipped {skipped} that were already recorded; refused 0 rows")


def _in_words(items: list[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}"


@click.command("sample")
@click.argument("loans_file", metavar="LOANS", type=_FILE)
@click.argument("events_file", metavar="EVENTS", type=_FILE)
@click.argument("schedules_file", metavar="[SCHEDULES]", type=_FILE, required=False)
@click.option("--loans", default=10, show_default=True, type=click.IntRange(1), help="Number of loans.")
@click.option(
    "--events-per-loan", default=10, show_default=True, type=click.IntRange(0), help="Number of events of each loan."
)
@click.option(
    "--first-id",
    default=1001,
    show_default=True,
    type=click.IntRange(1),
    help="The id of the first loan. The sample data of a standalone run has the ids 1 to 10.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same files.")
def sample_command(
    loans_file: Path,
    events_file: Path,
    schedules_file: Path | None,
    loans: int,
    events_per_loan: int,
    first_id: int,
    seed: int,
) -> None:
    """Write random loans and events as CSV files for `load`.

    With SCHEDULES, the loans also have terms, and a schedule of twelve installments each.
    """
    from service.bulk_load.sample import write_sample

    files = [str(path) for path in (loans_file, events_file, schedules_file) if path is not None]
    try:
        with show_progress() as progress:
            write_sample(
                loans_file, events_file, loans, events_per_loan, seed, first_id, progress.update, schedules_file
            )
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted; {_in_words(files)} are incomplete") from None
    except OSError as err:
        raise click.ClickException(f"{err.filename}: {err.strerror}") from err
    written = [
        f"{counted(loans, 'loan')} to {loans_file}",
        f"{counted(loans * events_per_loan, 'event')} to {events_file}",
    ]
    if schedules_file is not None:
        written.append(f"{counted(loans, 'schedule')} to {schedules_file}")
    click.echo(f"wrote {_in_words(written)}")


@click.command("demo")
@click.pass_context
def demo_command(ctx: click.Context) -> None:
    """Show the balance of a loan as a chart.

    Prompts for a loan and a date. Without PSQL_HOST, it uses the sample data of a standalone run.
    """
    settings, _ = ctx.obj
    embedded = settings.postgres.hosts is None
    if embedded:
        from service.standalone.environment import build_core

        build_core()
    with open_postgres(ctx, "reader", embedded) as postgres:
        from service.cli.demo import run_demo
        from service.runtime.bootstrap import build_lookup

        run_demo(build_lookup(replace(settings, postgres=postgres)), color=sys.stdout.isatty())
