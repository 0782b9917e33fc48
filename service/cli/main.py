"""The command line: `python service.py` serves; sub-commands are for operators.

Commands import what is slow to import only when they run, so that each starts quickly.
"""

import logging
from typing import IO

import click
import psycopg2

from security import KeyException
from service import __version__
from service.cli.accrue import accrue_command
from service.cli.clients import client_group, token_command
from service.cli.close import close_command
from service.cli.gateway import gateway_group, register_command, unregister_command
from service.cli.interruption import Interrupted
from service.cli.keys import keys_group
from service.cli.loans import demo_command, load_command, migrate_command, sample_command
from service.cli.misplaced_option import AdvisingGroup
from service.cli.portfolio import portfolio_command
from service.cli.probe import probe_command
from service.cli.settings import settings_command
from service.cli.standalone_option import accept_standalone, load_context
from service.errors import LoanerError
from service.gateway import RegistrationException
from service.invocation import command_line
from service.observability.logging import configure_logging, is_json
from service.settings import misspelt_settings

log = logging.getLogger(__name__)


class _Failure(click.ClickException):
    """An error that users can fix: a single line, which is a line of the log if the log is JSON."""

    def show(self, file: IO[str] | None = None) -> None:
        if is_json():
            log.critical("%s", self.message)
        else:
            super().show(file)


class _Group(AdvisingGroup):
    """Prints errors that users can fix as a single line, and exits with status 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("Interrupted") from None
        except click.Abort as err:
            if isinstance(err.__context__, KeyboardInterrupt):  # at a prompt
                raise Interrupted("Interrupted") from None
            raise
        except (LoanerError, KeyException, RegistrationException) as err:
            raise _Failure(str(err)) from err
        except ImportError as err:
            if err.name != "native":
                raise
            raise _Failure(str(err)) from err
        except psycopg2.errors.UndefinedTable as err:
            raise _Failure(f"the tables do not exist; create them with: {command_line('migrate')}") from err
        except psycopg2.Error as err:
            raise _Failure(f"Postgres: {str(err).strip().partition(chr(10))[0]}") from err


@click.group(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--standalone", "is_standalone", is_flag=True, help="Run with embedded PostgreSQL, generated keys and sample data."
)
@click.version_option(__version__, prog_name="loaner")
@click.pass_context
def main(ctx: click.Context, is_standalone: bool) -> None:
    """Loaner answers what a loan owed on any date.

    Without a command, it registers with the gateway and serves requests. With --standalone, it needs no other server.
    """
    if ctx.invoked_subcommand == settings_command.name:  # shows invalid settings, too
        configure_logging("WARNING")
        ctx.obj = (None, is_standalone)
    else:
        ctx.obj = load_context(is_standalone)
    for name, source, meant in misspelt_settings():
        log.warning("%s (%s) is not a setting; did you mean %s?", name, source, meant)
    if ctx.invoked_subcommand is None:
        from service.runtime.startup import start_in_production, start_standalone

        settings, _ = ctx.obj
        if is_standalone:
            start_standalone(settings)
        else:
            start_in_production(settings)


for command in (
    migrate_command,
    load_command,
    sample_command,
    demo_command,
    portfolio_command,
    close_command,
    accrue_command,
    keys_group,
    client_group,
    token_command,
    register_command,
    unregister_command,
    gateway_group,
    probe_command,
):
    main.add_command(accept_standalone(command))
main.add_command(settings_command)
