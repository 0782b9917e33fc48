"""Selects the Postgres that a command uses."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from service.settings import PostgresSettings


@contextmanager
def open_postgres(ctx: click.Context, embedded: bool = False) -> Iterator[PostgresSettings]:
    """Yield the settings of a running Postgres.

    Args:
        ctx: The context of the command.
        embedded: Whether to run the embedded PostgreSQL even without `--standalone`.
    """
    settings, is_standalone = ctx.obj
    if is_standalone or embedded:
        from service.standalone.environment import standalone

        with standalone(settings.postgres) as postgres:
            yield postgres
    else:
        yield settings.postgres
