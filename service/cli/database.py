"""Which Postgres a command works on."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from service.settings import PostgresSettings


@contextmanager
def database_of(ctx: click.Context, alone: bool = False) -> Iterator[PostgresSettings]:
    """Yield the settings of a running Postgres: the production one, or that of a standalone run."""
    settings, asked_alone = ctx.obj
    if asked_alone or alone:
        from service.standalone.environment import standalone

        with standalone(settings.postgres) as chosen:
            yield chosen
    else:
        yield settings.postgres
