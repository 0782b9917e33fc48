"""The command line: `python service.py` serves; sub-commands are for people.

What takes long to import is imported by the commands that need it: people wait for each of them.
"""

from collections.abc import Mapping

import click
import psycopg2

from security import KeyException
from service import __version__
from service.cli.clients import client_group, token_command
from service.cli.close import close_command
from service.cli.gateway import gateway_group, register_command, unregister_command
from service.cli.keys import keys_group
from service.cli.loans import demo_command, load_command, migrate_command, sample_command
from service.cli.portfolio import portfolio_command
from service.cli.probe import probe_command
from service.errors import LoanerError
from service.gateway import RegistrationException
from service.observability.logging import configure_logging
from service.settings import load_settings


class _Group(click.Group):
    """Turns the errors that people can do something about into one line and a non-zero status."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (LoanerError, KeyException, RegistrationException) as err:
            raise click.ClickException(str(err)) from err
        except ImportError as err:
            if err.name != "native":
                raise
            raise click.ClickException(str(err)) from err
        except psycopg2.errors.UndefinedTable as err:
            raise click.ClickException("the tables are not there; make them with: python service.py migrate") from err
        except psycopg2.Error as err:
            raise click.ClickException(f"Postgres refused: {str(err).strip().partition(chr(10))[0]}") from err


@click.group(cls=_Group, invoke_without_command=True)
@click.option("--standalone", "alone", is_flag=True, help="Bring PostgreSQL, keys and sample data along; no gateway.")
@click.version_option(__version__, prog_name="loaner")
@click.pass_context
def main(ctx: click.Context, alone: bool) -> None:
    """Loaner: what a loan owed, on any day. Without a command, serve."""
    defaults: Mapping[str, object] = {}
    if alone:
        from service.standalone.environment import STANDALONE_DEFAULTS

        defaults = STANDALONE_DEFAULTS
    settings = load_settings(defaults)
    configure_logging(settings.server.log_level)
    ctx.obj = (settings, alone)
    if ctx.invoked_subcommand is None:
        from service.runtime.startup import start_in_production, start_standalone

        if alone:
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
    keys_group,
    client_group,
    token_command,
    register_command,
    unregister_command,
    gateway_group,
    probe_command,
):
    main.add_command(command)
